//! The rules of apiregistration.k8s.io: APIServices.

use serde_json::{Value, json};

use super::core::pod::defaults::{child, set_pointer};
use crate::at::At;
use crate::catalog::Catalog;
use crate::field::Errors;
use crate::names;
use crate::object::{self, at, map_at_mut, map_mut};
use crate::rules::{Cx, Rules, facts};

#[derive(Debug)]
pub struct ApiService;

/// The highest priorities of a group and of a version.
const GROUP_PRIORITY_MAX: i64 = 20_000;
const VERSION_PRIORITY_MAX: i64 = 1_000;

impl Rules for ApiService {
    fn default(&self, obj: &mut Value) {
        if let Some(service) = child(map_at_mut(obj, &["spec"]), "service") {
            set_pointer(service, "port", 443);
        }
    }

    fn prepare_create(&self, cx: &Cx, obj: &mut Value) {
        map_mut(obj).insert("status".into(), json!({}));
        if at(obj, &["spec", "service"]).is_null() {
            obj["status"]["conditions"] = json!([{
                "type": "Available", "status": "True", "lastTransitionTime": cx.now,
                "reason": "Local", "message": "Local APIServices are always available",
            }]);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let root = At::root(obj);
        let spec = root.get("spec");
        let (group, version) = (spec.get("group"), spec.get("version"));
        let wanted = format!("{}.{}", version.text(), group.text());
        if object::name(obj) != wanted {
            let words = "must be `spec.version+\".\"+spec.group`: ".to_owned() + &format!("{wanted:?}");
            errs.bad_text(&root.get("metadata").get("name"), words);
        }
        if !group.is_empty() {
            for words in names::dns1123_subdomain(group.text()) {
                errs.bad_text(&group, words);
            }
        }
        if version.is_empty() {
            errs.required(&version.path, "");
        } else {
            errs.bad_texts(&version, names::dns1035_label(version.text()));
        }
        let bounded = |key: &str, max: i64, errs: &mut Errors| {
            let number = spec.get(key);
            if number.int() <= 0 || number.int() > max {
                errs.bad_int(&number, format!("must be positive and less than {max}"));
            }
        };
        bounded("groupPriorityMinimum", GROUP_PRIORITY_MAX, errs);
        bounded("versionPriority", VERSION_PRIORITY_MAX, errs);
        service(&spec, errs);
    }

    facts!(uncounted, conditional, any_name);
}

/// An API is served by a Service, or by this server itself.
fn service(spec: &At<'_>, errs: &mut Errors) {
    let (service, bundle) = (spec.get("service"), spec.get("caBundle"));
    let insecure = spec.get("insecureSkipTLSVerify");
    if !service.is_set() {
        if !bundle.is_empty() {
            errs.bad(&bundle, "local APIServices may not have a caBundle");
        }
        if insecure.is_true() {
            errs.bad(&insecure, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    for key in ["namespace", "name"] {
        if service.peek_text(key).is_empty() {
            errs.required(&service.get(key).path, "");
        }
    }
    let port = service.get("port");
    errs.bad_ints(&port, names::port_number(port.int()));
    if insecure.is_true() && !bundle.is_empty() {
        errs.bad(&insecure, "may not be true if caBundle is present");
    }
}

/// Who keeps an APIService in step, and when.
pub const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// How the reference orders the groups that it has itself, and the versions in each: no order of its own has the group of
/// APIServices, which is there before any of them.
const PRIORITIES: &[(&str, &str, i64, i64)] = &[
    ("", "v1", 18_000, 1),
    ("apps", "v1", 17_800, 15),
    ("events.k8s.io", "v1", 17_750, 15),
    ("authentication.k8s.io", "v1", 17_700, 15),
    ("authorization.k8s.io", "v1", 17_600, 15),
    ("autoscaling", "v1", 17_500, 15),
    ("autoscaling", "v2", 17_500, 30),
    ("batch", "v1", 17_400, 15),
    ("certificates.k8s.io", "v1", 17_300, 15),
    ("networking.k8s.io", "v1", 17_200, 15),
    ("policy", "v1", 17_100, 15),
    ("rbac.authorization.k8s.io", "v1", 17_000, 15),
    ("storage.k8s.io", "v1", 16_800, 15),
    ("admissionregistration.k8s.io", "v1", 16_700, 15),
    ("apiextensions.k8s.io", "v1", 16_700, 15),
    ("scheduling.k8s.io", "v1", 16_600, 15),
    ("coordination.k8s.io", "v1", 16_500, 15),
    ("node.k8s.io", "v1", 16_300, 15),
    ("discovery.k8s.io", "v1", 16_200, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16_100, 21),
    ("resource.k8s.io", "v1", 15_900, 15),
];
/// Behind all of these: what was defined at run time, in the order of its version's name.
const CUSTOM: (i64, i64) = (1_000, 100);

/// The APIServices of what a catalog serves. Built-in ones are looked after when a server starts, those of custom
/// resources always.
pub fn served(catalog: &Catalog) -> Vec<Value> {
    let builtin = Catalog::builtin();
    let versions = catalog.groups().iter().flat_map(|g| g.versions.iter().map(move |v| (&*g.name, &**v)));
    versions
        .filter_map(|(group, version)| {
            let listed = PRIORITIES.iter().find(|(g, v, ..)| (*g, *v) == (group, version));
            let is_builtin = builtin.has_version(group, version);
            let (priorities, managed) = match listed {
                Some((.., of_group, of_version)) => ((*of_group, *of_version), "onstart"),
                None if is_builtin => return None,
                None => (CUSTOM, "true"),
            };
            Some(api_service(group, version, priorities, managed))
        })
        .collect()
}

fn api_service(group: &str, version: &str, (of_group, of_version): (i64, i64), managed: &str) -> Value {
    let mut spec =
        json!({"groupPriorityMinimum": of_group, "version": version, "versionPriority": of_version});
    if !group.is_empty() {
        spec["group"] = json!(group);
    }
    json!({
        "kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {"name": format!("{version}.{group}"), "labels": {AUTOMANAGED: managed}}, "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KINDS;

    #[test]
    fn everything_served_has_an_api_service_but_their_own_group() {
        let names = |catalog: &Catalog| -> Vec<String> {
            served(catalog).iter().map(|s| object::name(s).to_owned()).collect()
        };
        let builtin = Catalog::builtin();
        let found = names(&builtin);
        assert_eq!(
            found.len(),
            PRIORITIES.len(),
            "a version that is served has no priority, or the other way round"
        );
        assert!(found.iter().any(|n| n == "v1.") && found.iter().any(|n| n == "v2.autoscaling"));
        assert!(!found.iter().any(|n| n.ends_with("apiregistration.k8s.io")));
        let mut custom = KINDS[2].clone();
        (custom.group, custom.version) = ("stable.example.com".into(), "v1beta1".into());
        let last = served(&Catalog::with_custom(vec![std::sync::Arc::new(custom)])).pop().unwrap();
        assert_eq!(
            (object::name(&last), &last["spec"], &last["metadata"]["labels"][AUTOMANAGED]),
            (
                "v1beta1.stable.example.com",
                &json!({"group": "stable.example.com", "groupPriorityMinimum": 1000, "version": "v1beta1",
                    "versionPriority": 100}),
                &json!("true")
            )
        );
        for service in served(&builtin) {
            let mut errs = Errors::default();
            ApiService.validate(&service, &mut errs);
            assert!(errs.is_empty(), "{}: {errs:?}", object::name(&service));
        }
    }
}
