//! The whole order in which a request is looked at, in one function.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coracle_api::catalog::Catalog;
use coracle_api::path::RequestInfo;
use coracle_api::user::ANONYMOUS;
use coracle_api::{Kind, Status, Subresource, User};
use coracle_auth::impersonate::impersonate;
use coracle_auth::{Attributes, Peer, Permit};
use futures::FutureExt;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::body::{self, Incoming};
use crate::negotiate::{self, Format};
use crate::registry::{self, Call};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::{api_services, component_statuses, control, crd, metrics, paths, subresources};

/// Who is at the other end.
#[derive(Debug)]
pub(crate) enum Caller {
    Remote(Peer),
    /// A part of this process: its identity is given, not proven.
    Local(Arc<User>),
}

/// Marks the answer to who has shown no good credential.
#[derive(Debug, Clone, Copy)]
struct ToStranger;

pub(crate) fn is_to_stranger(answer: &Answer) -> bool {
    answer.extensions().get::<ToStranger>().is_some()
}

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Answer one request.
pub(crate) async fn answer(core: Arc<Core>, request: Request<Incoming>, caller: Arc<Caller>) -> Answer {
    // An identifier first, so that every answer, of whatever step, can be told from others.
    let audit_id = audit_id(request.headers());
    // What is asked for is read before who asks: the answer's format depends on it, and so does authorisation.
    let uri = request.uri();
    let info = RequestInfo::parse(request.method().as_str(), uri.path(), uri.query().unwrap_or_default());
    let measured = metrics::start(&core, info.as_ref().ok());
    // A bug in one request must not end the connection of others.
    let outcome = AssertUnwindSafe(filter(core.clone(), request, info, caller).boxed()).catch_unwind().await;
    let mut answer = outcome.unwrap_or_else(|_| {
        respond::text(500, "This request caused apiserver to panic. Look in the logs for details.\n")
    });
    measured.finish(&core, answer.status());
    answer.headers_mut().insert(AUDIT_ID, audit_id);
    answer
}

async fn filter(
    core: Arc<Core>,
    request: Request<Incoming>,
    info: Result<RequestInfo, Status>,
    caller: Arc<Caller>,
) -> Answer {
    let (mut parts, body) = request.into_parts();
    let info = match info {
        Ok(info) => info,
        Err(status) => return respond::status(&status, Format::default()),
    };
    let format = negotiate::lenient(&parts.headers, &info.query);
    let refuse = |status: Status| respond::status(&status, format);
    // What other servers on the same store have acknowledged counts from here on, be it the object, the token that is
    // shown or the grant that is needed.
    if needs_present(&info)
        && let Err(error) = core.store.sync().await
    {
        return refuse(registry::versions::store_failed(error));
    }
    // Who asks. A credential that is bad is refused, never ignored.
    let user = match authenticate(&core, &mut parts.headers, &caller) {
        Ok(user) => user,
        Err(status) => return to_stranger(refuse(status)),
    };
    let is_stranger = user.name == ANONYMOUS;
    let answer = authenticated(core, (parts, body), info, format, user).await;
    if is_stranger { to_stranger(answer) } else { answer }
}

fn to_stranger(mut answer: Answer) -> Answer {
    answer.extensions_mut().insert(ToStranger);
    answer
}

/// The request of somebody known, if only as anonymous.
async fn authenticated(
    core: Arc<Core>,
    (mut parts, body): (Parts, Incoming),
    info: RequestInfo,
    format: Format,
    user: Arc<User>,
) -> Answer {
    let refuse = |status: Status| respond::status(&status, format);
    let wish = Attributes::of_request(user, &info);
    // In whose name: decided before authorisation, so that only the impersonated user's permissions count from here.
    let wish = match impersonate(&mut parts.headers, &wish, &core.authorizer) {
        Ok(Some(other)) => Attributes { user: other.user, ..wish },
        Ok(None) => wish,
        Err(status) => return refuse(status),
    };
    // May they: before anything of the cluster, even whether a resource exists, is told.
    let permit = match permit(&core, wish, &info) {
        Ok(permit) => permit,
        Err(status) => return refuse(status),
    };
    let answered = if info.is_resource {
        dispatch(&core, Request::from_parts(parts, body), info, permit).await
    } else if control::is_below(&info.path) {
        control::answer(&core, Request::from_parts(parts, body), format).await
    } else {
        paths::answer(&core, &parts, &info).await
    };
    match answered {
        Ok(answer) => answer,
        Err(status) => refuse(status),
    }
}

/// All but reads that name the version they can do with; writes must not be judged by an old one.
fn needs_present(info: &RequestInfo) -> bool {
    let reads = matches!(info.verb.as_str(), "get" | "list" | "watch");
    info.is_resource
        && !(reads && info.query.get("resourceVersion").is_some_and(|version| !version.is_empty()))
}

fn authenticate(core: &Core, headers: &mut HeaderMap, caller: &Caller) -> Result<Arc<User>, Status> {
    match caller {
        Caller::Local(user) => Ok(user.clone()),
        Caller::Remote(peer) => core.authenticator.authenticate(headers, peer).map(|a| a.user),
    }
}

/// A stream into a container that is opened by GET (WebSocket) needs `create` too: reading is not enough to run things.
fn permit(core: &Core, wish: Attributes, info: &RequestInfo) -> Result<Permit, Status> {
    let streams = matches!(
        Subresource::parse(&info.subresource),
        Some(Subresource::Exec | Subresource::Attach | Subresource::PortForward)
    );
    if streams && info.resource == "pods" && info.verb == "get" {
        core.authorizer.authorize(wish.clone())?;
        return core.authorizer.authorize(wish.with_verb("create"));
    }
    core.authorizer.authorize(wish)
}

