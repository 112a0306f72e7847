//! Watches against the recorded history: ordered, unique, reliable, atomic, resumable and bookmarkable, while the store
//! is written to and compacted. Runs over any store; what watchers saw is judged after the fact.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::Op;

/// A store that may be replaced in the middle of a run by another one on the same data, as by a restart.
#[derive(Clone)]
pub(crate) struct Handle(Arc<RwLock<Store>>);

impl Handle {
    pub(crate) fn new(store: Store) -> Handle {
        Handle(Arc::new(RwLock::new(store)))
    }

    pub(crate) fn store(&self) -> Store {
        self.0.read().unwrap().clone()
    }

    pub(crate) fn replace(&self, store: Store) {
        *self.0.write().unwrap() = store;
    }
}

/// How hard a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How many events are written.
    pub(crate) events: usize,
    pub(crate) writers: usize,
    pub(crate) watchers: usize,
    /// Everything the run writes lies under it.
    pub(crate) prefix: &'static str,
    pub(crate) seed: u64,
}

/// etcd's robustness tests compact as often.
const COMPACT_EVERY: Duration = Duration::from_millis(200);
/// Watches open at most so far from the present, in either direction.
const AROUND_PRESENT: u64 = 100;
const FOLDERS: usize = 6;
const KEYS: usize = 40;
/// A reader takes at most so many events at once.
const BATCH: usize = 64;
/// A watcher opens another watch after so many events at most: of all, of a folder, of one key.
const SESSION: [usize; 3] = [400, 80, 4];
/// How long a watcher waits for an event before it looks whether the run is over.
const PATIENCE: Duration = Duration::from_millis(5);

/// One change as a watcher or a writer learned of it: the revision before, and the value after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    prev: Option<u64>,
    now: Option<String>,
}

impl Change {
    fn of(event: &Event) -> Change {
        Change {
            prev: event.prev.as_ref().map(|v| v.revision),
            now: event.now.as_ref().map(|v| value_of(&v.json)),
        }
    }
}

/// What one watch told until it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    prefix: String,
    from: u64,
    events: Vec<(u64, Arc<str>, Change)>,
    /// Bookmarks: after so many events, everything up to this revision had been told.
    bookmarks: Vec<(usize, u64)>,
    /// Whether it ended in the middle of what was there already.
    cut_short: bool,
}

/// All that happened: revision → key → change.
pub(crate) type Truth = BTreeMap<u64, BTreeMap<Arc<str>, Change>>;

#[derive(Debug, Default)]
pub(crate) struct Record {
    acknowledged: Vec<(u64, Arc<str>, Change)>,
    /// Writes whose outcome nobody was told: a restart came in between.
    unanswered: u64,
    sessions: Vec<Session>,
    refusals: Refusals,
}

/// Watches that were not opened, each for a reason that was true.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    compacted: u64,
    future: u64,
    slow: u64,
}

struct Run {
    handle: Handle,
    plan: Plan,
    written: AtomicU64,
    done: AtomicBool,
    record: Mutex<Record>,
}

/// Write, watch and compact by `plan` until all is written and read, and return what was recorded.
pub(crate) async fn run(handle: Handle, plan: Plan) -> Record {
    let run = Arc::new(Run {
        handle,
        plan,
        written: AtomicU64::new(0),
        done: AtomicBool::new(false),
        record: Mutex::default(),
    });
    let writers: Vec<_> = (0..plan.writers as u64).map(|n| tokio::spawn(write(run.clone(), n))).collect();
    let watchers: Vec<_> = (0..plan.watchers as u64).map(|n| tokio::spawn(watch(run.clone(), n))).collect();
    let compactor = tokio::spawn(compact(run.clone()));
    for writer in writers {
        writer.await.unwrap();
    }
    run.done.store(true, Ordering::SeqCst);
    for watcher in watchers {
        watcher.await.unwrap();
    }
    compactor.await.unwrap();
    std::mem::take(&mut *run.record.lock().unwrap())
}

fn key(plan: &Plan, random: &mut StdRng) -> Arc<str> {
    let (folder, key) = (random.random_range(0..FOLDERS), random.random_range(0..KEYS));
    format!("{}{folder}/{key}", plan.prefix).into()
}

/// One to three keys changed together, now and then a key deleted.
fn change(plan: &Plan, random: &mut StdRng, value: &str) -> Txn {
    let keys: BTreeSet<Arc<str>> =
        (0..[1, 1, 1, 2, 3][random.random_range(0..5)]).map(|_| key(plan, random)).collect();
    let op = |key: Arc<str>, random: &mut StdRng| match random.random_range(0..5) {
        0 => Op::Delete(key),
        _ => Op::Put(key, draft(value)),
    };
    Txn { checks: Vec::new(), ops: keys.into_iter().map(|key| op(key, random)).collect() }
}

