//! Linearizability of concurrent reads, compare-and-swaps and deletions, checked key by key as Wing and Gong do, with
//! Lowe's memory of what led nowhere; and revisions that follow real time over all keys. Runs over any store.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::Handle;
use super::*;
use crate::Version;

/// The revision that a key's version has, or nothing.
type State = Option<u64>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Read(State),
    /// Wrote at this revision, what was expected being there.
    Put(Expect, u64),
    Deleted(Expect, u64),
    /// Deleted what was not there.
    DeletedNothing,
    /// Refused, because this was there.
    Refused(Expect, State),
    /// Nobody was told whether the value was written.
    MaybePut(Expect, String),
    MaybeDeleted(Expect),
}

/// One operation on one key, between its call and its return in the order of all calls and returns.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    key: usize,
    called: u64,
    returned: u64,
    did: Did,
    /// The revision that the answer was given at.
    at: Option<u64>,
}

fn meets(expect: Expect, state: State) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => state.is_none(),
        Expect::Revision(revision) => state == Some(revision),
    }
}

/// What a key holds after an operation on `state`; `None` where the operation cannot have happened there.
fn step(did: &Did, state: State) -> Option<State> {
    match did {
        Did::Read(seen) => (*seen == state).then_some(state),
        Did::Put(expect, revision) => meets(*expect, state).then_some(Some(*revision)),
        Did::Deleted(expect, _) => (meets(*expect, state) && state.is_some()).then_some(None),
        Did::DeletedNothing => state.is_none().then_some(None),
        Did::Refused(expect, seen) => (!meets(*expect, state) && *seen == state).then_some(state),
        Did::MaybeDeleted(expect) => meets(*expect, state).then_some(None),
        // Seen by nobody, or it would be a `Put` by now.
        Did::MaybePut(..) => None,
    }
}

/// How far a search is: all operations before `first` are placed, and those in `ahead`; of those that need not have
/// happened, those in `chosen`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Placed {
    first: usize,
    ahead: BTreeSet<usize>,
    chosen: BTreeSet<usize>,
    state: State,
}

/// How many operations are shown around the place where no order goes on.
const SHOWN: usize = 8;

/// The operations on one key fit one order in which each comes between its call and its return; or those around the
/// first that fits none.
pub(crate) fn linearize(operations: &[Operation]) -> Result<(), Vec<Operation>> {
    let mut sorted: Vec<&Operation> = operations.iter().collect();
    sorted.sort_by_key(|o| o.called);
    let (answered, doubtful): (Vec<_>, Vec<_>) = sorted.into_iter().partition(|o| o.returned < u64::MAX);
    let start = Placed { first: 0, ahead: BTreeSet::new(), chosen: BTreeSet::new(), state: None };
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start];
    let mut furthest = 0;
    while let Some(placed) = open.pop() {
        if placed.first == answered.len() {
            return Ok(());
        }
        furthest = furthest.max(placed.first);
        let mut next = Vec::new();
        // Whatever was called before anything unplaced returned may come next.
        let mut horizon = u64::MAX;
        for (n, operation) in answered.iter().enumerate().skip(placed.first) {
            if operation.called > horizon {
                break;
            }
            if !placed.ahead.contains(&n) {
                horizon = horizon.min(operation.returned);
                next.extend(step(&operation.did, placed.state).map(|state| placed.with(n, state)));
            }
        }
        for (n, operation) in doubtful.iter().enumerate().filter(|(n, _)| !placed.chosen.contains(n)) {
            if operation.called < horizon
                && let Some(state) = step(&operation.did, placed.state)
            {
                let mut after = Placed { state, ..placed.clone() };
                after.chosen.insert(n);
                next.push(after);
            }
        }
        next.retain(|placed| seen.insert(placed.clone()));
        open.extend(next.into_iter().rev());
    }
    let around = answered.into_iter().skip(furthest.saturating_sub(SHOWN)).take(2 * SHOWN);
    Err(around.cloned().collect())
}

impl Placed {
    fn with(&self, n: usize, state: State) -> Placed {
        let mut after = Placed { state, ..self.clone() };
        after.ahead.insert(n);
        while after.ahead.remove(&after.first) {
            after.first += 1;
        }
        after
    }
}

