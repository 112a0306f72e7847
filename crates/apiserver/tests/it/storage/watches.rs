//! Watches: what they tell, from where, to whom, and how they end.

use super::*;

on_every_log! { BEHAVIOURS:
    watch
    watch_from_zero
    delete_trigger_watch
    watch_from_non_zero
    delayed_watch_delivery
    watch_error
    watch_with_unsafe_delete
    watch_context_cancel
    watcher_timeout
    watch_delete_event_object_have_latest_rv
    watch_initialization_signal
    cluster_scoped_watch
    namespace_scoped_watch
    watch_error_is_blocking_further_events
}

/// `selected` is a label's value, "" for none.
fn object(namespace: &str, node: &str, selected: bool) -> Value {
    let mut object = event(namespace, "foo", node);
    if selected {
        object["metadata"]["labels"] = json!({"select": "true"});
    }
    object
}

/// Steps of one object: its node (`-` deletes it), whether it has the label, and what the watch tells.
type Steps = &'static [(&'static str, bool, &'static str)];
const STEPS: [(&str, Steps); 5] = [
    ("", &[("", false, "ADDED")]),
    ("fieldSelector=reason%3Dbar", &[("", false, ""), ("bar", false, "ADDED")]),
    ("", &[("", false, "ADDED"), ("bar", false, "MODIFIED")]),
    ("fieldSelector=reason!%3Dbar", &[("", false, "ADDED"), ("bar", false, "DELETED")]),
    (
        "labelSelector=select%3Dtrue",
        &[
            ("", true, "ADDED"),
            ("", false, "DELETED"),
            ("", true, "ADDED"),
            ("bar", true, "MODIFIED"),
            ("-", false, "DELETED"),
        ],
    ),
];

/// An object enters, changes in, and leaves what is selected; other namespaces are not heard of.
async fn watch(api: Api) {
    for (n, (selector, steps)) in STEPS.into_iter().enumerate() {
        for single in [false, true] {
            let namespace = format!("test-ns-{n}-{single}");
            let bad = format!("{namespace}-bad");
            api.namespaces(&[&namespace, &bad]).await;
            let present = api.present().await;
            let mut uri = format!(
                "/api/v1/namespaces/{namespace}/events?watch=true&resourceVersion={present}&{selector}"
            );
            if single {
                let more = if selector.starts_with("field") {
                    ",metadata.name%3Dfoo"
                } else {
                    "&fieldSelector=metadata.name%3Dfoo"
                };
                uri.push_str(more);
            }
            let mut watch = api.watch(&uri).await;
            api.put(&bad, "foo", &object(&bad, "", true)).await;
            let mut before = Value::Null;
            for (node, selected, told) in steps {
                let after = if *node == "-" {
                    api.delete(&namespace, "foo").await;
                    Value::Null
                } else {
                    api.put(&namespace, "foo", &object(&namespace, node, *selected)).await
                };
                if !told.is_empty() {
                    let mut event = watch.next().await.unwrap();
                    assert_eq!(&event["type"], told, "{uri}");
                    if *told == "DELETED" {
                        assert!(number(&rv(&event["object"])) > number(&rv(&before)));
                        event["object"]["metadata"]["resourceVersion"] =
                            before["metadata"]["resourceVersion"].clone();
                    }
                    assert_eq!(
                        event["object"],
                        if *told == "DELETED" { before } else { after.clone() },
                        "{uri}"
                    );
                }
                before = after;
            }
            watch.silent().await;
        }
    }
}

const FOO: &str = "/api/v1/namespaces/default/events?watch=true&fieldSelector=metadata.name%3Dfoo";

async fn watch_from_zero(api: Api) {
    let stored = api.create("default", "foo").await;
    let mut first = api.watch(&format!("{FOO}&resourceVersion=0")).await;
    assert_eq!(first.events(1).await, [format!("ADDED foo@{}", rv(&stored))]);
    let out = api.put("default", "foo", &event("default", "foo", "a")).await;
    assert_eq!(first.events(1).await, [format!("MODIFIED foo@{}", rv(&out))]);
    let mut again = api.watch(&format!("{FOO}&resourceVersion=0")).await;
    assert_eq!(again.events(1).await, [format!("ADDED foo@{}", rv(&out))]);
    let newest = api.put("default", "foo", &event("default", "foo", "b")).await;
    api.compact().await;
    api.compact().await;
    // Its last change is forgotten, it is not.
    let mut again = api.watch(&format!("{FOO}&resourceVersion=0")).await;
    assert_eq!(again.events(1).await, [format!("ADDED foo@{}", rv(&newest))]);
    let mut old = api.watch(&format!("{FOO}&resourceVersion={}", rv(&out))).await;
    let refused = old.next().await.unwrap();
    assert_eq!((&refused["type"], text(&refused["object"]["reason"])), (&json!("ERROR"), "Expired"));
}

