//! watch: the present state if asked for, then every change, as lines of JSON or frames of protobuf.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use coracle_api::codec::{encode, protobuf};
use coracle_api::{Status, table};
use coracle_store::{Error, Event, Version};
use futures::Stream;
use futures::future::BoxFuture;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use rand::Rng;
use serde_json::{Map, Value, json};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::forms::{self, Shown};
use super::select::Selector;
use super::versions::{self, Wanted};
use super::{Call, answer, decode_stored, list};
use crate::body::Body;
use crate::crd::events::{Ended, Events};
use crate::negotiate::{Format, Shape, Syntax};
use crate::options::ListOptions;
use crate::respond::{self, Answer};
use crate::server::Core;

/// How long a watch lasts whose client names no end: between once and twice the reference's `MinRequestTimeout`.
const LIFE: std::ops::Range<u64> = 1800..3600;
/// How often a watch that allows bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A last bookmark this long before the end lets the client resume where it was.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Events are taken from the store so many at a time, and gathered up to this size before they are sent: a reader that
/// is behind gets full pieces, and none holds a worker for longer than one takes.
const BATCH: usize = 16;
const PIECE_BYTES: usize = 64 * 1024;

const PROTOBUF_STREAM: HeaderValue =
    HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch");

pub(crate) async fn run(core: &Arc<Core>, call: Arc<Call>) -> Result<Answer, Status> {
    let options = ListOptions::parse_watch(&call.query)?;
    let selector =
        Selector::parse(&call.kind, &options.label_selector, &options.field_selector)?.named(&call.name);
    let feed = open(core, &call, &options, selector).await?;
    let is_protobuf = feed.is_protobuf();
    let mut answer = respond::uncached(200, Format::default(), Body::Watch(Box::pin(feed)));
    if is_protobuf {
        answer.headers_mut().insert(CONTENT_TYPE, PROTOBUF_STREAM);
    }
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
    let mut feed = Feed::new(core.clone(), call.clone(), selector, options);
    if wants_state {
        let wanted = revision.map_or(Wanted::Newest, Wanted::NotOlderThan);
        let state = versions::snapshot(core, wanted).await?;
        feed.initial = list::all(core, call, &state, &feed.selector).await?.into_iter();
        feed.at = state.revision;
        feed.end_of_initial = options.send_initial_events == Some(true) && options.bookmarks;
    } else {
        feed.at = revision.filter(|r| *r > 0).unwrap_or_else(|| core.store.revision());
    }
    feed.known = feed.at;
    match core.store.watch(&prefix, feed.at.min(core.store.revision())) {
        Ok(watch) => feed.watch = Some(Events::new(core, &call.kind, watch)?),
        Err(Error::Compacted { wanted, oldest }) => {
            let gone = Status::expired(format!("too old resource version: {wanted} ({oldest})"));
            feed.refusal = Some(Box::new(gone));
        }
        Err(other) => return Err(versions::store_failed(other)),
    }
    Ok(feed)
}

fn life(core: &Core, options: &ListOptions) -> Duration {
    let asked = options.timeout_seconds.filter(|s| *s > 0).map(|s| Duration::from_secs(s as u64));
    core.clock.elapsed() + asked.unwrap_or_else(|| Duration::from_secs(rand::rng().random_range(LIFE)))
}

/// One watcher's stream. Ten thousand of them may wait: what an idle one holds is kept small, and made once.
struct Feed {
    core: Arc<Core>,
    call: Arc<Call>,
    selector: Selector,
    initial: std::vec::IntoIter<Arc<Version>>,
    /// A bookmark that says that the initial events have ended is still to be sent.
    end_of_initial: bool,
    watch: Option<Events>,
    /// Sent as the only event, where the version asked for is gone.
    refusal: Option<Box<Status>>,
    /// What the client knew when the watch began.
    known: u64,
    /// The newest revision that the client has been told.
    at: u64,
    bookmarks: bool,
    ends: Duration,
    next_bookmark: Duration,
    /// Wakes the watcher for what is due next, its end or a bookmark.
    timer: BoxFuture<'static, ()>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    sent_columns: bool,
}

