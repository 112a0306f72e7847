//! Request lines: what is authorised is what is served, however it is spelled.

#![no_main]

use std::sync::Arc;

use coracle_api::path::{Query, RequestInfo};
use coracle_api::selector::FieldSelector;
use coracle_api::user::User;
use coracle_auth::Attributes;
use coracle_fuzz::{parts, stretched, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let [method, path, query] = parts(&data).map(text);
    let (Some(method), Some(path), Some(query)) = (method, path, query) else { return };
    let pairs = Query::parse(query);
    assert_eq!(Query::parse(&spelled(&pairs)), pairs);
    let Ok(info) = RequestInfo::parse(method, path, query) else { return };
    let wish = Attributes::of_request(Arc::new(User::default()), &info);
    let Some(target) = wish.as_resource() else {
        assert!(!info.is_resource && info.resource.is_empty() && info.name.is_empty());
        return;
    };
    let authorised = [&wish.verb, &target.group, &target.version, &target.namespace, &target.resource];
    assert_eq!(authorised, [&info.verb, &info.group, &info.version, &info.namespace, &info.resource]);
    assert_eq!([&target.subresource, &target.name], [&info.subresource, &info.name]);
    assert!(info.parts.iter().all(|part| !part.contains('/')));
    selected_name_is_the_selectors(&info);
    if let Some(path) = plainly(&info) {
        let again = RequestInfo::parse(method, &path, query).expect("a path as it should be");
        let address =
            |i: &RequestInfo| [i.verb.clone(), i.group.clone(), i.version.clone(), i.namespace.clone()];
        assert_eq!(address(&again), address(&info), "{path}");
        assert_eq!(
            (&again.parts, &again.name, &again.subresource),
            (&info.parts, &info.name, &info.subresource)
        );
    }
});

/// A name that a collection's selector demands is authorised as a name: the selector must let no other object through.
fn selected_name_is_the_selectors(info: &RequestInfo) {
    let is_selected = info.parts.get(1).is_none_or(String::is_empty) && !info.name.is_empty();
    if let (true, Ok(selector)) = (is_selected, FieldSelector::parse(&info.field_selector)) {
        let demands =
            selector.terms.iter().any(|t| t.equal && t.path == "metadata.name" && t.value == info.name);
        assert!(demands, "{} is not what {} demands", info.name, info.field_selector);
    }
}

/// The path as nobody has tampered with it; none where its first segment would be taken for something else.
fn plainly(info: &RequestInfo) -> Option<String> {
    const SPECIAL: [&str; 5] = ["watch", "proxy", "namespaces", "status", "finalize"];
    let mut path = format!("/{}/", info.api_prefix);
    if info.api_prefix == "apis" {
        path += &format!("{}/", escaped(&info.group));
    }
    path += &escaped(&info.version);
    if info.watch_path {
        path += "/watch";
    } else if info.verb == "proxy" {
        path += "/proxy";
    }
    let is_namespace = info.parts.first().is_some_and(|p| p == "namespaces")
        && info.parts.get(1).map_or("", String::as_str) == info.namespace;
    if !info.namespace.is_empty() && !is_namespace {
        path += &format!("/namespaces/{}", escaped(&info.namespace));
    }
    let is_odd = SPECIAL.contains(&info.resource.as_str()) && !is_namespace;
    let parts: Vec<String> = info.parts.iter().map(|part| escaped(part)).collect();
    (!is_odd).then(|| path + "/" + &parts.join("/"))
}

fn spelled(query: &Query) -> String {
    let pairs: Vec<String> = query.0.iter().map(|(k, v)| format!("{}={}", escaped(k), escaped(v))).collect();
    pairs.join("&")
}

fn escaped(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}
