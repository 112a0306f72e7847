//! Creating, reading, changing and deleting one object, alone and against others.

use super::*;

on_every_log! { BEHAVIOURS:
    create
    create_with_ttl
    create_with_key_exist
    get
    unconditional_delete
    conditional_delete
    delete_with_suggestion
    delete_with_suggestion_and_conflict
    delete_with_suggestion_of_deleted_object
    delete_with_conflict
    validate_deletion_with_suggestion
    validate_deletion_with_only_suggestion_valid
    preconditional_delete_with_suggestion
    preconditional_delete_with_only_suggestion_pass
    guaranteed_update
    guaranteed_update_with_ttl
    guaranteed_update_checks_stored_data
    guaranteed_update_with_conflict
    guaranteed_update_with_suggestion_and_conflict
    transformation_failure
    key_schema
}

const FOO: &str = "/api/v1/namespaces/default/events/foo";

async fn create(api: Api) {
    assert_eq!(api.get(FOO).await.0, 404);
    let made = api.create("default", "foo").await;
    assert_eq!(text(&made["metadata"]["name"]), "foo");
    assert!(number(&rv(&made)) > 1);
    assert_eq!(api.get(FOO).await, (200, made));
    // A version is the store's to give.
    let mut bar = event("default", "bar", "");
    bar["metadata"]["resourceVersion"] = json!("1");
    let (code, status) = api.ask(Method::POST, "/api/v1/namespaces/default/events", Some(&bar)).await;
    assert_eq!(
        (code, text(&status["message"])),
        (500, "resourceVersion should not be set on objects to be created")
    );
    assert_eq!(api.get(&one("default", "bar")).await.0, 404);
}

/// An Event lives an hour, and its watchers are told of its end.
async fn create_with_ttl(api: Api) {
    let made = api.create("default", "foo").await;
    let mut watch = long_watch(&api, &made).await;
    expires(&api, &mut watch, "foo").await;
}

/// A watch that outlives what it watches.
async fn long_watch(api: &Api, since: &Value) -> Feed {
    api.watch(&format!("{EVENTS}?watch=true&timeoutSeconds=100000&resourceVersion={}", rv(since))).await
}

async fn expires(api: &Api, watch: &mut Feed, name: &str) {
    watch.silent().await;
    api.clock.advance(Duration::from_secs(3590));
    watch.silent().await;
    assert_eq!(api.get(&one("default", name)).await.0, 200);
    api.clock.advance(Duration::from_secs(20));
    assert!(watch.events(1).await[0].starts_with(&format!("DELETED {name}@")));
    assert_eq!(api.get(&one("default", name)).await.0, 404);
}

async fn create_with_key_exist(api: Api) {
    let made = api.create("default", "foo").await;
    let again = event("default", "foo", "other");
    let (code, status) = api.ask(Method::POST, "/api/v1/namespaces/default/events", Some(&again)).await;
    assert_eq!((code, text(&status["reason"])), (409, "AlreadyExists"));
    assert_eq!(api.get(FOO).await, (200, made));
}

async fn get(api: Api) {
    let created = api.create("default", "foo").await;
    let stored = api.put("default", "foo", &event("default", "foo", "n")).await;
    let last = api.create("default", "bar").await;
    let at = |version: &str| format!("{FOO}?resourceVersion={version}");
    for uri in [FOO.to_owned(), at("0"), at(&rv(&created)), at(&rv(&stored)), at(&rv(&last))] {
        // Nothing here is ever behind, so that any state may be, and is, the present one.
        assert_eq!(api.get(&uri).await, (200, stored.clone()), "{uri}");
    }
    let (code, status) = api.get(&at(&i64::MAX.to_string())).await;
    assert_eq!((code, text(&status["details"]["causes"][0]["reason"])), (504, "ResourceVersionTooLarge"));
    assert_eq!(api.get(&one("default", "none")).await.0, 404);
    assert_eq!(api.get(&format!("{}?resourceVersion=0", one("default", "none"))).await.0, 404);
}