impl Stream for Feed {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let feed = self.get_mut();
        let mut out = Vec::new();
        feed.put_initial(&mut out);
        if let Some(refusal) = feed.refusal.take() {
            feed.watch = None;
            feed.put_error(&mut out, &refusal);
        }
        let has_ended = |feed: &mut Feed, cx: &mut Context<'_>| {
            feed.watch.is_none() || feed.stopping.as_mut().poll(cx).is_ready()
        };
        if out.is_empty() && has_ended(feed, cx) {
            return Poll::Ready(None);
        }
        while out.is_empty() && feed.timer.as_mut().poll(cx).is_ready() {
            feed.put_bookmark(&mut out);
            let Some(pause) = feed.pause() else {
                feed.watch = None;
                break;
            };
            feed.timer = sleep(&feed.core, pause);
        }
        while out.len() < PIECE_BYTES
            && let Some(watch) = &mut feed.watch
        {
            match watch.poll_batch(cx, BATCH) {
                Poll::Ready(batch) => {
                    let is_all = batch.as_ref().is_ok_and(|events| events.len() < BATCH);
                    feed.put_batch(&mut out, batch);
                    // The poll after this piece finds out whether there is more.
                    if is_all && !out.is_empty() {
                        break;
                    }
                }
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready((!out.is_empty()).then(|| out.into()))
    }
}

fn sleep(core: &Arc<Core>, pause: Duration) -> BoxFuture<'static, ()> {
    let clock = core.clock.clone();
    Box::pin(async move { clock.sleep(pause).await })
}

impl Feed {
    fn new(core: Arc<Core>, call: Arc<Call>, selector: Selector, options: &ListOptions) -> Feed {
        let ends = life(&core, options);
        let mut feed = Feed {
            selector,
            initial: Vec::new().into_iter(),
            end_of_initial: false,
            watch: None,
            refusal: None,
            known: 0,
            at: 0,
            bookmarks: options.bookmarks,
            ends,
            next_bookmark: next_bookmark(core.clock.elapsed(), ends),
            timer: sleep(&core, Duration::ZERO),
            stopping: Box::pin(core.stopping.clone().cancelled_owned()),
            sent_columns: false,
            core,
            call,
        };
        feed.timer = sleep(&feed.core, feed.pause().unwrap_or_default());
        feed
    }

