//! Watches: ordered, unique, reliable, resumable; a watcher that falls out of the history is told so.
//!
//! Watchers of one prefix share a topic, a queue of the events under it. A watcher is a position in that queue, so an
//! idle one costs almost nothing and a slow one holds no memory; once the queue has moved past it, it is cut.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use slab::Slab;

use crate::index::Index;
use crate::{Error, Event};

#[derive(Debug)]
struct Topic {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    /// How many events have left at the front.
    gone: u64,
    closed: bool,
    /// Those who have read everything and wait for more.
    waiting: Slab<Waker>,
    /// How often all who waited have been woken: what a place in `waiting` is worth.
    round: u64,
}

impl Queue {
    fn wait(&mut self, place: Option<(u64, usize)>, waker: &Waker) -> (u64, usize) {
        match place {
            Some((round, at)) if round == self.round => {
                self.waiting[at].clone_from(waker);
                (round, at)
            }
            _ => (self.round, self.waiting.insert(waker.clone())),
        }
    }

    fn leave(&mut self, (round, at): (u64, usize)) {
        if round == self.round {
            self.waiting.remove(at);
        }
    }

    fn take_waiting(&mut self) -> Vec<Waker> {
        self.round += 1;
        self.waiting.drain().collect()
    }

    fn sweep(&mut self, compacted: u64) -> bool {
        while self.events.front().is_some_and(|e| e.revision <= compacted) {
            self.events.pop_front();
            self.gone += 1;
        }
        true
    }

    /// Leave all positions behind, even that of a reader who has seen everything.
    fn cut(&mut self) {
        self.gone += self.events.len() as u64 + 1;
        self.events.clear();
    }

    /// The events from position `at` that came after revision `after`, at most `most`.
    fn read(&self, at: &mut u64, after: u64, most: usize) -> Result<Vec<Arc<Event>>, Error> {
        let Some(from) = at.checked_sub(self.gone) else { return Err(Error::Slow) };
        let mut found = Vec::new();
        for event in self.events.range(usize::try_from(from).unwrap_or(usize::MAX).min(self.events.len())..) {
            if found.len() == most {
                break;
            }
            *at += 1;
            if event.revision > after {
                found.push(event.clone());
            }
        }
        if found.is_empty() && self.closed { Err(Error::Closed) } else { Ok(found) }
    }
}

impl Topic {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wake all who wait for the queue to move, once it may be read.
    fn wake(&self) {
        let waiting = self.queue().take_waiting();
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Topics are swept of compacted events, and of themselves when nobody watches them, once in so many groups of
/// commits: a sweep visits all topics, and a thousand visits cost about 50 µs.
const SWEEP_EVERY: u32 = 256;

/// All topics that somebody watches.
#[derive(Debug)]
pub(crate) struct Topics {
    by_prefix: HashMap<Arc<str>, Weak<Topic>>,
    /// The revision up to which events have been handed to the topics.
    told: Arc<AtomicU64>,
    until_sweep: u32,
    closed: bool,
}

impl Topics {
    pub(crate) fn new(revision: u64) -> Topics {
        Topics {
            by_prefix: HashMap::new(),
            told: Arc::new(AtomicU64::new(revision)),
            until_sweep: SWEEP_EVERY,
            closed: false,
        }
    }

    /// Watch what happens under `prefix` after `revision`. `index` may be ahead of the topics, not behind.
    pub(crate) fn watch(&mut self, index: &Index, prefix: &str, revision: u64) -> Result<Watch, Error> {
        index.check(revision)?;
        let known = self.by_prefix.get(prefix).and_then(Weak::upgrade);
        let topic = known.unwrap_or_else(|| self.open(index, prefix));
        let at = {
            let queue = topic.queue();
            queue.gone + queue.events.partition_point(|e| e.revision <= revision) as u64
        };
        Ok(Watch { topic, at, after: revision, seen: 0, told: self.told.clone(), place: None })
    }

    fn open(&mut self, index: &Index, prefix: &str) -> Arc<Topic> {
        self.tick(index.compacted);
        let events = index.events(prefix, self.told.load(Ordering::Acquire));
        let queue = Queue { events, closed: self.closed, ..Queue::default() };
        let topic = Arc::new(Topic { queue: Mutex::new(queue) });
        self.by_prefix.insert(prefix.into(), Arc::downgrade(&topic));
        topic
    }

    /// Hand `events`, which lead to `revision`, to those who watch them.
    pub(crate) fn tell(&mut self, revision: u64, events: &[Arc<Event>], compacted: u64) {
        // Watches have ended: to count as told what none of them hears would let a last bookmark skip it.
        if self.closed {
            return;
        }
        let mut moved: Vec<Arc<Topic>> = Vec::new();
        for event in events {
            for prefix in prefixes(&event.key) {
                let Some(topic) = self.by_prefix.get(prefix).and_then(Weak::upgrade) else { continue };
                topic.queue().events.push_back(event.clone());
                if !moved.iter().any(|t| Arc::ptr_eq(t, &topic)) {
                    moved.push(topic);
                }
            }
        }
        self.told.store(revision, Ordering::Release);
        self.tick(compacted);
        for topic in moved {
            topic.wake();
        }
    }

    /// What happened until `revision` is not known: no watcher may go on as if it had been told.
    pub(crate) fn cut(&mut self, revision: u64) {
        if self.closed {
            return;
        }
        self.told.store(revision, Ordering::Release);
        for topic in self.by_prefix.values().filter_map(Weak::upgrade) {
            topic.queue().cut();
            topic.wake();
        }
    }

    fn tick(&mut self, compacted: u64) {
        self.until_sweep -= 1;
        if self.until_sweep > 0 {
            return;
        }
        self.sweep(compacted);
    }

    pub(crate) fn sweep(&mut self, compacted: u64) {
        self.until_sweep = SWEEP_EVERY;
        self.by_prefix.retain(|_, topic| topic.upgrade().is_some_and(|topic| topic.queue().sweep(compacted)));
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
        for topic in self.by_prefix.drain().filter_map(|(_, topic)| topic.upgrade()) {
            topic.queue().closed = true;
            topic.wake();
        }
    }
}

/// The events under one prefix, in order, each once. After an error nothing more comes.
#[derive(Debug)]
pub struct Watch {
    topic: Arc<Topic>,
    /// Position of the next event in the topic's queue, counted from the topic's first.
    at: u64,
    /// Events up to this revision were known to the caller when the watch began.
    after: u64,
    /// The revision of the last event handed out.
    seen: u64,
    told: Arc<AtomicU64>,
    /// Where this watch waits, and in which round of its topic.
    place: Option<(u64, usize)>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.topic.queue().leave(place);
        }
    }
}