async fn unconditional_delete(api: Api) {
    let made = api.create("default", "foo").await;
    let mut watch = api.watch(&format!("{EVENTS}?watch=true&resourceVersion={}", rv(&made))).await;
    assert_eq!(api.ask(Method::DELETE, FOO, None).await.0, 200);
    let gone = watch.next().await.unwrap();
    assert!(number(&rv(&gone["object"])) > number(&rv(&made)));
    let mut last = gone["object"].clone();
    last["metadata"]["resourceVersion"] = json!(rv(&made));
    assert_eq!(last, made, "the last state is told, at the deletion's version");
    assert_eq!(api.ask(Method::DELETE, FOO, None).await.0, 404);
}

fn if_uid(uid: &Value) -> Value {
    json!({"preconditions": {"uid": uid}})
}

fn if_version(object: &Value) -> Value {
    json!({"preconditions": {"resourceVersion": rv(object)}})
}

async fn conditional_delete(api: Api) {
    let made = api.create("default", "foo").await;
    let (code, status) = api.ask(Method::DELETE, FOO, Some(&if_uid(&json!("B")))).await;
    assert_eq!((code, text(&status["reason"])), (409, "Conflict"));
    assert_eq!(api.get(FOO).await, (200, made.clone()));
    assert_eq!(api.ask(Method::DELETE, FOO, Some(&if_uid(&made["metadata"]["uid"]))).await.0, 200);
    assert_eq!(api.get(FOO).await.0, 404);
}

/// The client knows the object as it is.
async fn delete_with_suggestion(api: Api) {
    let made = api.create("default", "foo").await;
    assert_eq!(api.ask(Method::DELETE, FOO, Some(&if_version(&made))).await.0, 200);
    assert_eq!(api.get(FOO).await.0, 404);
}

/// What the client knows is old, but it lays down no condition.
async fn delete_with_suggestion_and_conflict(api: Api) {
    let made = api.create("default", "foo").await;
    let updated = api.put("default", "foo", &event("default", "foo", "n")).await;
    let mut watch = api.watch(&format!("{EVENTS}?watch=true&resourceVersion={}", rv(&updated))).await;
    assert_eq!(api.ask(Method::DELETE, FOO, Some(&if_uid(&made["metadata"]["uid"]))).await.0, 200);
    assert_eq!(api.get(FOO).await.0, 404);
    assert_eq!(
        watch.next().await.unwrap()["object"]["reason"],
        "n",
        "the state that was deleted is the newest"
    );
}

async fn delete_with_suggestion_of_deleted_object(api: Api) {
    let made = api.create("default", "foo").await;
    api.delete("default", "foo").await;
    for condition in [if_version(&made), if_uid(&made["metadata"]["uid"])] {
        assert_eq!(api.ask(Method::DELETE, FOO, Some(&condition)).await.0, 404);
    }
}

/// Updates come in the middle of deletions; the deletion is tried again, and deletes.
async fn delete_with_conflict(api: Api) {
    let api = Arc::new(api);
    for round in 0..5 {
        api.create("default", "foo").await;
        let updates = (0..4).map(|w| {
            let api = api.clone();
            tokio::spawn(async move {
                let mut done = 0;
                for n in 0.. {
                    let patch = json!({"message": format!("{round}-{w}-{n}")});
                    match api.ask(Method::PATCH, FOO, Some(&patch)).await {
                        (200, _) => done += 1,
                        // A patch that has lost to others five times is told so, as by the reference.
                        (409, _) => {}
                        (404, _) => break,
                        other => panic!("{other:?}"),
                    }
                }
                done
            })
        });
        let updates: Vec<_> = updates.collect();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert_eq!(api.ask(Method::DELETE, FOO, None).await.0, 200);
        for update in updates {
            update.await.unwrap();
        }
        assert_eq!(api.get(FOO).await.0, 404);
    }
}

