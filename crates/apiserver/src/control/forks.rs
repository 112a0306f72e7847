//! Forks as clients ask for them. Who makes them knows all parts of a cluster, and is not this crate.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use coracle_api::Status;
use coracle_api::status::Resource;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::check_name;
use crate::Server;
use crate::body::{self, Incoming};
use crate::negotiate::Format;
use crate::respond::{self, Answer};
use crate::server::Core;

/// A running second cluster that began as another one was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    pub name: String,
    /// `https://host:port`.
    pub server: String,
    /// Where its admin's kubeconfig is, on the machine of the server.
    pub kubeconfig: PathBuf,
    /// The revision that it began at.
    pub revision: u64,
    pub created: String,
}

/// Makes and ends the forks of one server.
pub trait Forks: Debug + Send + Sync {
    /// Without a name, one is chosen. `Conflict` with a name that is taken.
    fn create(&self, parent: Server, name: Option<String>) -> BoxFuture<'_, Result<Fork, Status>>;
    fn list(&self) -> Vec<Fork>;
    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), Status>>;
}

impl Fork {
    pub const RESOURCE: Resource<'static> = Resource { group: "", resource: "forks" };

    fn to_value(&self) -> Value {
        json!({
            "name": self.name, "server": self.server, "kubeconfig": self.kubeconfig.to_string_lossy(),
            "revision": self.revision, "created": self.created,
        })
    }
}

fn forks(core: &Core) -> Result<&Arc<dyn Forks>, Status> {
    core.forks.as_ref().ok_or_else(|| Status::bad_request("this server makes no forks"))
}

pub(super) fn list(core: &Core, format: Format) -> Result<Answer, Status> {
    let all: Vec<Value> = forks(core)?.list().iter().map(Fork::to_value).collect();
    Ok(respond::value(200, &json!({"forks": all}), format))
}

pub(super) async fn create(core: &Arc<Core>, body: Incoming, format: Format) -> Result<Answer, Status> {
    let sent = body::read(body).await?;
    let asked: Value = match &sent[..] {
        b"" => json!({}),
        text => serde_json::from_slice(text)
            .map_err(|e| Status::bad_request(format!("the body is no JSON: {e}")))?,
    };
    let name = match asked.get("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(check_name(name)?.to_owned()),
        Some(other) => return Err(Status::bad_request(format!("name: {other} is no text"))),
    };
    let fork = forks(core)?.create(Server::from(core.clone()), name).await?;
    Ok(respond::value(201, &fork.to_value(), format))
}

pub(super) async fn delete(core: &Core, name: &str, format: Format) -> Result<Answer, Status> {
    forks(core)?.delete(name).await?;
    Ok(respond::value(200, &json!({"name": name}), format))
}
