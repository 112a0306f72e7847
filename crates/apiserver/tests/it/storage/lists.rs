//! Lists: consistency, what a prefix takes in, selectors, versions.

use super::*;

on_every_log! { BEHAVIOURS:
    consistent_list
    get_list_non_recursive
    get_list_recursive_prefix
    list_resource_version_match
    namespace_scoped_list
    stats
    compact_revision
}

/// A list that names no version is of the present, whatever was written and wherever.
async fn consistent_list(api: Api) {
    api.create("default", "foo").await;
    let empty = "/api/v1/namespaces/empty/events";
    let rest = continuing("a", -1);
    for query in ["", "resourceVersion=0", &format!("continue={rest}"), "resourceVersion=0", ""] {
        let written = api.elsewhere().await;
        let list = api.ok(Method::GET, &format!("{empty}?{query}"), None).await;
        assert_eq!((rv(&list), items(&list).len()), (written, 0), "{query}");
    }
}

/// A list of one object, by its name.
async fn get_list_non_recursive(api: Api) {
    let before = api.create("default", "foo").await;
    let stored = api.put("default", "foo", &event("default", "foo", "n")).await;
    api.elsewhere().await;
    let by_name = "/api/v1/namespaces/default/events?fieldSelector=metadata.name%3Dfoo";
    let (now, then) = (place(&stored), place(&before));
    for (query, expected) in [
        (String::new(), &now),
        ("&resourceVersion=0".into(), &now),
        ("&resourceVersion=0&resourceVersionMatch=NotOlderThan".into(), &now),
        (format!("&resourceVersion={}", rv(&stored)), &now),
        (format!("&resourceVersion={}&resourceVersionMatch=NotOlderThan", rv(&stored)), &now),
        (format!("&resourceVersion={}&resourceVersionMatch=NotOlderThan", rv(&before)), &now),
        (format!("&resourceVersion={}&resourceVersionMatch=Exact", rv(&stored)), &now),
        (format!("&resourceVersion={}&resourceVersionMatch=Exact", rv(&before)), &then),
    ] {
        let list = api.ok(Method::GET, &format!("{by_name}{query}"), None).await;
        assert_eq!(items(&list), [expected.as_str()], "{query}");
        assert!(!rv(&list).is_empty());
    }
    assert_eq!(api.get(&format!("{by_name}&resourceVersion={}", i64::MAX)).await.0, 504);
    for uri in [
        "/api/v1/namespaces/default/events?fieldSelector=metadata.name%3Dnone".to_owned(),
        format!("{by_name},metadata.name!%3Dfoo"),
        format!("{by_name},metadata.name!%3Dfoo&resourceVersion={}", rv(&stored)),
    ] {
        assert_eq!(items(&api.ok(Method::GET, &uri, None).await), Vec::<String>::new(), "{uri}");
    }
}

/// Keys that begin with one another are not taken for one another.
async fn get_list_recursive_prefix(api: Api) {
    api.namespaces(&["test-ns", "test-ns2"]).await;
    let first = place(&api.create("test-ns", "foo").await);
    let longer = place(&api.create("test-ns", "foobar").await);
    let other = api.create("test-ns2", "baz").await;
    let (last, other) = (rv(&other), place(&other));
    let exact = format!("resourceVersion={last}&resourceVersionMatch=Exact");
    for versions in ["", &exact, "resourceVersion=0&resourceVersionMatch=NotOlderThan"] {
        for (path, expected) in [
            ("events?", vec![&first, &longer, &other]),
            ("namespaces/test-ns/events?", vec![&first, &longer]),
            ("namespaces/test-ns2/events?", vec![&other]),
            ("namespaces/test/events?", vec![]),
            ("namespaces/test-ns/events?fieldSelector=metadata.name%3Dfoo&", vec![&first]),
            ("namespaces/test-ns/events?fieldSelector=metadata.name%3Dfoobar&", vec![&longer]),
            ("namespaces/test-ns/events?fieldSelector=metadata.name%3Dfo&", vec![]),
            ("events?fieldSelector=metadata.name%3Dfoo&", vec![&first]),
        ] {
            let list = api.ok(Method::GET, &format!("/api/v1/{path}{versions}"), None).await;
            assert_eq!(items(&list).iter().collect::<Vec<_>>(), expected, "{path}{versions}");
        }
    }
}