async fn validate_deletion_with_suggestion(api: Api) {
    let made = api.create("default", "foo").await;
    let updated = api.put("default", "foo", &event("default", "foo", "n")).await;
    assert_eq!(api.ask(Method::DELETE, FOO, Some(&if_version(&made))).await.0, 409);
    assert_eq!(api.ask(Method::DELETE, FOO, Some(&if_version(&updated))).await.0, 200);
    assert_eq!(api.get(FOO).await.0, 404);
}

/// Valid for what the client knew and not for what is there.
async fn validate_deletion_with_only_suggestion_valid(api: Api) {
    let made = api.create("default", "foo").await;
    let updated = api.put("default", "foo", &event("default", "foo", "n")).await;
    let (code, status) = api.ask(Method::DELETE, FOO, Some(&if_version(&made))).await;
    assert_eq!((code, text(&status["reason"])), (409, "Conflict"));
    assert!(text(&status["message"]).contains(&rv(&updated)), "{status}");
    assert_eq!(api.get(FOO).await, (200, updated));
}

async fn preconditional_delete_with_suggestion(api: Api) {
    api.create("default", "foo").await;
    api.delete("default", "foo").await;
    let again = api.create("default", "foo").await;
    assert_eq!(api.ask(Method::DELETE, FOO, Some(&if_uid(&again["metadata"]["uid"]))).await.0, 200);
    assert_eq!(api.get(FOO).await.0, 404);
}

/// An object of the same name took the place of the one the client knows.
async fn preconditional_delete_with_only_suggestion_pass(api: Api) {
    let made = api.create("default", "foo").await;
    api.delete("default", "foo").await;
    let again = api.create("default", "foo").await;
    let (code, status) = api.ask(Method::DELETE, FOO, Some(&if_uid(&made["metadata"]["uid"]))).await;
    assert_eq!((code, text(&status["reason"])), (409, "Conflict"));
    assert_eq!(api.get(FOO).await, (200, again));
}

async fn guaranteed_update(api: Api) {
    let map = json!({"metadata": {"name": "none"}});
    let uri = "/api/v1/namespaces/default/configmaps/none";
    assert_eq!(api.ask(Method::PUT, uri, Some(&map)).await.0, 404, "no update of what is not there");
    let (code, made) = api.ask(Method::PUT, FOO, Some(&event("default", "foo", ""))).await;
    assert_eq!(code, 201, "an Event is made by its update");
    let changed = api.put("default", "foo", &event("default", "foo", "n")).await;
    assert!(number(&rv(&changed)) > number(&rv(&made)));
    assert_eq!(api.put("default", "foo", &changed).await, changed, "the same again is no new version");
    let mut linked = changed.clone();
    linked["metadata"]["selfLink"] = json!("/somewhere");
    assert_eq!(api.put("default", "foo", &linked).await, changed, "a selfLink is no change");
    let mut uid = event("default", "foo", "n");
    uid["metadata"]["uid"] = changed["metadata"]["uid"].clone();
    assert_eq!(api.put("default", "foo", &uid).await, changed);
    uid["metadata"]["uid"] = json!("B");
    let (code, status) = api.ask(Method::PUT, FOO, Some(&uid)).await;
    assert_eq!((code, text(&status["reason"])), (409, "Conflict"));
    assert_eq!(api.get(FOO).await, (200, changed));
}

/// Each update gives another hour.
async fn guaranteed_update_with_ttl(api: Api) {
    api.create("default", "foo").await;
    api.clock.advance(Duration::from_secs(3000));
    let updated = api.put("default", "foo", &event("default", "foo", "n")).await;
    let mut watch = long_watch(&api, &updated).await;
    expires(&api, &mut watch, "foo").await;
}

