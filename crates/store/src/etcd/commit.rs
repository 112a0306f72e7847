//! One transaction: checked against the index, decided by etcd, answered when the index shows it.

use std::sync::Arc;

use bytes::Bytes;

use super::client::Failure;
use super::wire::{
    Compare, DeleteRangeRequest, PutRequest, Request, RequestOp, TARGET_MOD, Target, TxnRequest,
};
use super::{Ground, record, revision_of};
use crate::{Committed, Draft, Error, Event, Expect, Op, Snapshot, Txn, Version};

/// What becomes of an operation to put a version.
enum Put {
    /// The version that is there says the same already.
    Same(Arc<Version>),
    New(Arc<str>, Draft),
}

/// What a transaction comes to on top of one state, and how etcd is told.
struct Plan {
    request: TxnRequest,
    /// For each `Put` in order.
    puts: Vec<Put>,
    /// The keys that change, and what they were.
    changes: Vec<(Arc<str>, Option<Arc<Version>>)>,
    /// Whether done twice it would still be done once: everything written is compared with a version that is there,
    /// and a key never has the same version again.
    repeatable: bool,
}

impl Ground {
    pub(super) async fn commit(&self, txn: &Txn) -> Result<Committed, Error> {
        // The index may be behind. Only what it says after having caught up is a refusal.
        let mut caught_up = false;
        loop {
            self.closed()?;
            self.shared.halted().map_or(Ok(()), Err)?;
            let state = self.snapshot();
            if let Err(conflict) = check(txn, &state) {
                if caught_up {
                    return Err(conflict);
                }
                self.sync().await?;
                caught_up = true;
                continue;
            }
            let plan = self.plan(txn, &state).await?;
            match self.decide(&plan).await? {
                Ok(revision) => {
                    // Where nothing had to be changed, that was so at etcd's revision, perhaps after that of `state`.
                    match plan.changes.is_empty() {
                        true => self.reach(revision).await?,
                        false => self.told(revision).await.map_err(not_shown)?,
                    }
                    return Ok(self.committed(plan, revision));
                }
                // Somebody was faster. What etcd compared with is in the index from that revision on.
                Err(revision) => {
                    self.reach(revision).await?;
                    self.no_foreign(txn)?;
                    caught_up = true;
                }
            }
        }
    }

    async fn plan(&self, txn: &Txn, state: &Snapshot) -> Result<Plan, Error> {
        let mut plan =
            Plan { request: TxnRequest::default(), puts: Vec::new(), changes: Vec::new(), repeatable: true };
        for (key, _) in &txn.checks {
            plan.compare(self.place(key)?, state.get(key).as_ref());
        }
        for op in &txn.ops {
            let (Op::Put(key, _) | Op::Delete(key)) = op;
            let (place, prev) = (self.place(key)?, state.get(key));
            if !txn.checks.iter().any(|(checked, _)| checked == key) {
                plan.compare(place.clone(), prev.as_ref());
            }
            let request = match (op, &prev) {
                (Op::Put(_, draft), Some(prev)) if prev.says_the_same(draft) => {
                    plan.puts.push(Put::Same(prev.clone()));
                    continue;
                }
                (Op::Put(key, draft), _) => {
                    plan.puts.push(Put::New(key.clone(), draft.clone()));
                    let lease = match draft.meta.ttl {
                        Some(ttl) => self.leases.get(&self.remote, ttl).await.map_err(undone)?,
                        None => 0,
                    };
                    Request::Put(PutRequest { key: place, value: record::encode(draft), lease })
                }
                (Op::Delete(_), None) => continue,
                (Op::Delete(_), Some(_)) => Request::DeleteRange(DeleteRangeRequest { key: place }),
            };
            plan.repeatable &= prev.is_some();
            plan.request.success.push(RequestOp { request: Some(request) });
            plan.changes.push((key.clone(), prev));
        }
        Ok(plan)
    }