/// A list says of which version it is, so that the same list can be had again, whatever was written since.
async fn list_resource_version_match(api: Api) {
    for n in 0..5 {
        api.create_on("default", &format!("e-{n}"), if n % 2 == 0 { "even" } else { "odd" }).await;
    }
    let list = |query: String| {
        let uri = format!("{EVENTS}?fieldSelector=reason%3Deven&limit=4{query}");
        let api = &api;
        async move { api.ok(Method::GET, &uri, None).await }
    };
    let first = list(String::new()).await;
    api.create_on("default", "e-6", "even").await;
    let again = list(format!("&resourceVersion={}&resourceVersionMatch=Exact", rv(&first))).await;
    assert_eq!(first, again);
    let newer = list(format!("&resourceVersion={}&resourceVersionMatch=NotOlderThan", rv(&first))).await;
    api.delete("default", "e-0").await;
    let again = list(format!("&resourceVersion={}&resourceVersionMatch=Exact", rv(&newer))).await;
    assert_eq!((newer.clone(), items(&newer).len()), (again, 4));
}

/// (namespace asked for, field selector, objects as namespace/name/node, what is found), each in namespaces of its own.
type Case = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);
const NAMESPACED: [Case; 18] = [
    ("", "", &["ns1/foo1/", "ns2/foo2/"], &["ns1/foo1", "ns2/foo2"]),
    ("", "metadata.namespace=@ns1", &["ns1/foo1/", "ns2/foo1/"], &["ns1/foo1"]),
    ("", "reason=bar1", &["ns1/foo1/bar1", "ns2/foo2/bar2"], &["ns1/foo1"]),
    ("", "reason!=bar1", &["ns1/foo1/bar1", "ns2/foo2/bar2"], &["ns2/foo2"]),
    ("ns1", "", &["ns1/foo1/", "ns2/foo1/", "ns1/foo2/"], &["ns1/foo1", "ns1/foo2"]),
    ("ns1", "metadata.namespace=@ns1", &["ns1/foo1/", "ns2/foo1/"], &["ns1/foo1"]),
    ("ns1", "metadata.namespace=@ns2", &["ns1/foo1/", "ns2/foo1/", "ns1/foo2/", "ns2/foo2/"], &[]),
    ("ns1", "reason=bar2", &["ns1/foo1/bar1", "ns2/foo1/bar2", "ns1/foo2/bar2"], &["ns1/foo2"]),
    (
        "ns2",
        "reason!=bar1",
        &["ns1/foo1/", "ns2/foo1/", "ns2/foo3/bar1", "ns2/foo2/bar2"],
        &["ns2/foo1", "ns2/foo2"],
    ),
    ("", "metadata.name=foo1", &["ns1/foo1/", "ns2/foo1/", "ns1/foo2/"], &["ns1/foo1", "ns2/foo1"]),
    (
        "",
        "metadata.name=foo1,metadata.namespace=@ns1",
        &["ns1/foo1/", "ns1/foo2/", "ns2/foo1/"],
        &["ns1/foo1"],
    ),
    ("", "metadata.name=foo1,reason=bar1", &["ns1/foo1/bar1"], &["ns1/foo1"]),
    (
        "",
        "reason!=bar1,metadata.name=foo1",
        &["ns1/foo1/", "ns1/foo2/", "ns2/foo1/bar1", "ns2/foo2/bar1", "ns3/foo1/bar2", "ns3/foo2/bar2"],
        &["ns1/foo1", "ns3/foo1"],
    ),
    ("ns1", "metadata.name=foo1", &["ns1/foo1/", "ns1/foo2/", "ns2/foo1/", "ns2/foo2/"], &["ns1/foo1"]),
    (
        "ns1",
        "metadata.name=foo1,metadata.namespace=@ns1",
        &["ns1/foo1/", "ns1/foo2/", "ns2/foo1/", "ns2/foo2/"],
        &["ns1/foo1"],
    ),
    (
        "ns2",
        "metadata.name=foo2,metadata.namespace=@ns2,reason=bar1",
        &["ns1/foo1/", "ns1/foo2/", "ns2/foo1/", "ns2/foo2/bar1", "ns3/foo1/bar1", "ns3/foo2/bar1"],
        &["ns2/foo2"],
    ),
    (
        "ns2",
        "reason!=bar2,metadata.name=foo1,metadata.namespace=@ns2",
        &["ns1/foo1/", "ns1/foo2/", "ns2/foo1/bar1", "ns2/foo2/bar2", "ns3/foo1/bar2"],
        &["ns2/foo1"],
    ),
    ("ns1", "reason=", &["ns1/foo1/", "ns1/foo2/bar1"], &["ns1/foo1"]),
];

