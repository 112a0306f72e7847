//! What the API server itself does for definitions: it gives them their names, establishes them, and sees to their end.
//!
//! A client of the registry like others, as `system:apiserver`. One task a server, so that names are given one by one.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;

use coracle_api::path::Query;
use coracle_api::{Kind, Status, Subresource, User, object};
use coracle_auth::Attributes;
use coracle_auth::attributes::ResourceTarget;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{GROUP, PLURAL, conditions, deletion, is_definition};
use crate::negotiate::Format;
use crate::options::WriteOptions;
use crate::registry::{Call, update};
use crate::server::Core;

/// Before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a create waits until its definition is established. It takes two transactions; whoever creates an object of
/// the new kind right behind is not told that there is no such kind.
const SETTLE: Duration = Duration::from_secs(5);

/// What is remembered of the work under way.
#[derive(Default)]
pub(super) struct Keeper {
    /// When the objects of a definition were told to go.
    pub told: HashMap<String, Duration>,
}

/// Sees to the definitions that `changed` names until the server stops.
pub(crate) fn start(core: &Arc<Core>, changed: UnboundedReceiver<String>) {
    // Weak: a server that nobody holds any more, and its store, must go without having been stopped.
    let (keeping, stopping) = (keep(Arc::downgrade(core), changed), core.stopping.clone());
    tokio::spawn(async move { stopping.run_until_cancelled(keeping).await });
}

async fn keep(core: Weak<Core>, mut changed: UnboundedReceiver<String>) {
    let mut keeper = Keeper::default();
    let mut later = FuturesUnordered::new();
    loop {
        let name = tokio::select! {
            name = changed.recv() => match name {
                Some(name) => name,
                None => return,
            },
            Some(name) = later.next() => name,
        };
        let Some(core) = core.upgrade() else { return };
        let pause = keeper.see_to(&core, &name).await.unwrap_or_else(|status| {
            tracing::warn!(name, %status, "a definition could not be seen to");
            Some(RETRY)
        });
        if let Some(pause) = pause {
            let clock = core.clock.clone();
            later.push(async move {
                clock.sleep(pause).await;
                name
            });
        }
    }
}

impl Keeper {
    async fn see_to(&mut self, core: &Core, name: &str) -> Result<Option<Duration>, Status> {
        let Some(definition) = core.object(GROUP, PLURAL, "", name) else {
            self.told.remove(name);
            return Ok(None);
        };
        let group = object::text(&definition, &["spec", "group"]).to_owned();
        write_status(core, name, |old, now| conditions::settled(old, &core.definitions.taken(&group), now))
            .await?;
        if !deletion::is_pending(&definition) {
            return Ok(None);
        }
        deletion::go_on(self, core, name, &definition).await
    }
}

/// Whether there is anything to do for a definition.
pub(super) fn has_work(definition: &Value) -> bool {
    let status = object::at(definition, &["status"]);
    // Names that are as wanted are not looked for among others'.
    deletion::is_pending(definition) || conditions::settled(definition, &Default::default(), "") != *status
}

/// A call of the server's own.
pub(super) fn call(
    core: &Core,
    verb: &str,
    kind: &Arc<Kind>,
    name: &str,
    sub: Option<Subresource>,
) -> Result<Call, Status> {
    static SELF: LazyLock<Arc<User>> = LazyLock::new(|| {
        let groups = vec!["system:masters".to_owned()];
        Arc::new(User { name: "system:apiserver".to_owned(), groups, ..User::default() })
    });
    let target = ResourceTarget {
        name: name.to_owned(),
        version: kind.version.to_string(),
        subresource: sub.map_or("", Subresource::name).to_owned(),
        ..ResourceTarget::new(&kind.group, &kind.plural)
    };
    Ok(Call {
        permit: core.authorizer.authorize(Attributes::resource(SELF.clone(), verb, target))?,
        kind: kind.clone(),
        namespace: String::new(),
        name: name.to_owned(),
        sub,
        query: Query::default(),
        format: Format::default(),
        content_type: String::new(),
        // Under this name the reference's own server is put down as the manager of what it writes.
        user_agent: "kube-apiserver".to_owned(),
        warnings: Mutex::default(),
    })
}

/// Changes the call's object, if it is still there.
pub(super) async fn change(
    core: &Core,
    call: &Call,
    new: impl Fn(&Value) -> Result<Value, Status>,
) -> Result<(), Status> {
    match update::change(core, call, &WriteOptions::default(), new).await {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

/// Has a definition's status be what `make` says, which is given the definition and the time.
pub(super) async fn write_status(
    core: &Core,
    name: &str,
    make: impl Fn(&Value, &str) -> Value,
) -> Result<(), Status> {
    let kind = core.builtin(GROUP, PLURAL)?;
    let call = call(core, "update", &kind, name, Some(Subresource::Status))?;
    let now = core.clock.now_rfc3339();
    change(core, &call, |old| {
        let mut new = old.clone();
        object::map_mut(&mut new).insert("status".to_owned(), make(old, &now));
        Ok(new)
    })
    .await
}

/// Waits until it has been decided what names a new definition has.
pub(crate) async fn wait_until_settled(core: &Core, kind: &Kind, name: &str) {
    if !is_definition(kind) {
        return;
    }
    let settled = async {
        loop {
            let mut applied = pin!(core.definitions.applied.notified());
            // From here on no change is missed.
            applied.as_mut().enable();
            if core.definitions.get(name).is_none_or(|d| d.is_settled) {
                return;
            }
            applied.await;
        }
    };
    core.clock.timeout(SETTLE, settled).await;
}
