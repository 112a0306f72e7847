//! Lists in pages, and the table of list cases.

use super::lists::continuing;
use super::*;

on_every_log! { BEHAVIOURS:
    list
    list_continuation
    list_continuation_with_filter
    list_pagination_rare_object
    list_inconsistent_continuation
    list_paging
}

async fn list(api: Api) {
    table::run(&api).await;
}

async fn page(api: &Api, query: &str) -> (Vec<String>, String, Value) {
    let list = api.ok(Method::GET, &format!("{EVENTS}?{query}"), None).await;
    (items(&list), text(&list["metadata"]["continue"]).to_owned(), list)
}

async fn three(api: &Api) -> Vec<String> {
    api.namespaces(&["first", "second"]).await;
    let mut made = Vec::new();
    for (namespace, name) in [("first", "bar"), ("second", "bar"), ("second", "foo")] {
        made.push(place(&api.create(namespace, name).await));
    }
    made
}

async fn list_continuation(api: Api) {
    let made = three(&api).await;
    let (found, second, list) = page(&api, "limit=1").await;
    let present = rv(&list);
    assert_eq!(
        (found, second.as_str()),
        (vec![made[0].clone()], &*continuing("first/bar\0", present.parse().unwrap()))
    );
    let (found, end, list) = page(&api, &format!("continue={second}")).await;
    assert_eq!((found, end, rv(&list)), (made[1..].to_vec(), String::new(), present.clone()));
    let (found, third, list) = page(&api, &format!("limit=1&continue={second}")).await;
    assert_eq!((found, rv(&list)), (vec![made[1].clone()], present.clone()));
    let (found, end, list) = page(&api, &format!("limit=1&continue={third}")).await;
    assert_eq!((found, end, rv(&list)), (vec![made[2].clone()], String::new(), present));
}

async fn list_continuation_with_filter(api: Api) {
    api.namespaces(&["n1", "n2", "n3", "n4"]).await;
    let mut made = Vec::new();
    for (namespace, name) in [("n1", "foo"), ("n2", "bar"), ("n3", "foo"), ("n4", "foo")] {
        made.push(place(&api.create(namespace, name).await));
    }
    let filter = "fieldSelector=metadata.name!%3Dbar&limit=2";
    let (found, next, list) = page(&api, filter).await;
    assert_eq!(found, [made[0].clone(), made[2].clone()]);
    assert!(!next.is_empty() && list["metadata"].get("remainingItemCount").is_none());
    let (found, end, last) = page(&api, &format!("{filter}&continue={next}")).await;
    assert_eq!((found, end, rv(&last)), (vec![made[3].clone()], String::new(), rv(&list)));
}

/// One object of many that the selector takes, in one page.
async fn list_pagination_rare_object(api: Api) {
    const OBJECTS: usize = 1_000;
    let api = Arc::new(api);
    let writers = (0..20).map(|w| {
        let api = api.clone();
        tokio::spawn(async move {
            for n in (0..OBJECTS).filter(|n| n % 20 == w) {
                api.create_on("default", &format!("pod-{n}"), if n == OBJECTS - 1 { "rare" } else { "" })
                    .await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for selector in ["metadata.name%3Dpod-999", "reason%3Drare"] {
        let (found, next, _) = page(&api, &format!("fieldSelector={selector}&limit=1")).await;
        assert!(
            found.len() == 1 && found[0].starts_with("default/pod-999@") && next.is_empty(),
            "{selector}"
        );
    }
}

/// A token whose version is gone brings another, with which the rest can be had as it is now.
async fn list_inconsistent_continuation(api: Api) {
    let made = three(&api).await;
    let (found, second, _) = page(&api, "limit=1&resourceVersion=0").await;
    assert_eq!(found, [made[0].clone()]);
    let updated = api.put("second", "foo", &event("second", "foo", "new")).await;
    api.compact().await;
    api.compact().await;
    let (code, status) = api.get(&format!("{EVENTS}?resourceVersion=0&continue={second}")).await;
    assert_eq!((code, text(&status["reason"])), (410, "Expired"));
    assert!(text(&status["message"]).starts_with("The provided continue parameter is too old "));
    let rest = text(&status["metadata"]["continue"]).to_owned();
    assert_eq!(rest, continuing("first/bar\0", -1));
    let (found, third, list) = page(&api, &format!("resourceVersion=0&limit=1&continue={rest}")).await;
    assert_eq!(found, [made[1].clone()]);
    assert!(number(&rv(&list)) >= number(&rv(&updated)));
    let (found, end, last) = page(&api, &format!("resourceVersion=0&limit=1&continue={third}")).await;
    assert_eq!((found, end, rv(&last)), (vec![place(&updated)], String::new(), rv(&list)));
}

/// What is created while pages are read is on none of them.
async fn list_paging(api: Api) {
    for n in 0..4 {
        api.create("default", &format!("test-{n}")).await;
    }
    let (mut names, mut calls, mut query) = (Vec::new(), 0, String::new());
    loop {
        calls += 1;
        let (found, next, _) = page(&api, &format!("limit=1{query}")).await;
        names.extend(found.iter().map(|f| f.split('@').next().unwrap().to_owned()));
        if next.is_empty() {
            break;
        }
        if calls == 2 {
            api.create("default", "test-5").await;
        }
        query = format!("&continue={next}");
    }
    assert_eq!(calls, 4);
    assert_eq!(names, ["default/test-0", "default/test-1", "default/test-2", "default/test-3"]);
}