async fn namespace_scoped_list(api: Api) {
    for (n, (namespace, selector, objects, expected)) in NAMESPACED.into_iter().enumerate() {
        let own = format!("t{n}-");
        // A list of all namespaces would find what other cases have left.
        let before = api.ok(Method::GET, EVENTS, None).await;
        for left in before["items"].as_array().unwrap() {
            api.delete(text(&left["metadata"]["namespace"]), text(&left["metadata"]["name"])).await;
        }
        for object in objects {
            let mut parts = object.split('/');
            let [space, name, node] = [(); 3].map(|()| parts.next().unwrap());
            let space = format!("{own}{space}");
            api.namespaces(&[&space]).await;
            api.create_on(&space, name, node).await;
        }
        let within =
            if namespace.is_empty() { String::new() } else { format!("namespaces/{own}{namespace}/") };
        let selector = selector.replace('@', &own).replace('=', "%3D");
        let uri = format!("/api/v1/{within}events?fieldSelector={selector}");
        let found = items(&api.ok(Method::GET, &uri, None).await);
        let found: Vec<&str> = found.iter().map(|f| f.split('@').next().unwrap()).collect();
        let expected: Vec<String> = expected.iter().map(|e| format!("{own}{e}")).collect();
        assert_eq!(found, expected, "case {n}: {uri}");
    }
}

/// How many objects a resource has does not count those of one whose name begins with its name.
async fn stats(api: Api) {
    for n in 0..5 {
        let endpoints = json!({"metadata": {"name": format!("a-{n}")}});
        api.ok(Method::POST, "/api/v1/namespaces/default/endpoints", Some(&endpoints)).await;
        let slice = json!({"metadata": {"name": format!("b-{n}")}, "addressType": "IPv4", "endpoints": []});
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        api.ok(Method::POST, slices, Some(&slice)).await;
    }
    let list = api.ok(Method::GET, "/api/v1/namespaces/default/endpoints?limit=1", None).await;
    let all = api.ok(Method::GET, "/api/v1/namespaces/default/endpoints", None).await;
    let remaining = list["metadata"]["remainingItemCount"].as_u64().unwrap() as usize;
    assert_eq!(remaining + 1, items(&all).len());
    let store = api.server.store().snapshot();
    let count = |name: &str| store.count(&format!("/registry/{name}/default/"), None);
    assert!(items(&all).len() == 5 && count("endpointslices") == 5);
}

async fn compact_revision(api: Api) {
    let made = api.create("default", "foo").await;
    let old = format!("resourceVersion={}&resourceVersionMatch=Exact", rv(&made));
    assert_eq!(api.get(&format!("{EVENTS}?{old}")).await.0, 200);
    api.compact().await;
    api.compact().await;
    let oldest = api.server.store().oldest();
    assert!(oldest > number(&rv(&made)));
    let (code, status) = api.get(&format!("{EVENTS}?{old}")).await;
    assert_eq!((code, text(&status["reason"])), (410, "Expired"));
    let mut watch = api.watch(&format!("{EVENTS}?watch=true&resourceVersion={}", rv(&made))).await;
    let refused = watch.next().await.unwrap();
    assert_eq!((&refused["type"], &refused["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert!(watch.next().await.is_none(), "the watch ends");
    // What was compacted up to is itself kept.
    let kept = format!("{EVENTS}?resourceVersion={oldest}&resourceVersionMatch=Exact");
    assert_eq!(items(&api.ok(Method::GET, &kept, None).await).len(), 1);
    api.watch(&format!("{EVENTS}?watch=true&resourceVersion={oldest}")).await.silent().await;
}

/// A continue token, as the reference writes it.
pub(crate) fn continuing(start: &str, version: i64) -> String {
    use base64::Engine;
    let start = start.replace('\0', "\\u0000");
    let token = format!(r#"{{"v":"meta.k8s.io/v1","rv":{version},"start":"{start}"}}"#);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token)
}
