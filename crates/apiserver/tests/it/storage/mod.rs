//! What Kubernetes expects of the storage behind its API, asked of this server over each log: the 34 store and 21 watch
//! behaviours of apiserver/pkg/storage/testing, and the cases of their list test. Written anew from what those check.
//!
//! Objects are Events: every field of theirs may change, and their `reason` can be selected by, as a Pod's node is there.

mod lists;
mod pages;
mod table;
mod watches;
mod watchlist;
mod writes;

use std::time::Duration;

use bytes::Bytes;
use coracle_clock::Clock;
use coracle_store::{EtcdOptions, HISTORY_AGE, Txn};
use coracle_testkit_etcd::Etcd;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use tower::Service;

use super::*;

/// A server over one log, on a clock that stands still.
pub(crate) struct Api {
    pub(crate) server: Server,
    pub(crate) clock: Clock,
    _dir: Option<tempfile::TempDir>,
    etcd: Option<Etcd>,
}

/// Nothing here takes etcd as long: time goes on for a server that waits, not for etcd, which lives in real time.
const ETCD_STEP: Duration = Duration::from_millis(50);

type Answer = <coracle_apiserver::Local as Service<Request<Full<Bytes>>>>::Response;

const EVENTS: &str = "/api/v1/events";

impl Api {
    pub(crate) async fn memory() -> Api {
        let clock = Clock::stepped("2026-01-01T00:00:00Z".parse().unwrap());
        let store = Store::memory_with(meta_of(&Catalog::builtin()), clock.clone());
        Api::over(store, clock, None, None).await
    }

    pub(crate) async fn embedded() -> Api {
        let clock = Clock::stepped("2026-01-01T00:00:00Z".parse().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let meta = meta_of(&Catalog::builtin());
        let store = Store::open_with(dir.path().join("data"), meta, clock.clone()).await.unwrap();
        Api::over(store, clock, Some(dir), None).await
    }

    /// On an etcd of its own: a behaviour may compact it.
    pub(crate) async fn etcd() -> Api {
        let clock = Clock::stepped("2026-01-01T00:00:00Z".parse().unwrap());
        let etcd = Etcd::start();
        let options =
            EtcdOptions { endpoints: etcd.endpoints(), compaction: Duration::ZERO, ..EtcdOptions::default() };
        let store = Store::etcd(&options, meta_of(&Catalog::builtin()), clock.clone()).await.unwrap();
        Api::over(store, clock, None, Some(etcd)).await
    }

    async fn over(store: Store, clock: Clock, dir: Option<tempfile::TempDir>, etcd: Option<Etcd>) -> Api {
        let pki = Arc::new(Pki::memory(&ServingNames::default(), &clock).unwrap());
        let server = Server::start(Config::new(store, pki, clock.clone())).await.unwrap();
        Api { server, clock, _dir: dir, etcd }
    }

    async fn send(&self, method: Method, uri: &str, body: Option<&Value>) -> Answer {
        self.request(method, uri, body, "application/json").await
    }

    async fn request(&self, method: Method, uri: &str, body: Option<&Value>, accept: &str) -> Answer {
        let root = User { name: "root".into(), groups: vec!["system:masters".into()], ..User::default() };
        let content = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = Full::new(body.map(|b| Bytes::from(b.to_string())).unwrap_or_default());
        let request = Request::builder().method(method).uri(uri).header("content-type", content);
        let request = request.header("accept", accept).body(body);
        self.server.local(root).call(request.unwrap()).await.unwrap()
    }

    /// One request: the code and the answer. Where the server waits for time to pass, it passes.
    pub(crate) async fn ask(&self, method: Method, uri: &str, body: Option<&Value>) -> (u16, Value) {
        let answered = async {
            let answer = self.send(method.clone(), uri, body).await;
            let code = answer.status().as_u16();
            let bytes = answer.into_body().collect().await.unwrap();
            (code, serde_json::from_slice(&bytes.to_bytes()).unwrap_or(Value::Null))
        };
        let passing = async {
            loop {
                match self.etcd {
                    Some(_) => Clock::system().sleep(ETCD_STEP).await,
                    None => {
                        for _ in 0..2_000 {
                            tokio::task::yield_now().await;
                        }
                    }
                }
                self.clock.advance(Duration::from_secs(1));
            }
        };
        tokio::select! {
            biased;
            answer = answered => answer,
            () = passing => unreachable!(),
        }
    }

    pub(crate) async fn get(&self, uri: &str) -> (u16, Value) {
        self.ask(Method::GET, uri, None).await
    }

    /// The answer to a request that succeeds.
    pub(crate) async fn ok(&self, method: Method, uri: &str, body: Option<&Value>) -> Value {
        let (code, answer) = self.ask(method, uri, body).await;
        assert!((200..300).contains(&code), "{uri}: {code} {answer}");
        answer
    }

    pub(crate) async fn namespaces(&self, names: &[&str]) {
        for name in names {
            let namespace = json!({"metadata": {"name": name}});
            let (code, answer) = self.ask(Method::POST, "/api/v1/namespaces", Some(&namespace)).await;
            assert!(code == 201 || code == 409, "{code} {answer}");
        }
    }

    pub(crate) async fn create(&self, namespace: &str, name: &str) -> Value {
        self.create_on(namespace, name, "").await
    }

    pub(crate) async fn create_on(&self, namespace: &str, name: &str, node: &str) -> Value {
        let uri = format!("/api/v1/namespaces/{namespace}/events");
        self.ok(Method::POST, &uri, Some(&event(namespace, name, node))).await
    }

    /// Whatever was there, there is this now.
    pub(crate) async fn put(&self, namespace: &str, name: &str, object: &Value) -> Value {
        self.ok(Method::PUT, &one(namespace, name), Some(object)).await
    }

    pub(crate) async fn delete(&self, namespace: &str, name: &str) {
        self.ok(Method::DELETE, &one(namespace, name), None).await;
    }

    /// Another write, of another kind; the revision it got.
    pub(crate) async fn elsewhere(&self) -> String {
        let map = json!({"metadata": {"generateName": "elsewhere-"}});
        rv(&self.ok(Method::POST, "/api/v1/namespaces/default/configmaps", Some(&map)).await)
    }

    pub(crate) async fn present(&self) -> String {
        rv(&self.ok(Method::GET, "/api/v1/events?limit=1", None).await)
    }

    /// Let everything but what comes grow too old.
    pub(crate) async fn compact(&self) {
        self.clock.advance(HISTORY_AGE + Duration::from_secs(1));
        self.elsewhere().await;
    }

    /// Store bytes that are no object under an Event's key, as no client can.
    pub(crate) async fn break_object(&self, namespace: &str, name: &str) {
        let draft = coracle_store::Draft {
            head: br#"{"metadata":{"resourceVersion":""#.to_vec(),
            tail: br#""},"broken":"#.to_vec(),
            meta: Arc::default(),
        };
        let key = format!("/registry/events/{namespace}/{name}");
        self.server.store().commit(Txn::put(key, coracle_store::Expect::Any, draft)).await.unwrap();
    }

    pub(crate) async fn watch(&self, uri: &str) -> Feed {
        self.watch_as(uri, "application/json").await
    }

    /// A watch for another form of the objects.
    pub(crate) async fn watch_as(&self, uri: &str, accept: &str) -> Feed {
        let answer = self.request(Method::GET, uri, None, accept).await;
        assert_eq!(answer.status(), 200, "{uri}");
        let mut body = answer.into_body();
        let (lines, told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut waiting = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                waiting.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(end) = waiting.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = waiting.drain(..=end).collect();
                    if lines.send(serde_json::from_slice(&line).unwrap()).is_err() {
                        return;
                    }
                }
            }
        });
        Feed { told }
    }
}

