//! watch: the present state if asked for, then every change, as lines of JSON.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use coracle_api::Status;
use coracle_store::{Error, Event, Version, Watch};
use rand::Rng;
use serde_json::{Value, json};

use super::select::Selector;
use super::versions::{self, Wanted};
use super::{Call, answer, decode_json};
use crate::body::Body;
use crate::negotiate::Shape;
use crate::options::ListOptions;
use crate::respond::{self, Answer};
use crate::server::Core;

/// How long a watch lasts whose client names no end: between once and twice the reference's `MinRequestTimeout`.
const LIFE: std::ops::Range<u64> = 1800..3600;
/// How often a watch that allows bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A last bookmark this long before the end lets the client resume where it was.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Events of one turn, so that one busy watcher does not hold a worker.
const BATCH: usize = 256;
/// Lines are gathered up to this size before they are sent.
const PIECE_BYTES: usize = 64 * 1024;

pub(crate) async fn run(core: &Arc<Core>, call: Arc<Call>) -> Result<Answer, Status> {
    let options = ListOptions::parse_watch(&call.query)?;
    let selector =
        Selector::parse(&call.kind, &options.label_selector, &options.field_selector)?.named(&call.name);
    let mut feed = open(core, &call, &options, selector).await?;
    feed.bookmarks = options.bookmarks;
    let lines = futures::stream::unfold(feed, |mut feed| async {
        let piece = feed.next().await?;
        Some((piece, feed))
    });
    let mut answer = respond::whole(200, "application/json", Body::Stream(Box::pin(lines)));
    respond::never_cache(&mut answer);
    Ok(answer)
}

async fn open(
    core: &Arc<Core>,
    call: &Arc<Call>,
    options: &ListOptions,
    selector: Selector,
) -> Result<Feed, Status> {
    let revision = versions::parse(&options.resource_version).map_err(|why| Status::new(500, "", why))?;
    let prefix = call.prefix();
    let wants_state = options.send_initial_events.unwrap_or(matches!(revision, None | Some(0)));
    let mut feed = Feed::new(core.clone(), call.clone(), selector, life(core, options));
    if wants_state {
        let wanted = revision.map_or(Wanted::Newest, Wanted::NotOlderThan);
        let state = versions::snapshot(core, wanted).await?;
        feed.initial = state.range(&prefix, None).collect();
        feed.at = state.revision;
        feed.end_of_initial = options.send_initial_events == Some(true) && options.bookmarks;
    } else {
        feed.at = revision.filter(|r| *r > 0).unwrap_or_else(|| core.store.revision());
    }
    match core.store.watch(&prefix, feed.at.min(core.store.revision())) {
        Ok(watch) => feed.watch = Some(watch),
        Err(Error::Compacted { wanted, oldest }) => {
            let gone = Status::expired(format!("too old resource version: {wanted} ({oldest})"));
            feed.refusal = Some(gone);
        }
        Err(other) => return Err(versions::store_failed(other)),
    }
    Ok(feed)
}

fn life(core: &Core, options: &ListOptions) -> Duration {
    let asked = options.timeout_seconds.filter(|s| *s > 0).map(|s| Duration::from_secs(s as u64));
    core.clock.elapsed() + asked.unwrap_or_else(|| Duration::from_secs(rand::rng().random_range(LIFE)))
}

/// One watcher's stream.
struct Feed {
    core: Arc<Core>,
    call: Arc<Call>,
    selector: Selector,
    initial: VecDeque<Arc<Version>>,
    /// A bookmark that says that the initial events have ended is still to be sent.
    end_of_initial: bool,
    watch: Option<Watch>,
    /// Sent as the only event, where the version asked for is gone.
    refusal: Option<Status>,
    /// The newest revision that the client knows.
    at: u64,
    bookmarks: bool,
    ends: Duration,
    next_bookmark: Duration,
    sent_columns: bool,
}