async fn delete_trigger_watch(api: Api) {
    let stored = api.create("default", "foo").await;
    let mut watch = api.watch(&format!("{FOO}&resourceVersion={}", rv(&stored))).await;
    api.delete("default", "foo").await;
    assert_eq!(watch.next().await.unwrap()["type"], "DELETED");
}

async fn watch_from_non_zero(api: Api) {
    let stored = api.create("default", "foo").await;
    let mut watch = api.watch(&format!("{FOO}&resourceVersion={}", rv(&stored))).await;
    let out = api.put("default", "foo", &event("default", "foo", "2")).await;
    assert_eq!(watch.events(1).await, [format!("MODIFIED foo@{}", rv(&out))]);
}

/// A reader that begins late gets every event.
async fn delayed_watch_delivery(api: Api) {
    const OBJECTS: usize = 300;
    let start = rv(&api.create("default", "foo").await);
    let mut watch = api.watch(&format!("{EVENTS}?watch=true&resourceVersion={start}")).await;
    let mut made = Vec::new();
    for n in 0..OBJECTS {
        let name = format!("foo-{n}");
        made.push(format!("ADDED {name}@{}", rv(&api.create("default", &name).await)));
    }
    assert_eq!(watch.events(OBJECTS).await, made);
}

/// A watch for tables must read what it sends.
const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

async fn watch_table(api: &Api, uri: &str) -> Feed {
    api.watch_as(uri, AS_TABLE).await
}

fn is_error(event: &Value) -> bool {
    event["type"] == "ERROR" && event["object"]["kind"] == "Status"
}

async fn watch_error(api: Api) {
    let present = api.present().await;
    api.create("default", "foo").await;
    api.break_object("default", "foo").await;
    let mut watch = watch_table(&api, &format!("{FOO}&resourceVersion={present}")).await;
    assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    let event = watch.next().await.unwrap();
    assert!(is_error(&event), "{event}");
}

/// A deletion that reads the object fails; once the object is gone otherwise, who has to read it is told of an error.
async fn watch_with_unsafe_delete(api: Api) {
    api.create("default", "foo").await;
    api.break_object("default", "foo").await;
    let mut watch = watch_table(&api, &format!("{FOO}&resourceVersion={}", api.present().await)).await;
    assert_eq!(api.ask(Method::DELETE, &one("default", "foo"), None).await.0, 500);
    let key = "/registry/events/default/foo";
    api.server.store().commit(Txn::delete(key, coracle_store::Expect::Any)).await.unwrap();
    let event = watch.next().await.unwrap();
    assert!(is_error(&event), "{event}");
    assert!(watch.next().await.is_none());
}

/// A watch ends with its server, also one that nobody has read from yet.
async fn watch_context_cancel(api: Api) {
    let mut waiting = api.watch(&format!("{EVENTS}?watch=true&resourceVersion=0")).await;
    api.server.stop().await;
    assert!(waiting.next().await.is_none());
    let mut late = api.watch(&format!("{EVENTS}?watch=true&resourceVersion=0")).await;
    assert!(late.next().await.is_none());
}

/// Readers that do not read hold nobody up.
async fn watcher_timeout(api: Api) {
    let uri = format!("/api/v1/namespaces/default/events?watch=true&resourceVersion={}", api.present().await);
    let mut stalled = Vec::new();
    for _ in 0..50 {
        stalled.push(api.send(Method::GET, &uri, None).await);
    }
    let mut reading = api.watch(&uri).await;
    for n in 0..22 {
        let made = api.create("default", &format!("foo-{n}")).await;
        assert_eq!(reading.events(1).await, [format!("ADDED foo-{n}@{}", rv(&made))]);
    }
    assert_eq!(stalled.len(), 50);
}

async fn watch_delete_event_object_have_latest_rv(api: Api) {
    let stored = api.create("default", "foo").await;
    let mut watch = api.watch(&format!("{FOO}&resourceVersion={}", rv(&stored))).await;
    api.delete("default", "foo").await;
    let deleted = watch.next().await.unwrap();
    assert_eq!(rv(&deleted["object"]), api.present().await);
    assert!(number(&rv(&deleted["object"])) > number(&rv(&stored)));
}

/// That a watch has begun is known before anything happens.
async fn watch_initialization_signal(api: Api) {
    let stored = api.create("default", "foo").await;
    let uri = format!("{FOO}&resourceVersion={}", rv(&stored));
    let opened = tokio::time::timeout(Duration::from_secs(20), api.send(Method::GET, &uri, None)).await;
    assert_eq!(opened.expect("headers come at once").status(), 200);
}