/// A watch being read.
pub(crate) struct Feed {
    told: tokio::sync::mpsc::UnboundedReceiver<Value>,
}

impl Feed {
    /// The next event, or `None` where the watch ends.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let event = tokio::time::timeout(Duration::from_secs(20), self.told.recv()).await;
        event.expect("an event comes, or the watch ends")
    }

    /// The next event of a watch that goes on, while time passes: a watch's own timers begin when it is first read.
    pub(crate) async fn next_stepping(&mut self, clock: &Clock, step: Duration) -> Value {
        for _ in 0..200 {
            match tokio::time::timeout(Duration::from_millis(100), self.told.recv()).await {
                Ok(event) => return event.expect("the watch goes on"),
                Err(_) => clock.advance(step),
            }
        }
        panic!("an event comes in time");
    }

    /// The next events: type, name and version.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(said(&self.next().await.expect("the watch goes on")));
        }
        events
    }

    pub(crate) async fn silent(&mut self) {
        let event = tokio::time::timeout(Duration::from_millis(40), self.told.recv()).await;
        assert!(event.is_err(), "{event:?}");
    }
}

fn said(event: &Value) -> String {
    let object = &event["object"];
    format!("{} {}@{}", text(&event["type"]), text(&object["metadata"]["name"]), rv(object))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// An object's or a list's version.
pub(crate) fn rv(object: &Value) -> String {
    text(&object["metadata"]["resourceVersion"]).to_owned()
}

fn number(rv: &str) -> u64 {
    rv.parse().unwrap()
}

pub(crate) fn event(namespace: &str, name: &str, node: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": "p"},
        "reason": node,
    })
}

pub(crate) fn one(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/events/{name}")
}

pub(crate) fn items(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    let place = |v: &Value| {
        format!("{}/{}@{}", text(&v["metadata"]["namespace"]), text(&v["metadata"]["name"]), rv(v))
    };
    items.iter().map(place).collect()
}

pub(crate) fn place(object: &Value) -> String {
    items(&json!({"items": [object]})).remove(0)
}

/// Run each behaviour on each log, and say how many there are.
macro_rules! on_every_log {
    ($count:ident: $($test:ident)*) => {
        pub(crate) const $count: &[&str] = &[$(stringify!($test)),*];
        mod memory {
            $(#[tokio::test] async fn $test() { super::$test(crate::storage::Api::memory().await).await })*
        }
        mod embedded {
            $(#[tokio::test] async fn $test() { super::$test(crate::storage::Api::embedded().await).await })*
        }
        mod etcd {
            $(#[tokio::test] async fn $test() { super::$test(crate::storage::Api::etcd().await).await })*
        }
    };
}
use on_every_log;

/// The logs that [`on_every_log`] runs on.
const LOGS: [&str; 3] = ["memory", "embedded", "etcd"];

#[test]
fn the_suite_is_whole() {
    let store = writes::BEHAVIOURS.len() + lists::BEHAVIOURS.len() + pages::BEHAVIOURS.len();
    let watch = watches::BEHAVIOURS.len() + watchlist::BEHAVIOURS.len();
    assert_eq!((store, watch, table::ROWS), (34, 21, 86));
    println!(
        "storage suite: {store} store and {watch} watch behaviours, {} list cases, each on {}",
        table::ROWS,
        LOGS.join(", ")
    );
}