async fn write(run: Arc<Run>, n: u64) {
    let mut random = StdRng::seed_from_u64(run.plan.seed ^ n);
    let (mut acknowledged, mut unanswered) = (Vec::new(), 0);
    for step in 0.. {
        if run.written.load(Ordering::SeqCst) >= run.plan.events as u64 {
            break;
        }
        let txn = change(&run.plan, &mut random, &format!("{n}.{step}"));
        match run.handle.store().commit(txn).await {
            Ok(done) => {
                run.written.fetch_add(done.events.len() as u64, Ordering::SeqCst);
                acknowledged.extend(done.events.iter().map(|e| (e.revision, e.key.clone(), Change::of(e))));
            }
            // Whether it happened is for the watchers to say.
            Err(_) => {
                unanswered += 1;
                Clock::system().sleep(Duration::from_millis(10)).await;
            }
        }
    }
    let mut record = run.record.lock().unwrap();
    record.acknowledged.append(&mut acknowledged);
    record.unanswered += unanswered;
}

async fn compact(run: Arc<Run>) {
    let mut random = StdRng::seed_from_u64(run.plan.seed ^ 0xC0);
    while !run.done.load(Ordering::SeqCst) {
        Clock::system().sleep(COMPACT_EVERY).await;
        let store = run.handle.store();
        store.compact(store.revision().saturating_sub(random.random_range(0..2 * AROUND_PRESENT)));
    }
}

async fn watch(run: Arc<Run>, n: u64) {
    let mut random = StdRng::seed_from_u64(run.plan.seed ^ (n << 32) ^ 0xFF);
    let (mut resume, mut sessions) = (None, Vec::new());
    while !run.done.load(Ordering::SeqCst) {
        let store = run.handle.store();
        let prefix = match random.random_range(0..4) {
            0 => run.plan.prefix.to_owned(),
            1 | 2 => format!("{}{}/", run.plan.prefix, random.random_range(0..FOLDERS)),
            _ => key(&run.plan, &mut random).to_string(),
        };
        let somewhere = store.revision() + random.random_range(0..2 * AROUND_PRESENT);
        // Half of the watches go on where the last one ended.
        let (prefix, from) = resume
            .take()
            .filter(|_| random.random_bool(0.5))
            .unwrap_or_else(|| (prefix, somewhere.saturating_sub(AROUND_PRESENT).max(1)));
        match store.watch(&prefix, from) {
            Ok(opened) => {
                let session =
                    follow(&run, opened, Session { prefix, from, ..Session::default() }, &mut random);
                let session = session.await;
                resume = Some((session.prefix.clone(), session.events.last().map_or(from, |(r, _, _)| *r)));
                // Half a transaction may have been read: what is left of it can only be had from before it.
                resume = resume.filter(|_| !session.cut_short);
                sessions.push(session);
            }
            Err(refused) => {
                note_refusal(&run, &store, refused);
                tokio::task::yield_now().await;
            }
        }
    }
    run.record.lock().unwrap().sessions.append(&mut sessions);
}

fn note_refusal(run: &Run, store: &Store, refused: Error) {
    let mut record = run.record.lock().unwrap();
    match refused {
        Error::Compacted { wanted, .. } => {
            assert!(wanted < store.oldest(), "{wanted} is not compacted, {} is", store.oldest());
            record.refusals.compacted += 1;
        }
        Error::Future { wanted, present } => {
            assert!(wanted > present);
            record.refusals.future += 1;
        }
        other => panic!("{other}"),
    }
}

/// Read until the watch has told enough, is cut, or everything is written and read.
async fn follow(run: &Run, mut watch: Watch, mut session: Session, random: &mut StdRng) -> Session {
    let depth = session.prefix[run.plan.prefix.len()..].split_inclusive('/').count();
    let enough = random.random_range(1..SESSION[depth]);
    // A reader in twenty dawdles, and may be cut for it.
    let dawdles = random.random_range(0..20) == 0;
    while session.events.len() < enough {
        let done = run.done.load(Ordering::SeqCst);
        let next = watch.next_batch(random.random_range(1..BATCH));
        match Clock::system().timeout(PATIENCE, next).await {
            None if done => break,
            None => {}
            Some(Ok(events)) => {
                session.events.extend(events.iter().map(|e| (e.revision, e.key.clone(), Change::of(e))));
            }
            Some(Err(Error::Slow)) => {
                run.record.lock().unwrap().refusals.slow += 1;
                break;
            }
            // The store is being replaced.
            Some(Err(_)) => break,
        }
        let known = session.bookmarks.last().map_or(0, |(_, bookmark)| *bookmark);
        if let Some(bookmark) = watch.progress().filter(|bookmark| *bookmark != known) {
            session.bookmarks.push((session.events.len(), bookmark));
        }
        if dawdles {
            Clock::system().sleep(Duration::from_millis(random.random_range(0..50))).await;
        }
    }
    session.cut_short = watch.progress().is_none();
    session
}

