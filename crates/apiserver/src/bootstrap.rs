//! What every cluster starts with: namespaces, priority classes, flows of requests and the policy.

mod flow_control;

use std::sync::Arc;

use coracle_api::rules::Cx;
use coracle_api::{Kind, Status, User, object, user};
use coracle_auth::bootstrap::{self, Reconciled};
use coracle_store::{Expect, Op, Txn};
use serde_json::{Value, json};

use crate::api_services::{self, Rows};
use crate::registry::write::{self, Lost};
use crate::registry::{self, decode, versions};
use crate::server::Core;

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// Name, value and description of the classes that the system's own Pods use.
const PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// How much is written in one transaction: etcd takes no more than 128 operations unless told to. Whoever stops in
/// between goes on at the next start.
const CHUNK: usize = 100;
/// How often the beginnings are looked at anew when another server writes them at the same time.
const TRIES: usize = 16;

/// Write what is missing.
pub(crate) async fn run(core: &Core) -> Result<(), Status> {
    for _ in 0..TRIES {
        core.store.sync().await.map_err(versions::store_failed)?;
        match write_missing(core).await {
            Err(Lost::Race | Lost::RaceAlong) => continue,
            Err(Lost::Failed(status)) => return Err(status),
            Ok(()) => return Ok(()),
        }
    }
    Err(Status::internal("what a cluster starts with changes too often"))
}

async fn write_missing(core: &Core) -> Result<(), Lost> {
    let missing = missing(core).map_err(Lost::Failed)?;
    // Each operation has its check. All chunks at once, so that a log of our own waits for the disk once.
    let chunks = missing.checks.chunks(CHUNK).zip(missing.ops.chunks(CHUNK));
    let writes =
        chunks.map(|(checks, ops)| core.store.commit(Txn { checks: checks.into(), ops: ops.into() }));
    futures::future::try_join_all(writes).await.map(|_| ()).map_err(|e| write::lost("", e))
}

fn missing(core: &Core) -> Result<Txn, Status> {
    let mut txn = Txn::default();
    for name in NAMESPACES {
        create_absent(
            core,
            &mut txn,
            json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}
            }),
        )?;
    }
    for (name, value, description) in PRIORITY_CLASSES {
        create_absent(
            core,
            &mut txn,
            json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
                "value": value, "description": description,
            }),
        )?;
    }
    create_absent(core, &mut txn, default_service_cidr(core))?;
    for flow in flow_control::objects() {
        create_absent(core, &mut txn, flow)?;
    }
    let services = api_services::missing(core, Rows::All)?;
    txn.checks.extend(services.checks);
    txn.ops.extend(services.ops);
    for wanted in bootstrap::objects().into_iter().chain(issuer_viewers()) {
        reconcile(core, &mut txn, wanted)?;
    }
    Ok(txn)
}

/// Where the addresses of Services come from that nobody has said anything else about.
fn default_service_cidr(core: &Core) -> Value {
    let cidr = core.addresses.cidr();
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": core.clock.now_rfc3339(),
    });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [format!("{}/{}", cidr.base, cidr.bits)]}, "status": {"conditions": [ready]},
    })
}

/// Whoever checks this cluster's tokens from outside has no account in it, so the issuer's own document (who it is and
/// where its keys are) is for everybody. Not one of the reference's own roles, therefore without their label.
fn issuer_viewers() -> [Value; 2] {
    const NAME: &str = "coracle:issuer-viewer";
    const GROUP: &str = "rbac.authorization.k8s.io";
    let group = |name: &str| json!({"kind": "Group", "apiGroup": GROUP, "name": name});
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": NAME},
            "rules": [{"verbs": ["get"], "nonResourceURLs": ["/.well-known", "/.well-known/*"]}],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": NAME},
            "subjects": [group(user::AUTHENTICATED), group(user::UNAUTHENTICATED)],
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": NAME},
        }),
    ]
}

/// The kind and the key of an object that says what it is.
fn place(core: &Core, obj: &Value) -> Result<(Arc<Kind>, String), Status> {
    let (version, kind) = (object::text(obj, &["apiVersion"]), object::text(obj, &["kind"]));
    let found = core.catalog().by_api_version(version, kind);
    let kind = found.ok_or_else(|| Status::internal(format!("{version} {kind} is not served")))?;
    let key = registry::key(&kind, object::namespace(obj), object::name(obj));
    Ok((kind, key))
}

fn create_absent(core: &Core, txn: &mut Txn, obj: Value) -> Result<(), Status> {
    let (kind, key) = place(core, &obj)?;
    if core.store.snapshot().get(&key).is_some() {
        return Ok(());
    }
    put(core, txn, &kind, key, Expect::Absent, born(core, &kind, obj)?);
    Ok(())
}

fn reconcile(core: &Core, txn: &mut Txn, wanted: Value) -> Result<(), Status> {
    let (kind, key) = place(core, &wanted)?;
    let existing = core.store.snapshot().get(&key);
    let value: Option<Value> = existing.as_ref().and_then(|v| serde_json::from_slice(&v.json).ok());
    let expect = existing.map_or(Expect::Absent, |v| Expect::Revision(v.revision));
    match bootstrap::reconcile(value.as_ref(), &wanted) {
        Reconciled::Unchanged => {}
        Reconciled::Create(obj) | Reconciled::Recreate(obj) => {
            put(core, txn, &kind, key, expect, born(core, &kind, obj)?);
        }
        Reconciled::Update(obj) => put(core, txn, &kind, key, expect, obj),
    }
    Ok(())
}

fn put(_: &Core, txn: &mut Txn, kind: &Kind, key: String, expect: Expect, obj: Value) {
    let key: Arc<str> = key.into();
    txn.checks.push((key.clone(), expect));
    txn.ops.push(Op::Put(key, write::draft(kind, &obj)));
}

/// A new object of the server's own: the same shape and defaults as anybody's, without admission.
pub(crate) fn born(core: &Core, kind: &Kind, mut obj: Value) -> Result<Value, Status> {
    let cx = Cx { now: core.clock.now_rfc3339(), user: User::default() };
    let m = object::metadata_mut(&mut obj);
    m.insert("uid".into(), json!(uuid::Uuid::new_v4().to_string()));
    m.insert("creationTimestamp".into(), json!(cx.now));
    let (obj, _) = decode::shape(core, kind, obj).map_err(Status::internal)?;
    let mut obj = decode::defaulted(core, kind, obj);
    kind.rules.prepare_create(&cx, &mut obj);
    let (obj, _) = decode::shape(core, kind, obj).map_err(Status::internal)?;
    Ok(decode::defaulted(core, kind, obj))
}
