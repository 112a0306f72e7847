//! Watches that begin with the present state, and bookmarks.

use super::*;

on_every_log! { BEHAVIOURS:
    progress_notify
    watch_dispatch_bookmark_events
    bookmarks_with_correct_resource_version
    send_initial_events_backward_compatibility
    watch_semantics
    watch_semantic_initial_events_extended
    watch_list_match_single
}

const MINUTE: Duration = Duration::from_secs(61);

/// A bookmark says a version and nothing else.
async fn progress_notify(api: Api) {
    let start = rv(&api.create("default", "name").await);
    let newest = api.elsewhere().await;
    let uri = format!("{EVENTS}?watch=true&allowWatchBookmarks=true&resourceVersion={start}");
    let mut watch = api.watch(&uri).await;
    watch.silent().await;
    let mark = watch.next_stepping(&api.clock, MINUTE).await;
    assert!(number(&rv(&mark["object"])) >= number(&newest));
    let plain =
        json!({"kind": "Event", "apiVersion": "v1", "metadata": {"resourceVersion": rv(&mark["object"])}});
    assert_eq!(mark, json!({"type": "BOOKMARK", "object": plain}));
}

/// Only who asked for bookmarks gets them.
async fn watch_dispatch_bookmark_events(api: Api) {
    api.namespaces(&["other"]).await;
    let start = rv(&api.create("default", "foo").await);
    for allowed in [false, true] {
        let uri = format!(
            "/api/v1/namespaces/default/events?watch=true&allowWatchBookmarks={allowed}&resourceVersion={start}"
        );
        let mut watch = api.watch(&uri).await;
        let elsewhere = api.create("other", &format!("foo-{allowed}")).await;
        if allowed {
            let mark = watch.next_stepping(&api.clock, MINUTE).await;
            assert_eq!((text(&mark["type"]), rv(&mark["object"])), ("BOOKMARK", rv(&elsewhere)));
        } else {
            api.clock.advance(MINUTE);
        }
        watch.silent().await;
    }
}

/// No bookmark is ahead of an event that comes after it.
async fn bookmarks_with_correct_resource_version(api: Api) {
    let api = Arc::new(api);
    let uri = format!(
        "{EVENTS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=100000&resourceVersion={}",
        api.present().await
    );
    let mut watch = api.watch(&uri).await;
    let writing = tokio::spawn({
        let api = api.clone();
        async move {
            for n in 0..100 {
                api.create("default", &format!("foo-{n}")).await;
                api.clock.advance(Duration::from_secs(7));
            }
            api.clock.advance(MINUTE);
        }
    });
    let (mut last, mut events, mut marks) = (0, 0, 0);
    while events < 100 || marks == 0 {
        let event = watch.next_stepping(&api.clock, MINUTE).await;
        let version = number(&rv(&event["object"]));
        if event["type"] == "BOOKMARK" {
            marks += 1;
            assert!(version >= last, "a bookmark of {version} after {last}");
        } else {
            events += 1;
            assert!(version > last, "an event of {version} after {last}");
        }
        last = version;
    }
    writing.await.unwrap();
    assert!(marks > 0);
}

/// Old clients name neither a version nor bookmarks; the option needs its match, as the reference has it.
async fn send_initial_events_backward_compatibility(api: Api) {
    let made = api.create("default", "foo").await;
    let uri = format!("{EVENTS}?watch=true&sendInitialEvents=true");
    assert_eq!(api.get(&uri).await.0, 422);
    for version in ["", "&resourceVersion=0"] {
        let mut watch = api.watch(&format!("{uri}&resourceVersionMatch=NotOlderThan{version}")).await;
        assert_eq!(watch.events(1).await, [format!("ADDED foo@{}", rv(&made))]);
        watch.silent().await;
    }
}

fn is_end(event: &Value) -> bool {
    event["type"] == "BOOKMARK"
        && event["object"]["metadata"]["annotations"] == json!({"k8s.io/initial-events-end": "true"})
}

async fn three(api: &Api, namespace: &str, names: &[&str]) -> Vec<String> {
    let mut made = Vec::new();
    for name in names {
        made.push(format!("ADDED {name}@{}", rv(&api.create(namespace, name).await)));
    }
    made
}

/// Every combination of a version, bookmarks and initial events, and two requests of old clients.
async fn watch_semantics(api: Api) {
    let mut cases = vec![("legacy", None, None), ("legacy 0", None, None)];
    for version in ["unset", "0", "old", "current"] {
        for bookmarks in [true, false] {
            cases.extend([true, false].map(|initial| (version, Some(bookmarks), Some(initial))));
        }
    }
    assert_eq!(cases.len(), 18);
    for (n, (version, bookmarks, initial)) in cases.into_iter().enumerate() {
        let namespace = format!("ns-{n}");
        api.namespaces(&[&namespace]).await;
        let old = api.present().await;
        let first = three(&api, &namespace, &["pod-1", "pod-2", "pod-3"]).await;
        let named = match version {
            "0" | "legacy 0" => "&resourceVersion=0".to_owned(),
            "old" => format!("&resourceVersion={old}"),
            "current" => format!("&resourceVersion={}", api.present().await),
            _ => String::new(),
        };
        let mut uri = format!("/api/v1/namespaces/{namespace}/events?watch=true{named}");
        if let (Some(bookmarks), Some(initial)) = (bookmarks, initial) {
            uri += &format!(
                "&allowWatchBookmarks={bookmarks}&sendInitialEvents={initial}&resourceVersionMatch=NotOlderThan"
            );
        }
        let mut watch = api.watch(&uri).await;
        // From an old version, what happened since comes one way or the other.
        if initial.unwrap_or(true) || version == "old" {
            assert_eq!(watch.events(3).await, first, "{uri}");
        }
        if initial == Some(true) && bookmarks == Some(true) {
            let end = watch.next().await.unwrap();
            assert!(is_end(&end), "{uri}: {end}");
            assert!(number(&rv(&end["object"])) >= number(first[2].split('@').nth(1).unwrap()));
        }
        let later = three(&api, &namespace, &["pod-4", "pod-5"]).await;
        assert_eq!(watch.events(2).await, later, "{uri}");
        watch.silent().await;
    }
}

/// The mark at the end of the state says the version of everything, not of the last object told.
async fn watch_semantic_initial_events_extended(api: Api) {
    api.namespaces(&["ns-foo", "other-ns-foo"]).await;
    let made = three(&api, "ns-foo", &["pod-1", "pod-2", "pod-3", "pod-4", "pod-5"]).await;
    let other = api.create("other-ns-foo", "pod-1").await;
    let uri = "/api/v1/namespaces/ns-foo/events?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut watch = api.watch(uri).await;
    assert_eq!(watch.events(5).await, made);
    let end = watch.next().await.unwrap();
    assert!(is_end(&end) && rv(&end["object"]) == rv(&other), "{end}");
    watch.silent().await;
}

async fn watch_list_match_single(api: Api) {
    let made = three(&api, "default", &["pod-1", "pod-2", "pod-3", "pod-4", "pod-5"]).await;
    let uri = format!(
        "{EVENTS}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Dpod-1"
    );
    let mut watch = api.watch(&uri).await;
    assert_eq!(watch.events(1).await, made[..1]);
    let end = watch.next().await.unwrap();
    assert!(is_end(&end), "{end}");
    assert_eq!(rv(&end["object"]), made[4].split('@').nth(1).unwrap());
    watch.silent().await;
}