impl Feed {
    fn new(core: Arc<Core>, call: Arc<Call>, selector: Selector, ends: Duration) -> Feed {
        let next_bookmark = next_bookmark(core.clock.elapsed(), ends);
        Feed {
            core,
            call,
            selector,
            initial: VecDeque::new(),
            end_of_initial: false,
            watch: None,
            refusal: None,
            at: 0,
            bookmarks: false,
            ends,
            next_bookmark,
            sent_columns: false,
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        self.put_initial(&mut out);
        if let Some(refusal) = self.refusal.take() {
            self.watch = None;
            put_line(&mut out, "ERROR", refusal.to_value().to_string().as_bytes());
        }
        while out.is_empty() {
            let pause = self.pause()?;
            let stopping = self.core.stopping.clone();
            let watch = self.watch.as_mut()?;
            tokio::select! {
                batch = watch.next_batch(BATCH) => self.put_batch(&mut out, batch),
                () = self.core.clock.sleep(pause) => self.put_bookmark(&mut out),
                () = stopping.cancelled() => return None,
            }
        }
        Some(out.freeze())
    }

    /// How long until something is due, or `None` at the watch's end.
    fn pause(&self) -> Option<Duration> {
        let now = self.core.clock.elapsed();
        if now >= self.ends {
            return None;
        }
        let due = if self.bookmarks { self.next_bookmark.min(self.ends) } else { self.ends };
        Some(due.saturating_sub(now))
    }

    fn put_initial(&mut self, out: &mut BytesMut) {
        while out.len() < PIECE_BYTES {
            let Some(version) = self.initial.pop_front() else { break };
            if self.selector.takes(&version.key, &version.meta) {
                self.put_object(out, "ADDED", &version.json, &version.key);
            }
        }
        if self.initial.is_empty() && std::mem::take(&mut self.end_of_initial) {
            self.put_mark(out, self.at, json!({"k8s.io/initial-events-end": "true"}));
        }
    }

    fn put_batch(&mut self, out: &mut BytesMut, batch: Result<Vec<Arc<Event>>, Error>) {
        match batch {
            Ok(events) => events.iter().for_each(|e| self.put_event(out, e)),
            Err(e) => {
                // A watcher that was cut is told to list again; one whose store closes just ends.
                self.watch = None;
                if !matches!(e, Error::Closed) {
                    let status = Status::expired("too old resource version: the watcher fell behind");
                    put_line(out, "ERROR", status.to_value().to_string().as_bytes());
                }
            }
        }
    }

    fn put_event(&mut self, out: &mut BytesMut, event: &Arc<Event>) {
        if event.revision <= self.at {
            return;
        }
        self.at = event.revision;
        let takes =
            |v: &Option<Arc<Version>>| v.as_ref().is_some_and(|v| self.selector.takes(&event.key, &v.meta));
        let word = match (takes(&event.prev), takes(&event.now)) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return,
        };
        if word == natural_word(event) && self.sends_stored_bytes() {
            out.put(&event.encoded_with(encode_event)[..]);
            return;
        }
        let version = event.now.as_ref().filter(|_| word != "DELETED").or(event.prev.as_ref());
        let Some(version) = version.cloned() else { return };
        let json = match word {
            "DELETED" => event.tombstone().cloned().unwrap_or_else(|| version.json.clone()),
            _ => version.json.clone(),
        };
        self.put_object(out, word, &json, &event.key);
    }

    fn sends_stored_bytes(&self) -> bool {
        self.call.format.shape == Shape::Whole && !self.call.kind.is_view
    }

    fn put_object(&mut self, out: &mut BytesMut, word: &str, json: &Bytes, key: &str) {
        if self.sends_stored_bytes() {
            return put_line(out, word, json);
        }
        let Ok(v) = decode_json(&self.call.kind, json) else {
            return tracing::error!(%key, "stored object is no JSON");
        };
        let shaped = answer::event_object(&self.core, &self.call, v, !self.sent_columns);
        self.sent_columns = true;
        put_line(out, word, shaped.to_string().as_bytes());
    }

    fn put_bookmark(&mut self, out: &mut BytesMut) {
        let now = self.core.clock.elapsed();
        if !self.bookmarks || now < self.next_bookmark {
            return;
        }
        self.next_bookmark = next_bookmark(now, self.ends);
        if let Some(revision) = self.watch.as_ref().and_then(Watch::progress) {
            self.put_mark(out, revision.max(self.at), Value::Null);
        }
    }

    fn put_mark(&self, out: &mut BytesMut, revision: u64, annotations: Value) {
        let kind = &self.call.kind;
        let mut meta = json!({"resourceVersion": revision.to_string()});
        if !annotations.is_null() {
            meta["annotations"] = annotations;
        }
        let mark = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": meta});
        let mark = match self.call.format.shape {
            Shape::Metadata(version) => answer::partial(&mark, version),
            _ => mark,
        };
        put_line(out, "BOOKMARK", mark.to_string().as_bytes());
    }
}

/// A minute on, or shortly before the end where that comes first and is not over yet.
fn next_bookmark(now: Duration, ends: Duration) -> Duration {
    let before_end = ends.saturating_sub(BOOKMARK_BEFORE_END);
    let next = now + BOOKMARK_EVERY;
    if now < before_end { next.min(before_end) } else { next }
}

/// What an event is called where no selector changes its meaning.
fn natural_word(event: &Event) -> &'static str {
    match (&event.prev, &event.now) {
        (None, _) => "ADDED",
        (Some(_), Some(_)) => "MODIFIED",
        (Some(_), None) => "DELETED",
    }
}

/// The line that all watchers of whole objects share.
fn encode_event(event: &Event) -> Bytes {
    let mut out = BytesMut::with_capacity(event.object().len() + 40);
    put_line(&mut out, natural_word(event), event.object());
    out.freeze()
}

fn put_line(out: &mut BytesMut, word: &str, object: &[u8]) {
    out.put(&b"{\"type\":\""[..]);
    out.put(word.as_bytes());
    out.put(&b"\",\"object\":"[..]);
    out.put(object);
    out.put(&b"}\n"[..]);
}
