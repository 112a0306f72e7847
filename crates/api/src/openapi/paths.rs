//! The paths of a document, derived from the rows of the table of kinds.

use serde_json::{Map, Value, json};

use super::operations::Operation;
use super::{Edition, OpenApi, parameters};
use crate::discovery::version_path;
use crate::kinds::{GroupVersionKind, Kind, Subresource};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Documents that belong to no group: path, operation, definition of the answer ("" for text).
pub(super) const LONE_DOCUMENTS: [(&str, &str, &str); 3] = [
    (".well-known/openid-configuration", "getServiceAccountIssuerOpenIDConfiguration", ""),
    ("openid/v1/jwks", "getServiceAccountIssuerOpenIDKeyset", ""),
    ("version", "getCodeVersion", "io.k8s.apimachinery.pkg.version.Info"),
];

/// `/api`, `/apis`, `/apis/apps` and the documents of no group: one GET each.
pub(super) fn of_discovery(edition: Edition, path: &str) -> Map<String, Value> {
    let lone = LONE_DOCUMENTS.iter().find(|(p, ..)| *p == path);
    let (id, answers) = match (lone, path) {
        (Some((_, id, answers)), _) => ((*id).to_owned(), (*answers).to_owned()),
        (None, "api") => ("getCoreAPIVersions".to_owned(), format!("{META}.APIVersions")),
        (None, "apis") => ("getAPIVersions".to_owned(), format!("{META}.APIGroupList")),
        (None, group) => {
            let group = group.trim_start_matches("apis/");
            (format!("get{}APIGroup", camel(group)), format!("{META}.APIGroup"))
        }
    };
    let operation = get_only(edition, "discovery", id, answers, "what the server serves here");
    // A folder's path ends in a slash; a document's does not.
    let path = if lone.is_some() && path != "version" { format!("/{path}") } else { format!("/{path}/") };
    Map::from_iter([(path, json!({"get": operation}))])
}

fn get_only(edition: Edition, tag: &str, id: String, answers: String, description: &str) -> Value {
    let gvk = GroupVersionKind { group: "".into(), version: "".into(), kind: "".into() };
    let description = description.to_owned();
    let mut out = Operation {
        action: "get",
        id,
        tag,
        description,
        takes: String::new(),
        answers,
        gvk,
        is_custom: false,
    }
    .write(edition);
    if let Value::Object(map) = &mut out {
        map.shift_remove("x-kubernetes-action");
        map.shift_remove("x-kubernetes-group-version-kind");
    }
    out
}

pub(super) fn of_version(
    api: &OpenApi<'_>,
    edition: Edition,
    group: &str,
    version: &str,
) -> Map<String, Value> {
    let mut out = Map::new();
    let root = version_path(group, version);
    let tag = tag(group, version);
    let id = format!("get{}{}APIResources", camel(group), capital(version));
    let resources =
        get_only(edition, &tag, id, format!("{META}.APIResourceList"), "what the server serves here");
    if !api.is_custom(group, Some(version)) {
        out.insert(format!("{root}/"), json!({"get": resources}));
    }
    for kind in api.catalog.in_version(group, version) {
        let tag = tag.as_str();
        Writer { kind: &kind, edition, root: &root, tag, out: &mut out }.write(api);
    }
    out.sort_keys();
    out
}

/// Writes the paths of one row.
struct Writer<'a> {
    kind: &'a Kind,
    edition: Edition,
    root: &'a str,
    tag: &'a str,
    out: &'a mut Map<String, Value>,
}