/// Whether an update changes anything is seen by what is stored, not by what its client knows.
async fn guaranteed_update_checks_stored_data(api: Api) {
    let made = api.create_on("default", "foo", "a").await;
    let other = api.put("default", "foo", &event("default", "foo", "b")).await;
    assert_eq!(api.put("default", "foo", &event("default", "foo", "b")).await, other, "stored already");
    let back = api.put("default", "foo", &event("default", "foo", "a")).await;
    assert!(number(&rv(&back)) > number(&rv(&other)), "what the client had before is a change");
    assert_eq!((&back["reason"], &back["metadata"]["uid"]), (&made["reason"], &made["metadata"]["uid"]));
}

async fn guaranteed_update_with_conflict(api: Api) {
    let api = Arc::new(api);
    api.create("default", "foo").await;
    let patches: Vec<_> = (0..16)
        .map(|n| {
            let api = api.clone();
            let patch = json!({"metadata": {"labels": {format!("l{n}"): "x"}}});
            tokio::spawn(async move { api.ask(Method::PATCH, FOO, Some(&patch)).await.0 })
        })
        .collect();
    for patch in patches {
        assert_eq!(patch.await.unwrap(), 200);
    }
    let (_, all) = api.get(FOO).await;
    assert_eq!(all["metadata"]["labels"].as_object().unwrap().len(), 16, "no patch undid another");
}

async fn guaranteed_update_with_suggestion_and_conflict(api: Api) {
    let made = api.create("default", "foo").await;
    api.put("default", "foo", &event("default", "foo", "n")).await;
    // With the version it knew, the client is told that it is old; without one, the change is made on what is there.
    let mut stale = made.clone();
    stale["message"] = json!("stale");
    let (code, status) = api.ask(Method::PUT, FOO, Some(&stale)).await;
    assert_eq!((code, text(&status["reason"])), (409, "Conflict"));
    let patched = api.ok(Method::PATCH, FOO, Some(&json!({"message": "fresh"}))).await;
    assert_eq!((text(&patched["reason"]), text(&patched["message"])), ("n", "fresh"));
    // A refusal for another reason is not tried again into success.
    let refused = json!({"involvedObject": {"namespace": "other"}});
    assert_eq!(api.ask(Method::PATCH, FOO, Some(&refused)).await.0, 422);
    assert_eq!(api.get(FOO).await, (200, patched));
}

/// A stored object that makes no sense: whatever has to read it fails and says so, and nothing is lost by that.
/// A plain read sends the stored bytes and reads nothing.
async fn transformation_failure(api: Api) {
    let good = api.create("default", "foo").await;
    api.break_object("default", "bad").await;
    let bad = one("default", "bad");
    for (method, body) in [
        (Method::PUT, Some(event("default", "bad", ""))),
        (Method::PATCH, Some(json!({"message": "m"}))),
        (Method::DELETE, None),
    ] {
        let (code, status) = api.ask(method.clone(), &bad, body.as_ref()).await;
        assert_eq!((code, text(&status["reason"])), (500, "InternalError"), "{method}: {status}");
    }
    assert!(api.server.store().snapshot().get("/registry/events/default/bad").is_some());
    assert_eq!(api.get(FOO).await, (200, good), "others are well");
}

async fn key_schema(api: Api) {
    api.namespaces(&["other"]).await;
    for (namespace, name) in [("default", "foo"), ("other", "foo"), ("other", "foo.bar")] {
        let made = api.create(namespace, name).await;
        let stored =
            api.server.store().snapshot().get(&format!("/registry/events/{namespace}/{name}")).unwrap();
        assert_eq!(
            (stored.revision.to_string(), serde_json::from_slice(&stored.json).unwrap()),
            (rv(&made), made)
        );
    }
    for name in ["..", ".", "a%2Fb", ""] {
        let put = event("default", name, "");
        let (code, _) = api.ask(Method::POST, "/api/v1/namespaces/default/events", Some(&put)).await;
        assert!((400..500).contains(&code), "{name} leads out of its folder: {code}");
    }
    assert_eq!(api.server.store().snapshot().count("/registry/events/", None), 3);
}