async fn dispatch(
    core: &Arc<Core>,
    request: Request<Incoming>,
    info: RequestInfo,
    permit: Permit,
) -> Result<Answer, Status> {
    let Some(kind) = core.catalog().find(&info.group, &info.version, &info.resource) else {
        if api_services::is_elsewhere(core, &info.group, &info.version) {
            return Ok(respond::text(503, "service unavailable\n"));
        }
        // A group of custom resources has no handler of its own for what it does not serve.
        let known = Catalog::builtin().group(&info.group).is_some();
        return if known { Err(Status::no_resource()) } else { Ok(respond::page_not_found()) };
    };
    if kind.is_custom() && crd::requests::is_elsewhere(&kind, &info) {
        return Ok(respond::page_not_found());
    }
    let sub = match info.subresource.as_str() {
        "" => None,
        name => Some(subresource(&kind, name, &info.name)?),
    };
    if kind.is_namespaced() && info.namespace.is_empty() && !info.name.is_empty() && sub.is_some() {
        return Err(Status::no_resource());
    }
    if !kind.is_namespaced() && !info.namespace.is_empty() && kind.plural != "namespaces" {
        // A cluster-wide object cannot be reached through a namespace, or a permission there would open it.
        return Err(Status::no_resource());
    }
    let format = match sub {
        Some(s) if subresources::is_stream(s) => negotiate::lenient(request.headers(), &info.query),
        _ => {
            let has_messages = core.schemas.definition(&kind.schema).is_some();
            negotiate::resource(request.headers(), &info.query, has_messages)?
        }
    };
    let namespace = if kind.is_namespaced() { info.namespace.clone() } else { String::new() };
    let call = Arc::new(Call {
        permit,
        kind,
        namespace,
        name: info.name.clone(),
        sub,
        query: info.query.clone(),
        format,
        content_type: header(request.headers(), CONTENT_TYPE),
        user_agent: header(request.headers(), USER_AGENT),
        warnings: Mutex::default(),
    });
    let custom = call.kind.custom.as_ref().and_then(|c| c.deprecation.as_deref());
    if let Some(words) = custom.or(call.kind.rules.deprecation()) {
        call.warn(words);
    }
    let done = verb(core, &call, &info, request).await;
    let mut answer = match done {
        Ok(answer) => answer,
        Err(status) => respond::status(&status, Format { shape: Default::default(), ..format }),
    };
    let warnings = call.warnings.lock().unwrap_or_else(PoisonError::into_inner);
    respond::add_warnings(&mut answer, &warnings);
    drop(warnings);
    Ok(answer)
}

fn subresource(kind: &Kind, sub: &str, name: &str) -> Result<Subresource, Status> {
    let found = Subresource::parse(sub).filter(|s| kind.has(*s));
    found.ok_or_else(|| {
        if kind.is_custom() { Status::not_found(kind.resource(), name) } else { Status::no_resource() }
    })
}

/// Reads are answered in the request's own future, whose room is taken and given back for each. All else has its own, a
/// few times as large.
async fn verb(
    core: &Arc<Core>,
    call: &Arc<Call>,
    info: &RequestInfo,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    if let Some(sub) = call.sub {
        return subresources::answer(core, call, sub, info, request).boxed().await;
    }
    // The verb is of the request; whether the name is there tells the item from the collection.
    let on_item = !call.name.is_empty();
    let read = matches!(info.verb.as_str(), "list" | "watch");
    let fits = match info.verb.as_str() {
        "create" | "deletecollection" => !on_item,
        "update" | "patch" | "delete" | "get" => on_item,
        _ => read,
    };
    if call.kind.is_custom() {
        crd::requests::check_verb(core, &call.kind, &info.verb)?;
    }
    if !fits || !(call.kind.is_custom() || call.kind.allows(&info.verb)) {
        return Err(Status::method_not_allowed());
    }
    if call.kind.is_virtual() && info.verb == "create" {
        let body = body::read(request.into_body()).await?;
        return crate::reviews::create(core, call, body).boxed().await;
    }
    // Without a namespace there is the collection of all, to be read, and no path to an item.
    if call.kind.is_namespaced() && call.namespace.is_empty() && !read {
        return if on_item { Ok(respond::page_not_found()) } else { Err(Status::method_not_allowed()) };
    }
    match info.verb.as_str() {
        "get" if call.kind.is_virtual() => component_statuses::get(core, call).await,
        "list" if call.kind.is_virtual() => component_statuses::list(core, call),
        "get" => registry::get::run(core, call).await,
        "list" => registry::list::run(core, call).await,
        "watch" => registry::watch::run(core, call.clone()).await,
        verb => {
            let body = body::read(request.into_body()).await?;
            write(core, call, verb, body).boxed().await
        }
    }
}

async fn write(core: &Arc<Core>, call: &Call, verb: &str, body: Bytes) -> Result<Answer, Status> {
    match verb {
        "create" => registry::create::run(core, call, body).await,
        "update" => registry::update::run(core, call, body).await,
        "patch" => registry::patch::run(core, call, body).await,
        "delete" => registry::delete::run(core, call, body).await,
        "deletecollection" => registry::deletecollection::run(core, call, body).await,
        _ => Err(Status::method_not_allowed()),
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// The client's own identifier where it sends one, as it is; else a new one.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    let new = || HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).expect("a UUID is visible ASCII");
    let mut id = headers.get(AUDIT_ID).filter(|v| !v.is_empty()).cloned().unwrap_or_else(new);
    // It never comes again: in the connection's table of headers it would push out those that do.
    id.set_sensitive(true);
    id
}