/// What a run adds up to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) events: usize,
    pub(crate) told: usize,
    pub(crate) sessions: usize,
    pub(crate) bookmarks: usize,
    compacted: u64,
    future: u64,
    slow: u64,
}

/// Judge all that was recorded; the violations found, in words.
pub(crate) fn judge(record: &Record) -> (Verdict, Vec<String>) {
    let mut violations = Vec::new();
    let truth = truth(record, &mut violations);
    for session in &record.sessions {
        violations.extend(judge_session(session, &truth).err());
    }
    let verdict = Verdict {
        events: truth.values().map(BTreeMap::len).sum(),
        told: record.sessions.iter().map(|s| s.events.len()).sum(),
        sessions: record.sessions.len(),
        bookmarks: record.sessions.iter().map(|s| s.bookmarks.len()).sum(),
        compacted: record.refusals.compacted,
        future: record.refusals.future,
        slow: record.refusals.slow,
    };
    (verdict, violations)
}

/// All that anybody learned, which must not differ, and each key's changes follow from one another.
fn truth(record: &Record, violations: &mut Vec<String>) -> Truth {
    let mut truth = Truth::new();
    let seen = record.sessions.iter().flat_map(|s| &s.events);
    for (revision, key, change) in record.acknowledged.iter().chain(seen) {
        let known = truth.entry(*revision).or_default();
        let first = known.entry(key.clone()).or_insert_with(|| change.clone());
        if first != change {
            violations.push(format!("{key}@{revision} was told as {first:?} and as {change:?}"));
        }
    }
    let mut last: HashMap<&str, Option<u64>> = HashMap::new();
    for (revision, changes) in &truth {
        for (key, change) in changes {
            let before = last.insert(key, change.now.as_ref().map(|_| *revision)).flatten();
            // A write that nobody was told of may have been followed by this one before anybody watched its key again;
            // of other keys that it changed, others may have heard.
            let is_known = |prev: u64| truth.get(&prev).is_some_and(|changes| changes.contains_key(key));
            let unseen = record.unanswered > 0 && change.prev.is_none_or(|prev| !is_known(prev));
            if change.prev != before && !unseen {
                violations
                    .push(format!("{key}@{revision} says it follows {:?}, not {before:?}", change.prev));
            }
        }
    }
    truth
}

fn judge_session(session: &Session, truth: &Truth) -> Result<(), String> {
    let told = &session.events;
    let name = format!("watch of {:?} from {}", session.prefix, session.from);
    if let Some(pair) = told.windows(2).find(|pair| pair[0].0 > pair[1].0) {
        return Err(format!("{name}: not ordered: {} then {}", pair[0].0, pair[1].0));
    }
    let distinct: BTreeSet<_> = told.iter().map(|(revision, key, _)| (revision, key)).collect();
    if distinct.len() != told.len() {
        return Err(format!("{name}: not unique"));
    }
    if let Some((revision, key, _)) = told.iter().find(|(revision, _, _)| *revision <= session.from) {
        return Err(format!("{name}: told {key}@{revision} of its past"));
    }
    let last = told.last().map_or(session.from, |(revision, _, _)| *revision);
    // A transaction that was being read when the reading ended need not be whole.
    let whole = if session.cut_short { last.saturating_sub(1).max(session.from) } else { last };
    complete(session, truth, session.from, whole, told).map_err(|why| format!("{name}: {why}"))?;
    for (read, bookmark) in &session.bookmarks {
        if let Some((revision, _, _)) = told.get(*read).filter(|(revision, _, _)| revision <= bookmark) {
            return Err(format!("{name}: bookmark {bookmark} ahead of the event {revision}"));
        }
        if let Some((revision, _, _)) =
            told[..told.len().min(*read)].last().filter(|(revision, _, _)| revision > bookmark)
        {
            return Err(format!("{name}: bookmark {bookmark} behind the event {revision}"));
        }
    }
    let furthest = session.bookmarks.last().map_or(whole, |(_, bookmark)| whole.max(*bookmark));
    complete(session, truth, whole, furthest, told).map_err(|why| format!("{name}: bookmark: {why}"))
}