    fn place(&self, key: &str) -> Result<Bytes, Error> {
        let refused = || Error::Refused(format!("{key} does not start with /registry/").into());
        self.remote.names.place(key).ok_or_else(refused)
    }

    /// The revision at which etcd has done it, or at which it has not.
    async fn decide(&self, plan: &Plan) -> Result<Result<u64, u64>, Error> {
        let mut in_doubt = false;
        loop {
            match self.remote.client.txn(plan.request.clone()).await {
                Ok(answer) => {
                    let revision = revision_of(answer.header.as_ref());
                    return match answer.succeeded {
                        true => Ok(Ok(revision)),
                        // Perhaps it was our own first try that has changed the version.
                        false if in_doubt => Err(Error::Unknown("etcdserver: request timed out".into())),
                        false => Ok(Err(revision)),
                    };
                }
                Err(Failure::Refused(status)) => return Err(Error::Refused(status.message().into())),
                Err(Failure::Unknown(_)) if plan.repeatable && !in_doubt => in_doubt = true,
                Err(Failure::NotSent(why)) if !in_doubt => return Err(Error::Unavailable(why.into())),
                Err(Failure::NotSent(why) | Failure::Unknown(why)) => return Err(Error::Unknown(why.into())),
            }
        }
    }

    fn committed(&self, plan: Plan, revision: u64) -> Committed {
        // The history holds what happened, but where the index was listed anew since.
        let known = self.shared.index().events_at(revision);
        let now = |key: &Arc<str>| known.iter().find(|e| e.key == *key).and_then(|e| e.now.clone());
        let versions: Vec<Arc<Version>> = plan
            .puts
            .into_iter()
            .map(|put| match put {
                Put::Same(version) => version,
                Put::New(key, draft) => {
                    now(&key).unwrap_or_else(|| Arc::new(Version::assemble(key, revision, draft)))
                }
            })
            .collect();
        let event = |(key, prev): (Arc<str>, Option<Arc<Version>>)| {
            let told = known.iter().find(|e| e.key == key).cloned();
            told.unwrap_or_else(|| {
                let now = versions.iter().find(|v| v.key == key).cloned();
                Arc::new(Event::new(revision, key, prev, now))
            })
        };
        let events = plan.changes.into_iter().map(event).collect();
        Committed { revision, versions, events }
    }

    fn no_foreign(&self, txn: &Txn) -> Result<(), Error> {
        let foreign = self.foreign();
        let written = txn.ops.iter().map(|op| match op {
            Op::Put(key, _) | Op::Delete(key) => key,
        });
        let mut keys = txn.checks.iter().map(|(key, _)| key).chain(written);
        match keys.find_map(|key| foreign.get_key_value(key)) {
            Some((key, looks)) => {
                Err(Error::Refused(format!("etcd holds a value for {key} that is not ours: {looks}").into()))
            }
            None => Ok(()),
        }
    }
}

impl Plan {
    fn compare(&mut self, key: Bytes, with: Option<&Arc<Version>>) {
        let revision = with.map_or(0, |version| version.revision as i64);
        let union = Some(Target::ModRevision(revision));
        self.request.compare.push(Compare { target: TARGET_MOD, key, union });
    }
}

fn check(txn: &Txn, state: &Snapshot) -> Result<(), Error> {
    for (key, expect) in &txn.checks {
        let current = state.get(key);
        let met = match expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current.as_ref().is_some_and(|v| v.revision == *revision),
        };
        if !met {
            return Err(Error::Conflict { key: key.clone(), current });
        }
    }
    Ok(())
}

/// A failure of what came before the transaction.
fn undone(failure: Failure) -> Error {
    Error::Unavailable(failure.to_string().into())
}

/// It is done, but an answer would promise that every read sees it.
fn not_shown(error: Error) -> Error {
    match error {
        Error::Unavailable(why) => Error::Unknown(why),
        other => other,
    }
}