impl Watch {
    /// The next event. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Arc<Event>, Error> {
        // At least one came, at most one was asked for.
        self.next_batch(1).await?.pop().ok_or(Error::Closed)
    }

    /// The next events, at least one and at most `most`. Dropping the future loses nothing.
    pub async fn next_batch(&mut self, most: usize) -> Result<Vec<Arc<Event>>, Error> {
        std::future::poll_fn(|cx| self.poll_batch(cx, most)).await
    }

    /// As [`Watch::next_batch`]; where nothing is there yet, `cx` is woken once something is.
    pub fn poll_batch(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Vec<Arc<Event>>, Error>> {
        let mut queue = self.topic.queue();
        let events = queue.read(&mut self.at, self.after, most)?;
        if let Some(last) = events.last() {
            self.seen = last.revision;
            return Poll::Ready(Ok(events));
        }
        self.place = Some(queue.wait(self.place, cx.waker()));
        Poll::Pending
    }

    /// What is there already, at most `most`.
    pub fn ready(&mut self, most: usize) -> Result<Vec<Arc<Event>>, Error> {
        let found = self.topic.queue().read(&mut self.at, self.after, most)?;
        self.seen = found.last().map_or(self.seen, |event| event.revision);
        Ok(found)
    }

    /// The newest revision that a bookmark may say: everything up to it has been handed out. `None` while events wait.
    pub fn progress(&self) -> Option<u64> {
        // Read before the queue: all events up to it are in the queue by then.
        let told = self.told.load(Ordering::Acquire);
        let queue = self.topic.queue();
        // Events come before the word that their revision is whole: a bookmark in between would go back behind them.
        let has_all = self.at >= queue.gone + queue.events.len() as u64 && self.seen <= told;
        has_all.then_some(told.max(self.after))
    }

    pub fn into_stream(self) -> impl Stream<Item = Result<Arc<Event>, Error>> + Send {
        futures::stream::unfold(Some(self), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(event) => Some((Ok(event), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

/// Every prefix that [covers](crate::covers) `key`.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    let folders = key.match_indices('/').map(|(slash, _)| &key[..=slash]);
    let whole = (!key.ends_with('/')).then_some(key);
    [""].into_iter().chain(folders).chain(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Root;

    /// etcd may tell of more while the store on it is being closed.
    #[test]
    fn what_comes_after_the_end_is_in_no_bookmark() {
        let index = Index::new(1, Root::new());
        let late = || Arc::new(Event::new(2, "/registry/pods/a".into(), None, None));
        for tell in
            [(|topics, late| topics.tell(2, &[late], 0)) as fn(&mut Topics, _), |topics, _| topics.cut(2)]
        {
            let mut topics = Topics::new(1);
            let watch = topics.watch(&index, "", 1).unwrap();
            topics.close();
            tell(&mut topics, late());
            assert_eq!(watch.progress(), Some(1));
        }
    }
}