/// Every change under the prefix after `from` up to `to` was told, with all keys of its revision.
fn complete(
    session: &Session,
    truth: &Truth,
    from: u64,
    to: u64,
    told: &[(u64, Arc<str>, Change)],
) -> Result<(), String> {
    if from >= to {
        return Ok(());
    }
    let start = told.partition_point(|(revision, _, _)| *revision <= from);
    let end = told.partition_point(|(revision, _, _)| *revision <= to);
    let told: BTreeSet<(u64, &str)> = told[start..end].iter().map(|(r, key, _)| (*r, &**key)).collect();
    for (revision, changes) in truth.range(from + 1..=to) {
        for key in changes.keys().filter(|key| crate::covers(&session.prefix, key)) {
            if !told.contains(&(*revision, &**key)) {
                return Err(format!("{key}@{revision} is missing"));
            }
        }
    }
    Ok(())
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Verdict { events, told, sessions, bookmarks, compacted, future, slow } = self;
        write!(
            f,
            "{events} events, {told} told in {sessions} watches with {bookmarks} bookmarks; refused: {compacted} \
             compacted, {future} future, {slow} cut"
        )
    }
}

/// Run by `plan`; no violation.
pub(crate) async fn holds(handle: Handle, plan: Plan, what: &str) {
    let record = run(handle, plan).await;
    let (verdict, violations) = judge(&record);
    println!("watch test on {what}: {verdict}: {} violations", violations.len());
    assert_eq!(violations.iter().take(10).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(
        verdict.events >= plan.events
            && verdict.sessions > plan.watchers
            && verdict.compacted + verdict.future > 0,
        "{verdict}"
    );
}

/// How many events, and in full.
const EVENTS: (usize, usize) = (50_000, 1_000_000);

pub(crate) fn plan() -> Plan {
    Plan { events: counted(EVENTS), writers: 64, watchers: 16, prefix: "/registry/watched/", seed: 17_529 }
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_hold_their_promises_in_memory() {
    holds(Handle::new(Sut::memory().await.store.clone()), plan(), "memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_hold_their_promises_on_the_embedded_log() {
    let sut = Sut::embedded().await;
    // What watches are told does not depend on the log: a fifth is enough where each group of writes waits for a disk.
    let plan = Plan { events: plan().events / 5, writers: 256, ..plan() };
    holds(Handle::new(sut.store.clone()), plan, "the embedded log").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_hold_their_promises_through_restarts() {
    const RESTARTS: u32 = 5;
    let sut = Sut::embedded().await;
    let dir = sut._dir.as_ref().unwrap().path().join("data");
    let handle = Handle::new(sut.store.clone());
    let plan = Plan { events: EVENTS.0 / 5, writers: 256, ..plan() };
    let restarting = async {
        for _ in 0..RESTARTS {
            Clock::system().sleep(COMPACT_EVERY).await;
            let before = handle.store();
            before.close().await;
            let store = Store::open(&dir, meta_of()).await.unwrap();
            assert_eq!(store.revision(), before.revision());
            handle.replace(store);
        }
    };
    let what = format!("the embedded log, {RESTARTS} restarts");
    tokio::join!(holds(handle.clone(), plan, &what), restarting);
}

/// That the judge can find what it looks for: each change of a good record must be noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_promise_is_noticed() {
    let sut = Sut::memory().await;
    let plan = Plan { events: 2_000, writers: 4, watchers: 2, prefix: "/registry/watched/", seed: 1 };
    let good = run(Handle::new(sut.store.clone()), plan).await;
    assert_eq!(judge(&good).1, Vec::<String>::new());
    let longest = (0..good.sessions.len()).max_by_key(|n| good.sessions[*n].events.len()).unwrap();
    assert!(good.sessions[longest].events.len() > 20);
    type Break = fn(&mut Session);
    let breaks: [(&str, &str, Break); 8] = [
        ("swapped", "not ordered", |s| s.events.swap(2, 15)),
        ("doubled", "not unique", |s| s.events.insert(6, s.events[5].clone())),
        ("lost", "is missing", |s| drop(s.events.remove(7))),
        ("of the past", "of its past", |s| s.from = s.events[3].0),
        ("changed", "was told as", |s| s.events[4].2.now = Some("other".into())),
        ("bookmark too far", "bookmark", |s| s.bookmarks.insert(0, (3, s.events[9].0))),
        ("bookmark back", "behind the event", |s| s.bookmarks.insert(0, (9, s.from))),
        ("last one lost", "is missing", |s| {
            s.bookmarks.push((s.events.len() - 1, s.events.last().unwrap().0));
            s.events.pop();
            s.cut_short = false;
        }),
    ];
    for (what, word, break_it) in breaks {
        let sessions = good.sessions.clone();
        let mut bad = Record { acknowledged: good.acknowledged.clone(), sessions, ..Record::default() };
        break_it(&mut bad.sessions[longest]);
        let violations = judge(&bad).1;
        assert!(violations.iter().any(|said| said.contains(word)), "{what}: {violations:?}");
    }
}
