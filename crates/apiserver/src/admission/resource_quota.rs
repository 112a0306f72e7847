//! ResourceQuota: what is made is charged to its namespace's quotas in the transaction that stores it.
//!
//! Last of all plugins, and no [`super::Plugin`]: a charge and its object are stored together or not at all, so that no
//! race can exceed a quota and no failed write is ever charged. What is given back the controller counts.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use coracle_api::quota::{self, Evaluator};
use coracle_api::{Status, object, resources};
use coracle_store::{Draft, Error, Expect, Op, Version};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::{Admit, Operation};
use crate::registry::write::{self, Lost};
use crate::registry::{self, Call};

/// How often a quota is read again that changes meanwhile: only its controller and other servers change it then.
const TRIES: usize = 64;
/// Namespaces that may be charged at once. Two that share a turn only wait a little longer.
const TURNS: usize = 64;

/// Who charges a namespace waits for its turn: all at once would take each other's quotas away, and try again in vain.
pub(crate) struct Turns([Mutex<()>; TURNS]);

impl Default for Turns {
    fn default() -> Turns {
        Turns(std::array::from_fn(|_| Mutex::new(())))
    }
}

impl Turns {
    async fn of(&self, namespace: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        self.0[hasher.finish() as usize % TURNS].lock().await
    }
}

/// Whether the quotas would have the write, for one that is not to happen.
pub(crate) fn check(admit: &Admit<'_>, call: &Call, obj: &Value) -> Result<(), Status> {
    match concerned(admit, call, obj) {
        Some(evaluator) => charges(admit, call, &evaluator, obj).map(drop),
        None => Ok(()),
    }
}

/// Store `put` of `obj`, and with it what it adds to the quotas by the measure of `evaluator`.
pub(crate) async fn commit_put(
    admit: &Admit<'_>,
    call: &Call,
    evaluator: &Evaluator,
    obj: &Value,
    put: write::Put<'_>,
) -> Result<Arc<Version>, Lost> {
    let core = admit.core;
    write::check_size(&put.draft)?;
    let (key, written) = (put.key, put.into_txn());
    let _turn = core.quota_turns.of(admit.namespace).await;
    let mut last = String::new();
    for _ in 0..TRIES {
        let mut txn = written.clone();
        for charge in charges(admit, call, evaluator, obj).map_err(Lost::Failed)? {
            txn.checks.push((charge.key.clone(), Expect::Revision(charge.revision)));
            txn.ops.push(Op::Put(charge.key, charge.draft));
        }
        match core.store.commit(txn).await {
            Ok(done) => return write::first(done),
            Err(Error::Conflict { key: taken, .. }) if !written.checks.iter().any(|(k, _)| *k == taken) => {
                last = taken.rsplit('/').next().unwrap_or_default().to_owned();
            }
            Err(e) => return Err(write::lost(key, e)),
        }
    }
    let kind = core.builtin("", "resourcequotas").map_err(Lost::Failed)?;
    Err(Lost::Failed(Status::conflict_modified(kind.resource(), &last)))
}

/// How to measure the object, where its namespace has quotas and the write can change what they count.
pub(crate) fn concerned(admit: &Admit<'_>, call: &Call, obj: &Value) -> Option<Evaluator> {
    if admit.namespace.is_empty() {
        return None;
    }
    let quotas = admit.core.builtin("", "resourcequotas").ok()?;
    let state = admit.core.store.snapshot();
    state.range(&registry::prefix(&quotas, admit.namespace), None).next()?;
    let creates = admit.operation == Operation::Create;
    let evaluator = Evaluator::of(admit.kind)?;
    let handles = evaluator.handles(creates, call.write(), obj, admit.old.unwrap_or(&Value::Null));
    handles.then_some(evaluator)
}

/// A quota as it is to be stored.
struct Charge {
    key: Arc<str>,
    revision: u64,
    draft: Draft,
}

fn charges(
    admit: &Admit<'_>,
    call: &Call,
    evaluator: &Evaluator,
    obj: &Value,
) -> Result<Vec<Charge>, Status> {
    let kind = admit.core.builtin("", "resourcequotas")?;
    let state = admit.core.store.snapshot();
    let stored: Vec<_> = state.range(&registry::prefix(&kind, admit.namespace), None).collect();
    let quotas = stored.iter().map(|v| registry::decode_stored(&kind, v));
    let mut quotas: Vec<Value> = quotas.collect::<Result<_, _>>()?;
    let charged = quota::charge(&quotas, evaluator, call.write(), obj, admit.old, admit.core.clock.now());
    let charged = charged.map_err(|why| admit.forbidden(object::name(obj), &why))?;
    let charges = charged.into_iter().map(|(index, used)| {
        let quota = &mut quotas[index];
        object::map_at_mut(quota, &["status"]).insert("used".into(), json!(resources::write(&used)));
        Charge {
            key: stored[index].key.clone(),
            revision: stored[index].revision,
            draft: write::draft(&kind, quota),
        }
    });
    Ok(charges.collect())
}