/// Nothing that was called later than an answer has a revision before that answer's.
fn follows_real_time(operations: &[Operation]) -> Result<(), String> {
    let mut by_call: Vec<(&Operation, u64)> = operations.iter().filter_map(|o| Some((o, o.at?))).collect();
    let mut by_return = by_call.clone();
    by_call.sort_by_key(|(o, _)| o.called);
    by_return.sort_by_key(|(o, _)| o.returned);
    let (mut returned, mut newest) = (by_return.iter().peekable(), 0);
    for (operation, at) in by_call {
        while let Some((_, earlier)) = returned.next_if(|(o, _)| o.returned < operation.called) {
            newest = newest.max(*earlier);
        }
        let writes = matches!(operation.did, Did::Put(..) | Did::Deleted(..));
        if at < newest || (writes && at == newest) {
            return Err(format!("{operation:?} after an answer at {newest}"));
        }
    }
    Ok(())
}

/// Everything that is wrong with `operations`.
pub(crate) fn judge(operations: &[Operation]) -> Vec<String> {
    let mut wrong: Vec<String> = follows_real_time(operations).err().into_iter().collect();
    let writes = operations.iter().filter(|o| matches!(o.did, Did::Put(..) | Did::Deleted(..)));
    let mut taken = HashSet::new();
    wrong.extend(
        writes.filter(|o| !taken.insert(o.at)).map(|o| format!("{o:?}: its revision was given twice")),
    );
    let mut by_key: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        by_key.entry(operation.key).or_default().push(operation.clone());
    }
    let bad = by_key.iter().filter_map(|(key, operations)| Some((key, linearize(operations).err()?)));
    wrong.extend(bad.map(|(key, around)| format!("key {key}: no order fits {around:#?}")));
    wrong
}

/// How a client reads: the state that all writes answered before the call are in.
pub(crate) type Read = for<'a> fn(&'a Store) -> BoxFuture<'a, Result<Snapshot, Error>>;

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) operations: usize,
    pub(crate) clients: u64,
    pub(crate) keys: usize,
    pub(crate) prefix: &'static str,
    pub(crate) read: Read,
    pub(crate) seed: u64,
}

/// A client that got no answer tries again so much later.
const BACK_OFF: Duration = Duration::from_millis(20);

struct Run {
    handle: Handle,
    plan: Plan,
    /// Numbers calls and returns.
    clock: AtomicU64,
    operations: Mutex<Vec<Operation>>,
    /// Which revision a value was seen at.
    seen: Mutex<BTreeMap<String, u64>>,
}

/// Let clients loose by `plan`, and return what each did and was told.
pub(crate) async fn run(handle: Handle, plan: Plan) -> Vec<Operation> {
    let (operations, seen) = (Mutex::default(), Mutex::default());
    let run = Arc::new(Run { handle, plan, clock: AtomicU64::new(1), operations, seen });
    let clients: Vec<_> = (0..plan.clients).map(|n| tokio::spawn(client(run.clone(), n))).collect();
    for client in clients {
        client.await.unwrap();
    }
    let seen = run.seen.lock().unwrap();
    let mut operations = std::mem::take(&mut *run.operations.lock().unwrap());
    for operation in &mut operations {
        let Did::MaybePut(expect, value) = &operation.did else { continue };
        if let Some(revision) = seen.get(value) {
            operation.did = Did::Put(*expect, *revision);
            operation.at = Some(*revision);
        }
    }
    operations
}

async fn client(run: Arc<Run>, n: u64) {
    let mut random = StdRng::seed_from_u64(run.plan.seed ^ (n << 16));
    let mut known = vec![None; run.plan.keys];
    for step in 0..run.plan.operations as u64 / run.plan.clients {
        let key = random.random_range(0..run.plan.keys);
        let expect = match (random.random_range(0..6), known[key]) {
            (0, _) => Expect::Any,
            (_, Some(revision)) => Expect::Revision(revision),
            (_, None) => Expect::Absent,
        };
        let name = format!("{}{key}", run.plan.prefix);
        let value = format!("{n}.{step}");
        let called = run.clock.fetch_add(1, Ordering::SeqCst);
        let (did, at) = match random.random_range(0..10) {
            0..4 => read(&run, &name).await,
            4 => delete(&run, name, expect).await,
            _ => put(&run, name, expect, value).await,
        };
        let returned = run.clock.fetch_add(1, Ordering::SeqCst);
        known[key] = match &did {
            Did::Read(seen) | Did::Refused(_, seen) => *seen,
            Did::Put(_, revision) => Some(*revision),
            _ => None,
        };
        let unknown = matches!(did, Did::MaybePut(..) | Did::MaybeDeleted(_));
        let returned = if unknown { u64::MAX } else { returned };
        if unknown {
            Clock::system().sleep(BACK_OFF).await;
        }
        run.operations.lock().unwrap().push(Operation { key, called, returned, did, at });
    }
}