/// (path, selector, steps: namespace/name/node and what the watch tells), `@` making names a case's own.
type Scoped = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const NAMESPACED: [Scoped; 18] = [
    (
        "",
        "metadata.namespace!=none",
        &[
            ("ns1/foo1/", "ADDED"),
            ("ns2/foo2/", "ADDED"),
            ("ns1/foo1/x", "MODIFIED"),
            ("ns2/foo2/x", "MODIFIED"),
        ],
    ),
    (
        "",
        "metadata.namespace=@ns1",
        &[("ns1/foo1/", "ADDED"), ("ns2/foo1/", ""), ("ns1/foo1/x", "MODIFIED"), ("ns2/foo1/x", "")],
    ),
    (
        "",
        "reason=@bar1",
        &[("ns1/foo1/", ""), ("ns2/foo2/", ""), ("ns1/foo1/@bar1", "ADDED"), ("ns2/foo2/@bar1", "ADDED")],
    ),
    (
        "",
        "reason!=@bar1",
        &[
            ("ns1/foo1/", "ADDED"),
            ("ns1/foo2/", "ADDED"),
            ("ns1/foo1/x", "MODIFIED"),
            ("ns1/foo1/@bar1", "DELETED"),
        ],
    ),
    (
        "ns1",
        "",
        &[
            ("ns1/foo1/", "ADDED"),
            ("ns2/foo1/", ""),
            ("ns1/foo2/", "ADDED"),
            ("ns1/foo1/x", "MODIFIED"),
            ("ns2/foo1/x", ""),
        ],
    ),
    (
        "ns1",
        "metadata.namespace=@ns1",
        &[("ns1/foo1/", "ADDED"), ("ns2/foo1/", ""), ("ns1/foo1/x", "MODIFIED")],
    ),
    (
        "ns1",
        "metadata.namespace=@ns2",
        &[("ns1/foo1/", ""), ("ns2/foo1/", ""), ("ns1/foo1/x", ""), ("ns2/foo1/x", "")],
    ),
    (
        "ns1",
        "reason=@bar2",
        &[("ns1/foo1/", ""), ("ns1/foo1/@bar1", ""), ("ns2/foo1/@bar2", ""), ("ns1/foo1/@bar2", "ADDED")],
    ),
    (
        "ns2",
        "reason!=@bar1",
        &[
            ("ns1/foo1/", ""),
            ("ns2/foo1/", "ADDED"),
            ("ns2/foo1/@bar1", "DELETED"),
            ("ns2/foo1/@bar2", "ADDED"),
        ],
    ),
    (
        "",
        "metadata.name=@foo1",
        &[
            ("ns1/@foo1/", "ADDED"),
            ("ns2/@foo1/", "ADDED"),
            ("ns1/@foo2/", ""),
            ("ns1/@foo1/x", "MODIFIED"),
            ("ns1/@foo1/y", "MODIFIED"),
        ],
    ),
    (
        "",
        "metadata.name=foo1,metadata.namespace=@ns1",
        &[
            ("ns1/foo1/", "ADDED"),
            ("ns1/foo2/", ""),
            ("ns2/foo1/", ""),
            ("ns1/foo1/x", "MODIFIED"),
            ("ns1/foo1/y", "MODIFIED"),
        ],
    ),
    (
        "",
        "metadata.name=foo1,reason=@bar1",
        &[("ns1/foo1/", ""), ("ns1/foo1/x", ""), ("ns1/foo1/@bar1", "ADDED")],
    ),
    (
        "",
        "reason!=@bar1,metadata.name=@foo1",
        &[
            ("ns1/@foo1/", "ADDED"),
            ("ns1/@foo2/", ""),
            ("ns1/@foo1/x", "MODIFIED"),
            ("ns1/@foo1/@bar1", "DELETED"),
            ("ns1/@foo1/@bar2", "ADDED"),
        ],
    ),
    (
        "ns1",
        "metadata.name=foo1",
        &[("ns1/foo1/", "ADDED"), ("ns1/foo2/", ""), ("ns1/foo1/x", "MODIFIED"), ("ns1/foo1/y", "MODIFIED")],
    ),
    (
        "ns1",
        "metadata.name=foo2,metadata.namespace=@ns1",
        &[("ns1/foo1/", ""), ("ns1/foo2/", "ADDED"), ("ns1/foo1/x", ""), ("ns1/foo2/y", "MODIFIED")],
    ),
    (
        "ns1",
        "metadata.name=foo1,metadata.namespace=@ns1,reason=@bar1",
        &[
            ("ns1/foo1/", ""),
            ("ns1/foo2/", ""),
            ("ns2/foo1/", ""),
            ("ns1/foo1/x", ""),
            ("ns1/foo1/@bar1", "ADDED"),
        ],
    ),
    (
        "ns1",
        "reason!=@bar1,metadata.name=foo2,metadata.namespace=@ns1",
        &[
            ("ns1/foo1/", ""),
            ("ns2/foo2/", ""),
            ("ns1/foo2/", "ADDED"),
            ("ns1/foo2/x", "MODIFIED"),
            ("ns1/foo2/@bar1", "DELETED"),
        ],
    ),
    ("ns1", "reason=", &[("ns1/foo1/", "ADDED"), ("ns1/foo1/x", "DELETED")]),
];