    fn is_protobuf(&self) -> bool {
        self.call.format.syntax == Syntax::Protobuf
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

    fn put_initial(&mut self, out: &mut Vec<u8>) {
        while out.len() < PIECE_BYTES {
            let Some(version) = self.initial.next() else {
                // The list goes, and not only its items.
                self.initial = Vec::new().into_iter();
                break;
            };
            self.put_object(out, "ADDED", &version);
        }
        if self.initial.len() == 0 && std::mem::take(&mut self.end_of_initial) {
            self.put_mark(out, self.at, json!({"k8s.io/initial-events-end": "true"}));
        }
    }

    fn put_batch(&mut self, out: &mut Vec<u8>, batch: Result<Vec<Arc<Event>>, Ended>) {
        match batch {
            Ok(events) => {
                // Nothing follows an event that could not be told.
                for event in &events {
                    self.put_event(out, event);
                    if self.watch.is_none() {
                        break;
                    }
                }
            }
            // A watcher that was cut is told to list again; one whose store closes just ends.
            Err(Ended::Watch(Error::Closed)) => self.watch = None,
            Err(Ended::Watch(_)) => {
                self.fail(out, &Status::expired("too old resource version: the watcher fell behind"));
            }
            Err(Ended::Untold(status)) => self.fail(out, &status),
        }
    }

    fn put_event(&mut self, out: &mut Vec<u8>, event: &Event) {
        // Not `at`: one transaction may have more than one event.
        if event.revision <= self.known {
            return;
        }
        self.at = event.revision;
        let takes = |v: &Option<Arc<Version>>| v.as_ref().is_some_and(|v| self.selector.takes(v));
        let (word, version) = match (takes(&event.prev), takes(&event.now)) {
            (false, true) => ("ADDED", event.now.as_ref()),
            (true, true) => ("MODIFIED", event.now.as_ref()),
            (true, false) => ("DELETED", event.last()),
            (false, false) => return,
        };
        if let Some(version) = version {
            self.put_object(out, word, version);
        }
    }

    /// An event with an object in the client's form. The object's bytes are shared by all watchers.
    fn put_object(&mut self, out: &mut Vec<u8>, word: &str, version: &Version) {
        if let Err(status) = self.check_readable(version) {
            tracing::error!(key = &*version.key, "{}", status.message);
            return self.fail(out, &status);
        }
        let (core, call) = (self.core.as_ref(), self.call.as_ref());
        if self.is_protobuf() {
            let body = answer::message_body(call, &forms::message(core, &call.kind, version));
            return protobuf::put_watch_frame(out, word, &body);
        }
        out.reserve(version.json.len() + 64);
        open_line(out, word);
        match call.format.shape {
            Shape::Whole if !call.kind.is_view => out.extend_from_slice(&version.json),
            Shape::Whole => match decode_stored(&call.kind, version) {
                Ok(v) => encode::write_value(out, &v),
                Err(why) => tracing::error!(key = &*version.key, "{why}"),
            },
            Shape::Metadata(meta) => Shown::of(core, &call.kind, version).put_metadata(out, meta),
            Shape::Table(meta) => {
                let revision =
                    Map::from_iter([("resourceVersion".into(), json!(version.revision.to_string()))]);
                let mut frame =
                    table::frame(&call.kind, revision, !std::mem::replace(&mut self.sent_columns, true));
                frame.insert("apiVersion".to_owned(), json!(meta.api_version()));
                encode::write_value(out, &Value::Object(frame));
                out.pop();
                out.extend_from_slice(b",\"rows\":[");
                let now = core.clock.unix_seconds();
                forms::put_row(core, &call.kind, version, answer::include(call), now, out);
                out.extend_from_slice(b"]}");
            }
        }
        out.extend_from_slice(b"}\n");
    }

    /// Stored bytes are sent as they are; every other form is of what they mean.
    fn check_readable(&self, version: &Version) -> Result<(), Status> {
        let (core, kind) = (self.core.as_ref(), &self.call.kind);
        let is_readable = match self.call.format.shape {
            _ if self.is_protobuf() => !forms::message(core, kind, version).is_empty(),
            Shape::Whole => !kind.is_view,
            Shape::Metadata(_) | Shape::Table(_) => Shown::of(core, kind, version).is_readable(),
        };
        if is_readable { Ok(()) } else { decode_stored(kind, version).map(drop) }
    }

    /// The last event of a watch that cannot go on: a hole in what it tells would be worse than its end.
    fn fail(&mut self, out: &mut Vec<u8>, status: &Status) {
        self.watch = None;
        self.initial = Vec::new().into_iter();
        self.end_of_initial = false;
        self.put_error(out, status);
    }

    fn put_bookmark(&mut self, out: &mut Vec<u8>) {
        let now = self.core.clock.elapsed();
        if !self.bookmarks || now < self.next_bookmark {
            return;
        }
        self.next_bookmark = next_bookmark(now, self.ends);
        if let Some(revision) = self.watch.as_ref().and_then(Events::progress) {
            self.put_mark(out, revision.max(self.at), Value::Null);
        }
    }

    fn put_mark(&self, out: &mut Vec<u8>, revision: u64, annotations: Value) {
        let kind = &self.call.kind;
        let mut meta = json!({"resourceVersion": revision.to_string()});
        if !annotations.is_null() {
            meta["annotations"] = annotations;
        }
        let mark = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": meta});
        if self.is_protobuf() {
            let message = forms::message_of(&self.core, kind, &mark);
            return protobuf::put_watch_frame(out, "BOOKMARK", &answer::message_body(&self.call, &message));
        }
        let mark = match self.call.format.shape {
            Shape::Metadata(version) => answer::partial(&mark, version),
            _ => mark,
        };
        put_line(out, "BOOKMARK", &mark);
    }

    fn put_error(&self, out: &mut Vec<u8>, status: &Status) {
        let status = status.to_value();
        match protobuf::encode(&self.core.schemas, &status).filter(|_| self.is_protobuf()) {
            Some(body) => protobuf::put_watch_frame(out, "ERROR", &body),
            None => put_line(out, "ERROR", &status),
        }
    }
}

/// A minute on, or shortly before the end where that comes first and is not over yet.
fn next_bookmark(now: Duration, ends: Duration) -> Duration {
    let before_end = ends.saturating_sub(BOOKMARK_BEFORE_END);
    let next = now + BOOKMARK_EVERY;
    if now < before_end { next.min(before_end) } else { next }
}

fn open_line(out: &mut Vec<u8>, word: &str) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
}

fn put_line(out: &mut Vec<u8>, word: &str, object: &Value) {
    open_line(out, word);
    encode::write_value(out, object);
    out.extend_from_slice(b"}\n");
}
