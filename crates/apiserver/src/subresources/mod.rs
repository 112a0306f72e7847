//! What a path may say after an object's name: one file for each that is more than a half of the object.

pub(crate) mod binding;
pub(crate) mod bodies;
mod connect;
pub(crate) mod eviction;
pub(crate) mod kubelet;
pub(crate) mod log;
pub(crate) mod streams;
pub(crate) mod token;
pub(crate) mod tunnel;

use std::sync::Arc;

use coracle_api::path::RequestInfo;
use coracle_api::{Status, Subresource};
use http::Request;

use crate::body::{self, Incoming};
use crate::registry::{self, Call};
use crate::respond::Answer;
use crate::server::Core;

/// Whether the answer is no object but whatever the other end sends.
pub(crate) fn is_stream(sub: Subresource) -> bool {
    matches!(
        sub,
        Subresource::Log
            | Subresource::Exec
            | Subresource::Attach
            | Subresource::PortForward
            | Subresource::Proxy
    )
}

pub(crate) async fn answer(
    core: &Arc<Core>,
    call: &Arc<Call>,
    sub: Subresource,
    info: &RequestInfo,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let verb = info.verb.as_str();
    let wants_name = !call.name.is_empty();
    if !sub.verbs().contains(&verb) || !wants_name {
        return Err(Status::method_not_allowed());
    }
    if core.is_fork && is_stream(sub) {
        // The containers are the parent's; whoever got into them would leave the fork.
        return Err(Status::bad_request(
            "a fork has no node: its Pods are records, and nothing runs in them",
        ));
    }
    match sub {
        Subresource::Log => log::get(core, call).await,
        Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
            let options = connect::admitted(core, call, sub, info).await?;
            streams::connect(core, call, sub, &options, request).await
        }
        Subresource::Proxy => {
            let options = connect::admitted(core, call, sub, info).await?;
            tunnel::proxy(core, call, &options, request).await
        }
        Subresource::Binding => binding::create(core, call, body::read(request.into_body()).await?).await,
        Subresource::Eviction => eviction::create(core, call, body::read(request.into_body()).await?).await,
        Subresource::Token => token::create(core, call, body::read(request.into_body()).await?).await,
        Subresource::Scale => match verb {
            "get" => registry::scale::get(core, call).await,
            "update" => registry::scale::put(core, call, body::read(request.into_body()).await?).await,
            _ => registry::scale::patch(core, call, body::read(request.into_body()).await?).await,
        },
        _ => match verb {
            "get" => registry::get::run(core, call).await,
            "update" => registry::update::run(core, call, body::read(request.into_body()).await?).await,
            _ => registry::patch::run(core, call, body::read(request.into_body()).await?).await,
        },
    }
}