async fn namespace_scoped_watch(api: Api) {
    for (n, (namespace, selector, steps)) in NAMESPACED.into_iter().enumerate() {
        let own = format!("t{n}-");
        api.namespaces(&[&format!("{own}ns1"), &format!("{own}ns2")]).await;
        let within =
            if namespace.is_empty() { String::new() } else { format!("namespaces/{own}{namespace}/") };
        let selector = selector.replace('@', &own).replace('=', "%3D");
        let present = api.present().await;
        let uri =
            format!("/api/v1/{within}events?watch=true&resourceVersion={present}&fieldSelector={selector}");
        let mut watch = api.watch(&uri).await;
        for (object, told) in steps {
            let object = object.replace('@', &own);
            let mut parts = object.split('/');
            let [space, name, node] = [(); 3].map(|()| parts.next().unwrap());
            let space = format!("{own}{space}");
            let out = api.put(&space, name, &event(&space, name, node)).await;
            if !told.is_empty() {
                assert_eq!(watch.events(1).await, [format!("{told} {name}@{}", rv(&out))], "case {n}: {uri}");
            }
        }
        watch.silent().await;
    }
}

/// Nodes have no namespace; that they take no Pods is their selectable field.
const CLUSTER: [Scoped; 6] = [
    ("", "", &[("foo1/", "ADDED"), ("foo1/x", "MODIFIED"), ("foo2/", "ADDED")]),
    ("", "spec.unschedulable=true", &[("foo1/", ""), ("foo1/closed", "ADDED")]),
    (
        "",
        "spec.unschedulable!=true",
        &[("foo1/", "ADDED"), ("foo2/", "ADDED"), ("foo1/x", "MODIFIED"), ("foo1/closed", "DELETED")],
    ),
    ("", "metadata.name=foo1", &[("foo1/", "ADDED"), ("foo2/", ""), ("foo1/x", "MODIFIED"), ("foo2/x", "")]),
    (
        "",
        "metadata.name=foo1,spec.unschedulable=true",
        &[("foo1/", ""), ("foo2/", ""), ("foo1/x", ""), ("foo2/closed", ""), ("foo1/closed", "ADDED")],
    ),
    (
        "",
        "spec.unschedulable!=true,metadata.name=foo1",
        &[
            ("foo1/", "ADDED"),
            ("foo2/", ""),
            ("foo1/x", "MODIFIED"),
            ("foo1/closed", "DELETED"),
            ("foo2/closed", ""),
        ],
    ),
];

async fn cluster_scoped_watch(api: Api) {
    for (n, (_, selector, steps)) in CLUSTER.into_iter().enumerate() {
        let present = api.present().await;
        let selector = selector.replace('=', "%3D");
        let uri = format!("/api/v1/nodes?watch=true&resourceVersion={present}&fieldSelector={selector}");
        let mut watch = api.watch(&uri).await;
        for (object, told) in steps {
            let (name, what) = object.split_once('/').unwrap();
            let mut node = json!({"metadata": {"name": name, "labels": {"x": what}}});
            node["spec"]["unschedulable"] = json!(what == "closed");
            let path = format!("/api/v1/nodes/{name}");
            let out = match api.get(&path).await.0 {
                404 => api.ok(Method::POST, "/api/v1/nodes", Some(&node)).await,
                _ => api.ok(Method::PUT, &path, Some(&node)).await,
            };
            if !told.is_empty() {
                assert_eq!(watch.events(1).await, [format!("{told} {name}@{}", rv(&out))], "case {n}: {uri}");
            }
        }
        watch.silent().await;
        for name in ["foo1", "foo2"] {
            api.ask(Method::DELETE, &format!("/api/v1/nodes/{name}"), None).await;
        }
    }
}

/// After an object that cannot be read, nothing more is told: a hole in what a watch tells is worse than its end.
async fn watch_error_is_blocking_further_events(api: Api) {
    let start = rv(&api.create("default", "foo").await);
    api.break_object("default", "bar").await;
    api.create("default", "baz").await;
    for _ in 0..10 {
        let mut watch = watch_table(&api, &format!("{EVENTS}?watch=true&resourceVersion={start}")).await;
        let event = watch.next().await.unwrap();
        assert!(is_error(&event), "{event}");
        assert!(watch.next().await.is_none());
    }
}