impl Writer<'_> {
    fn write(&mut self, api: &OpenApi<'_>) {
        let plural = &self.kind.plural;
        let scope = if self.kind.is_namespaced() { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{}{scope}/{plural}", self.root);
        let object = format!("{collection}/{{name}}");
        self.add(&collection, &[("list", "get"), ("create", "post"), ("deletecollection", "delete")]);
        self.add(&object, &[("get", "get"), ("update", "put"), ("patch", "patch"), ("delete", "delete")]);
        if self.kind.is_namespaced() {
            let everywhere = format!("{}/{plural}", self.root);
            if self.kind.allows("create") && !self.kind.allows("list") {
                self.add(&everywhere, &[("create", "post")]);
            } else {
                self.add(&everywhere, &[("list", "get")]);
            }
        }
        // The old watch paths are of built-in kinds only.
        if self.kind.allows("watch") && !self.kind.is_custom() {
            self.watch(&collection, "watchlist");
            self.watch(&object, "watch");
            if self.kind.is_namespaced() {
                self.watch(&format!("{}/{plural}", self.root), "watchlist");
            }
        }
        for &sub in self.kind.subresources.iter() {
            self.subresource(api, &object, sub);
        }
    }

    /// The operations of the verbs that the kind has.
    fn add(&mut self, path: &str, verbs: &[(&str, &str)]) {
        let mut item = Map::new();
        for (verb, method) in verbs.iter().filter(|(verb, _)| self.kind.allows(verb)) {
            item.insert((*method).to_owned(), self.operation(path, verb).write(self.edition));
        }
        self.insert(path, item);
    }

    fn insert(&mut self, path: &str, mut item: Map<String, Value>) {
        if !item.is_empty() {
            item.insert("parameters".into(), Value::Array(self.path_parameters(path)));
            self.out.insert(path.to_owned(), Value::Object(item));
        }
    }

    fn path_parameters(&self, path: &str) -> Vec<Value> {
        let mut out = Vec::new();
        if path.contains("{name}") {
            out.push(parameters::in_path(self.edition, "name", &format!("name of the {}", self.kind.kind)));
        }
        if path.contains("{namespace}") {
            out.push(parameters::in_path(self.edition, "namespace", "the namespace to look in"));
        }
        out.push(parameters::pretty(self.edition));
        out
    }

    fn operation(&self, path: &str, verb: &str) -> Operation<'_> {
        let (action, word, said) = match verb {
            "list" => ("list", "list", "list objects of kind"),
            "create" => ("post", "create", "create a"),
            "deletecollection" => ("deletecollection", "deleteCollection", "delete every"),
            "get" => ("get", "read", "read the named"),
            "update" => ("put", "replace", "replace the named"),
            "patch" => ("patch", "patch", "change parts of the named"),
            _ => ("delete", "delete", "delete the named"),
        };
        let object = self.kind.schema.to_string();
        let takes = match verb {
            "create" | "update" => object.clone(),
            "patch" => format!("{META}.Patch"),
            "delete" | "deletecollection" => format!("{META}.DeleteOptions"),
            _ => String::new(),
        };
        let answers = match verb {
            "list" => self.kind.list_schema(),
            "delete" | "deletecollection" => format!("{META}.Status"),
            _ => object,
        };
        let everywhere = self.kind.is_namespaced() && !path.contains("{namespace}");
        Operation {
            action,
            id: self.id(word, "", everywhere),
            tag: self.tag,
            description: format!("{said} {}", self.kind.kind),
            takes,
            answers,
            gvk: self.kind.gvk(),
            is_custom: self.kind.is_custom(),
        }
    }

    /// `listCoreV1NamespacedPod`, `listCoreV1PodForAllNamespaces`, `readCoreV1NamespacedPodStatus`
    fn id(&self, word: &str, sub: &str, everywhere: bool) -> String {
        let scope = if self.kind.is_namespaced() && !everywhere { "Namespaced" } else { "" };
        let all = if everywhere { "ForAllNamespaces" } else { "" };
        let Kind { group, version, kind, .. } = self.kind;
        format!("{word}{}{}{scope}{kind}{sub}{all}", camel(group), capital(version))
    }

    /// The old watch paths, which old clients still use.
    fn watch(&mut self, path: &str, action: &'static str) {
        let everywhere = self.kind.is_namespaced() && !path.contains("{namespace}");
        let many = if action == "watchlist" { "List" } else { "" };
        let operation = Operation {
            action,
            id: self.id("watch", many, everywhere),
            tag: self.tag,
            description: format!("watch {}; deprecated: use the watch parameter of a list", self.kind.kind),
            takes: String::new(),
            answers: format!("{META}.WatchEvent"),
            gvk: self.kind.gvk(),
            is_custom: self.kind.is_custom(),
        };
        let item = Map::from_iter([("get".to_owned(), operation.write(self.edition))]);
        let watched = path.replacen(self.root, &format!("{}/watch", self.root), 1);
        self.insert(&watched, item);
    }

    fn subresource(&mut self, api: &OpenApi<'_>, object: &str, sub: Subresource) {
        let served = self.kind.served_as(sub);
        let is_connection = matches!(
            sub,
            Subresource::Exec | Subresource::Attach | Subresource::PortForward | Subresource::Proxy
        );
        let schema = definition_of(api, &served).unwrap_or_else(|| self.kind.schema.to_string());
        let mut item = Map::new();
        for verb in sub.verbs() {
            let method = match *verb {
                "create" => "post",
                "update" => "put",
                other => other,
            };
            let word = match *verb {
                _ if is_connection => format!("connect{}", capital(method)),
                "get" => "read".to_owned(),
                "update" => "replace".to_owned(),
                other => other.to_owned(),
            };
            let takes = match *verb {
                _ if is_connection => String::new(),
                "create" | "update" => schema.clone(),
                "patch" => format!("{META}.Patch"),
                _ => String::new(),
            };
            let is_text = is_connection || sub == Subresource::Log;
            let operation = Operation {
                action: if is_connection { "connect" } else { method },
                id: self.id(&word, &capital(sub.name()), false),
                tag: self.tag,
                description: format!("{word} {} of the named {}", sub.name(), self.kind.kind),
                takes,
                answers: if is_text { String::new() } else { schema.clone() },
                gvk: served.clone(),
                is_custom: self.kind.is_custom(),
            };
            item.insert(method.to_owned(), operation.write(self.edition));
        }
        self.insert(&format!("{object}/{}", sub.name()), item);
    }
}

/// The definition that says it is of this kind.
fn definition_of(api: &OpenApi<'_>, gvk: &GroupVersionKind) -> Option<String> {
    let is_it = |k: &crate::schema::GroupVersionKindText| {
        k.group == gvk.group && k.version == gvk.version && k.kind == gvk.kind
    };
    api.schemas.definitions().iter().find(|d| d.kinds.iter().any(is_it)).map(|d| d.full_name())
}

/// `core_v1`, `rbacAuthorization_v1`
fn tag(group: &str, version: &str) -> String {
    let camel = camel(group);
    let mut chars = camel.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    format!("{}{}_{version}", first.unwrap_or_default(), chars.as_str())
}

/// `Core`, `Apps`, `RbacAuthorization`
fn camel(group: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.trim_end_matches(".k8s.io") };
    group.split('.').map(capital).collect()
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_ascii_uppercase().to_string() + chars.as_str())
}