impl Run {
    fn see(&self, version: Option<&Arc<Version>>) -> State {
        let version = version?;
        self.seen.lock().unwrap().insert(value_of(&version.json), version.revision);
        Some(version.revision)
    }
}

async fn read(run: &Run, name: &str) -> (Did, Option<u64>) {
    loop {
        let store = run.handle.store();
        match (run.plan.read)(&store).await {
            Ok(state) => return (Did::Read(run.see(state.get(name).as_ref())), Some(state.revision)),
            // A read that was not answered says nothing.
            Err(_) => Clock::system().sleep(BACK_OFF).await,
        }
    }
}

async fn put(run: &Run, name: String, expect: Expect, value: String) -> (Did, Option<u64>) {
    match run.handle.store().commit(Txn::put(name, expect, draft(&value))).await {
        Ok(done) => (Did::Put(expect, done.revision), Some(done.revision)),
        Err(Error::Conflict { current, .. }) => (Did::Refused(expect, run.see(current.as_ref())), None),
        Err(_) => (Did::MaybePut(expect, value), None),
    }
}

async fn delete(run: &Run, name: String, expect: Expect) -> (Did, Option<u64>) {
    match run.handle.store().commit(Txn::delete(name, expect)).await {
        Ok(done) if done.events.is_empty() => (Did::DeletedNothing, Some(done.revision)),
        Ok(done) => {
            // What was deleted had been written, even where its writer was told nothing and nobody else saw it.
            for event in &done.events {
                run.see(event.prev.as_ref());
            }
            (Did::Deleted(expect, done.revision), Some(done.revision))
        }
        Err(Error::Conflict { current, .. }) => (Did::Refused(expect, run.see(current.as_ref())), None),
        Err(_) => (Did::MaybeDeleted(expect), None),
    }
}

/// Run by `plan`; nothing is wrong.
pub(crate) async fn holds(handle: Handle, plan: Plan, what: &str) {
    let operations = run(handle, plan).await;
    let wrong = judge(&operations);
    let count = |takes: fn(&Did) -> bool| operations.iter().filter(|o| takes(&o.did)).count();
    println!(
        "linearizability on {what}: {} operations of {} clients on {} keys ({} reads, {} writes, {} refused, {} \
         unanswered): {} violations",
        operations.len(),
        plan.clients,
        plan.keys,
        count(|did| matches!(did, Did::Read(_))),
        count(|did| matches!(did, Did::Put(..) | Did::Deleted(..) | Did::DeletedNothing)),
        count(|did| matches!(did, Did::Refused(..))),
        count(|did| matches!(did, Did::MaybePut(..) | Did::MaybeDeleted(_))),
        wrong.len()
    );
    assert_eq!(wrong, Vec::<String>::new());
    assert!(count(|did| matches!(did, Did::Refused(..))) > 0, "nobody was in anybody's way");
}

/// How many operations, and in full.
const OPERATIONS: (usize, usize) = (5_000, 100_000);

