//! Going back to an earlier state by going on: the difference between the two as one transaction.

use std::sync::Arc;

use imbl::ordmap::DiffItem;

use crate::commit::{Past, Pending, Writer};
use crate::{Committed, Event, Snapshot, Version};

/// How far behind the revision of a state from elsewhere revisions go on. What was written between that state and the
/// loss of its store is unknown, and its revisions must not be given out again: at 10,000 writes a second this many last
/// for a day. The gap that etcd's manual advises for the same purpose.
const REVISION_GAP: u64 = 1_000_000_000;

/// What leads from one state to another.
#[derive(Default)]
struct Difference {
    gone: Vec<Arc<Version>>,
    put: Vec<(Option<Arc<Version>>, Arc<Version>)>,
}

impl Writer {
    pub(crate) fn restore(&mut self, state: &Snapshot, pending: &mut Pending) -> Committed {
        let Difference { gone, put } = self.difference(state);
        let before = pending.events.len();
        let differs = !gone.is_empty() || !put.is_empty();
        if differs && state.revision > self.revision {
            self.revision = state.revision.saturating_add(REVISION_GAP);
            pending.past = Past::Unknown;
        }
        // A revision for each change: a client that has been told of half of them resumes at the other half.
        for version in gone {
            self.revision += 1;
            self.change(Event::new(self.revision, version.key.clone(), Some(version), None), pending);
        }
        for (prev, wanted) in put {
            self.revision += 1;
            let now = Arc::new(wanted.at_revision(self.revision));
            self.change(Event::new(self.revision, now.key.clone(), prev, Some(now)), pending);
        }
        let events = pending.events[before..].to_vec();
        Committed { revision: self.revision, versions: Vec::new(), events }
    }

    /// Costs what the two do not share.
    fn difference(&self, state: &Snapshot) -> Difference {
        let mut found = Difference::default();
        for item in self.root.diff(state.root()) {
            match item {
                DiffItem::Add(_, new) => found.put.push((None, new.clone())),
                DiffItem::Update { old: (_, old), new: (_, new) } if old.is_same_object(new) => {}
                // Another object of the same name: who follows the first must learn of its end.
                DiffItem::Update { old: (_, old), new: (_, new) } if old.meta.uid != new.meta.uid => {
                    found.gone.push(old.clone());
                    found.put.push((None, new.clone()));
                }
                DiffItem::Update { old: (_, old), new: (_, new) } => {
                    found.put.push((Some(old.clone()), new.clone()));
                }
                DiffItem::Remove(_, old) => found.gone.push(old.clone()),
            }
        }
        found
    }
}