pub(crate) fn plan() -> Plan {
    Plan {
        operations: counted(OPERATIONS),
        clients: 16,
        keys: 12,
        prefix: "/registry/linear/",
        read: |store| Box::pin(async { Ok(store.snapshot()) }),
        seed: 3_4_3,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_linearizable() {
    holds(Handle::new(Sut::memory().await.store.clone()), plan(), "memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_is_linearizable() {
    let sut = Sut::embedded().await;
    holds(Handle::new(sut.store.clone()), plan(), "the embedded log").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_is_linearizable_through_restarts() {
    let sut = Sut::embedded().await;
    let dir = sut._dir.as_ref().unwrap().path().join("data");
    let handle = Handle::new(sut.store.clone());
    let restarting = async {
        for _ in 0..5 {
            Clock::system().sleep(Duration::from_millis(100)).await;
            handle.store().close().await;
            handle.replace(Store::open(&dir, meta_of()).await.unwrap());
        }
    };
    let plan = Plan { operations: OPERATIONS.0, ..plan() };
    tokio::join!(holds(handle.clone(), plan, "the embedded log, 5 restarts"), restarting);
}

/// Operations on one key: called, returned, done.
type History = Vec<(u64, u64, Did)>;

/// Histories by hand, good and bad.
fn histories() -> Vec<(&'static str, bool, History)> {
    use Did::*;
    let any = Expect::Any;
    vec![
        ("one after the other", true, vec![(1, 2, Put(any, 2)), (3, 4, Read(Some(2)))]),
        ("a stale read", false, vec![(1, 2, Put(any, 2)), (3, 4, Put(any, 3)), (5, 6, Read(Some(2)))]),
        ("a read of nothing", false, vec![(1, 2, Put(any, 2)), (3, 4, Read(None))]),
        ("a read beside a write, before", true, vec![(1, 4, Put(any, 2)), (2, 3, Read(None))]),
        ("a read beside a write, after", true, vec![(1, 4, Put(any, 2)), (2, 3, Read(Some(2)))]),
        ("seen and then not", false, vec![(1, 9, Put(any, 2)), (2, 3, Read(Some(2))), (4, 5, Read(None))]),
        (
            "both of two swaps of one version won",
            false,
            vec![
                (1, 2, Put(any, 2)),
                (3, 6, Put(Expect::Revision(2), 3)),
                (4, 5, Put(Expect::Revision(2), 4)),
            ],
        ),
        (
            "one of two swaps of one version won",
            true,
            vec![
                (1, 2, Put(any, 2)),
                (3, 6, Put(Expect::Revision(2), 3)),
                (4, 5, Refused(Expect::Revision(2), Some(3))),
            ],
        ),
        (
            "refused for no reason",
            false,
            vec![(1, 2, Put(any, 2)), (3, 4, Refused(Expect::Revision(2), Some(2)))],
        ),
        ("a lost write", false, vec![(1, 2, Put(any, 2)), (3, 4, Put(Expect::Absent, 3))]),
        (
            "back after its deletion",
            false,
            vec![(1, 2, Put(any, 2)), (3, 4, Deleted(any, 3)), (5, 6, Read(Some(2)))],
        ),
        (
            "perhaps deleted, yes",
            true,
            vec![(1, 2, Put(any, 2)), (3, u64::MAX, MaybeDeleted(any)), (5, 6, Read(None))],
        ),
        (
            "perhaps deleted, no",
            true,
            vec![(1, 2, Put(any, 2)), (3, u64::MAX, MaybeDeleted(any)), (5, 6, Read(Some(2)))],
        ),
        (
            "perhaps deleted, twice",
            false,
            vec![
                (1, 2, Put(any, 2)),
                (3, u64::MAX, MaybeDeleted(any)),
                (5, 6, Read(None)),
                (7, 8, Put(Expect::Absent, 3)),
                (9, 10, Read(None)),
            ],
        ),
        (
            "written by a writer that was told nothing",
            true,
            vec![(1, u64::MAX, Put(any, 2)), (3, 4, Read(Some(2)))],
        ),
    ]
}

#[test]
fn the_checker_tells_good_histories_from_bad_ones() {
    for (what, good, history) in histories() {
        let operation = |(called, returned, did): &(u64, u64, Did)| Operation {
            key: 0,
            called: *called,
            returned: *returned,
            did: did.clone(),
            at: None,
        };
        let operations: Vec<Operation> = history.iter().map(operation).collect();
        assert_eq!(linearize(&operations).is_ok(), good, "{what}");
    }
}

/// A good record with one answer changed is a bad one.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_is_noticed() {
    let plan = Plan { operations: 400, clients: 4, keys: 2, ..plan() };
    let good = run(Handle::new(Sut::memory().await.store.clone()), plan).await;
    assert_eq!(judge(&good), Vec::<String>::new());
    let (mut noticed, mut changed) = (0, 0);
    for n in 0..good.len() {
        let mut bad = good.clone();
        match &mut bad[n].did {
            Did::Read(Some(revision)) => *revision -= 1,
            Did::Refused(expect, Some(revision)) if *expect == Expect::Absent => *revision += 1,
            Did::Put(_, revision) => *revision += 1_000_000,
            _ => continue,
        }
        changed += 1;
        noticed += usize::from(!judge(&bad).is_empty());
    }
    // An overwritten version that nobody read may as well have had any revision.
    assert!(noticed * 2 > changed && changed > 100, "{noticed} of {changed} were noticed");
    let mut late = good.clone();
    let last = late.iter().map(|o| o.returned).max().unwrap();
    late[3] = Operation { called: last + 1, returned: last + 2, did: Did::Read(None), at: Some(1), key: 9 };
    assert!(judge(&late)[0].contains("after an answer at"));
}
