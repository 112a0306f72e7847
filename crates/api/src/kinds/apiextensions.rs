//! The rules of CustomResourceDefinitions.
//!
//! The reference looks at them in an older form, into which it first brings them: what all versions have in common stands
//! once, below `spec`. Its complaints name places of that form; [`Hoisted`] is the difference.

mod columns;
mod defaults;
mod dump;
mod expressions;
mod schema;
mod structural;
mod walk;

use serde_json::{Map, Value, json};
use x509_parser::pem::Pem;

use super::admissionregistration::client_config;
use crate::at::At;
use crate::field::{Errors, Path};
use crate::names;
use crate::object::{self, at, items, map_at_mut, text};
use crate::rules::{Cx, Rules, Write, facts};
use crate::schema::Structural;
use crate::schema::structural::format::unrecognized;

#[derive(Debug)]
pub struct CustomResourceDefinition;

/// The annotation by which a group of the project's own is approved.
pub const APPROVAL: &str = "api-approved.kubernetes.io";
/// What this server can send to a conversion webhook.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// The longest `deprecationWarning`, in bytes.
const WARNING_MAX: usize = 256;

impl Rules for CustomResourceDefinition {
    fn default(&self, obj: &mut Value) {
        default_names(map_at_mut(obj, &["spec", "names"]));
        let spec = map_at_mut(obj, &["spec"]);
        if spec.get("conversion").is_none_or(Value::is_null) {
            spec.insert("conversion".into(), json!({"strategy": "None"}));
        }
        let service = ["spec", "conversion", "webhook", "clientConfig", "service"];
        if at(obj, &service).is_object() {
            map_at_mut(obj, &service).entry("port").or_insert(json!(443));
        }
        if items(obj, &["status", "storedVersions"]).is_empty() {
            store_version(obj);
        }
    }

    fn prepare_create(&self, _cx: &Cx, obj: &mut Value) {
        object::map_mut(obj).shift_remove("status");
        store_version(obj);
    }

    fn prepare_update(&self, _cx: &Cx, obj: &mut Value, _old: &Value, write: Write) {
        if write == Write::Main {
            store_version(obj);
        }
    }

    fn validate(&self, obj: &Value, errs: &mut Errors) {
        let root = At::root(obj);
        let name = root.get("metadata").get("name");
        let (plural, group) = (text(obj, &["spec", "names", "plural"]), text(obj, &["spec", "group"]));
        if name.text() != format!("{plural}.{group}") {
            errs.bad_text(&name, "must be spec.names.plural+\".\"+spec.group");
        }
        definition(&root, &Stored::default(), errs);
        approval(obj, None, errs);
        unknown_fields(&root, errs);
    }

    fn validate_change(&self, obj: &Value, old: &Value, write: Write, errs: &mut Errors) -> Vec<String> {
        let root = At::root(obj);
        if write != Write::Main {
            check_names(&root.get("status").get("acceptedNames"), errs);
            return Vec::new();
        }
        definition(&root, &Stored(items(old, &["spec", "versions"])), errs);
        ca_bundle(&root.get("spec"), old, errs);
        unchangeable(&root.get("spec"), old, errs);
        status(&root, errs);
        approval(obj, Some(old), errs);
        if at(old, &["spec", "preserveUnknownFields"]) != &Value::Bool(true) {
            unknown_fields(&root, errs);
        }
        Vec::new()
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let known = old.map(unrecognized_formats).unwrap_or_default();
        let formats = unrecognized_formats(obj).into_iter().filter(|format| !known.contains(format));
        formats.map(|format| format!("unrecognized format {}", crate::field::go_quote(&format))).collect()
    }

    /// Their own finalizer has no path.
    fn standard_finalizers(&self) -> bool {
        false
    }

    facts!(conditional);
}

fn unrecognized_formats(obj: &Value) -> Vec<String> {
    let mut versions: Vec<Value> =
        items(obj, &["spec", "versions"]).iter().map(|v| v["schema"]["openAPIV3Schema"].clone()).collect();
    versions.dedup();
    let schemas = versions.iter().filter_map(|schema| Structural::read(schema).ok());
    schemas
        .flat_map(|schema| unrecognized(&schema).into_iter().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Whether a condition of the definition holds.
fn has(obj: &Value, condition: &str) -> bool {
    let conditions = items(obj, &["status", "conditions"]);
    conditions.iter().any(|c| text(c, &["type"]) == condition && text(c, &["status"]) == "True")
}

fn default_names(names: &mut Map<String, Value>) {
    let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    // Each in its place: behind the name that it follows in the reference's struct.
    let mut fill = |key: &str, behind: &str, value: String| {
        if names.get(key).and_then(Value::as_str).unwrap_or_default().is_empty() && !kind.is_empty() {
            names.shift_remove(key);
            let at = names.keys().position(|k| k == behind).map_or(0, |at| at + 1);
            names.shift_insert(at, key.to_owned(), Value::from(value));
        }
    };
    fill("singular", "plural", kind.to_lowercase());
    fill("listKind", "kind", format!("{kind}List"));
}

/// Puts the storage version down as one in which objects may be stored.
fn store_version(obj: &mut Value) {
    let versions = items(obj, &["spec", "versions"]);
    let Some(storage) = versions.iter().find(|v| v["storage"] == Value::Bool(true)) else { return };
    let name = Value::from(text(storage, &["name"]));
    if !items(obj, &["status", "storedVersions"]).contains(&name) {
        let status = map_at_mut(obj, &["status"]);
        let stored = status.entry("storedVersions").or_insert(Value::Null);
        match stored {
            Value::Array(stored) => stored.push(name),
            other => *other = json!([name]),
        }
    }
}

/// The versions of the definition that is replaced.
#[derive(Debug, Default)]
struct Stored<'a>(&'a [Value]);

impl Stored<'_> {
    /// Whether the version had the same schema before: then its expressions may cost what they did.
    fn has(&self, version: &Value) -> bool {
        self.0.iter().any(|v| v["name"] == version["name"] && v["schema"] == version["schema"])
    }
}

/// What all versions have in common, and so stands below `spec` in the older form.
pub(super) struct Hoisted {
    pub schema: bool,
    pub subresources: bool,
    pub columns: bool,
    pub selectable: bool,
}

impl Hoisted {
    pub(super) fn of(versions: &[Value]) -> Hoisted {
        let same = |key: &str| versions.windows(2).all(|pair| pair[0].get(key) == pair[1].get(key));
        Hoisted {
            schema: same("schema"),
            subresources: same("subresources"),
            columns: same("additionalPrinterColumns"),
            selectable: same("selectableFields"),
        }
    }
}

fn definition(root: &At<'_>, stored: &Stored<'_>, errs: &mut Errors) {
    let spec = root.get("spec");
    group(&spec.get("group"), errs);
    errs.one_of(&spec.get("scope"), &["Cluster", "Namespaced"]);
    let versions = spec.get("versions");
    let list = versions.value.as_array().map_or(&[][..], Vec::as_slice);
    let hoisted = Hoisted::of(list);
    for version in versions.items() {
        let schema = version.get("schema").get("openAPIV3Schema");
        if !schema.is_set() {
            errs.required(&schema.path, "schemas are required");
        }
    }
    for version in versions.items() {
        version_name(&version.get("name"), errs);
        deprecation(&version, errs);
        let parts = Parts { version: &version, hoisted: &hoisted, spec: &spec.path };
        parts.check(false, stored, errs);
    }
    version_flags(&versions, &hoisted, errs);
    if let Some(first) = list.first() {
        version_name(&At::new(&first["name"], spec.path.child("version")), errs);
    }
    required_names(&spec.get("names"), errs);
    check_names(&spec.get("names"), errs);
    if let Some(first) = versions.items().next() {
        Parts { version: &first, hoisted: &hoisted, spec: &spec.path }.check(true, stored, errs);
    }
    conversion(&spec, errs);
}

/// The parts of a version: those that it has for itself, or those that all have in common.
struct Parts<'a> {
    version: &'a At<'a>,
    hoisted: &'a Hoisted,
    spec: &'a Path,
}

impl Parts<'_> {
    fn check(&self, common: bool, stored: &Stored<'_>, errs: &mut Errors) {
        let has_status = self.version.get("subresources").has("status");
        let place = |key: &str, older: &str| {
            let path = if common { self.spec.child(older) } else { self.version.path.child(key) };
            At::new(self.version.peek(key), path)
        };
        if self.hoisted.schema == common {
            let was_there = stored.has(self.version.value);
            schema::check(&place("schema", "validation"), has_status, was_there, errs);
        }
        if self.hoisted.subresources == common {
            columns::subresources(&place("subresources", "subresources"), errs);
        }
        if self.hoisted.columns == common {
            let columns = place("additionalPrinterColumns", "additionalPrinterColumns");
            columns.items().for_each(|column| columns::column(&column, errs));
        }
        if self.hoisted.selectable == common {
            let schema = self.version.get("schema").get("openAPIV3Schema");
            columns::selectable(&place("selectableFields", "selectableFields"), &schema, errs);
        }
    }
}

fn group(at: &At<'_>, errs: &mut Errors) {
    let said = names::dns1123_subdomain(at.text());
    if at.is_empty() {
        errs.required(&at.path, "");
    } else if !said.is_empty() {
        errs.bad_text(at, said.join(","));
    } else if !at.text().contains('.') {
        errs.bad_text(at, "should be a domain with at least one dot");
    }
}

fn version_name(at: &At<'_>, errs: &mut Errors) {
    let said = names::dns1035_label(at.text());
    if !said.is_empty() {
        errs.bad_text(at, said.join(","));
    }
}

fn version_flags(versions: &At<'_>, hoisted: &Hoisted, errs: &mut Errors) {
    let list = versions.value.as_array().map_or(&[][..], Vec::as_slice);
    let name = |v: &Value| text(v, &["name"]).to_owned();
    let shown = || dump::versions(list, hoisted);
    if list.iter().enumerate().any(|(i, v)| list[..i].iter().any(|w| name(w) == name(v))) {
        errs.invalid_shown(&versions.path, shown(), "must contain unique version names");
    }
    if list.iter().filter(|v| v["storage"] == Value::Bool(true)).count() != 1 {
        let words = "must have exactly one version marked as storage version";
        errs.invalid_shown(&versions.path, shown(), words);
    }
}

fn deprecation(version: &At<'_>, errs: &mut Errors) {
    let warning = version.get("deprecationWarning");
    if !warning.is_set() {
        return;
    }
    if !version.peek_true("deprecated") {
        errs.bad_text(&warning, "can only be set for deprecated versions");
        return;
    }
    if warning.text().len() > WARNING_MAX {
        errs.bad_text(&warning, format!("must be <= {WARNING_MAX} characters long"));
    }
    if warning.text().is_empty() {
        errs.bad_text(&warning, "must not be an empty string");
    }
    if let Some((at, _)) = warning.text().char_indices().find(|(_, c)| c.is_control()) {
        let words = "must only contain printable UTF-8 characters; non-printable character found at index";
        errs.bad_text(&warning, format!("{words} {at}"));
    }
}

fn required_names(names: &At<'_>, errs: &mut Errors) {
    for key in ["plural", "singular", "kind", "listKind"] {
        let name = names.get(key);
        if name.is_empty() {
            errs.required(&name.path, "");
        }
    }
}

fn check_names(names: &At<'_>, errs: &mut Errors) {
    let label = |at: &At<'_>, errs: &mut Errors| {
        let said = names::dns1035_label(at.text());
        if !said.is_empty() {
            errs.bad_text(at, said.join(","));
        }
    };
    for key in ["plural", "singular"] {
        let name = names.get(key);
        if !name.is_empty() {
            label(&name, errs);
        }
    }
    for key in ["kind", "listKind"] {
        let name = names.get(key);
        let said = names::dns1035_label(&name.text().to_lowercase());
        if !name.is_empty() && !said.is_empty() {
            let said = said.join(",");
            errs.bad_text(&name, format!("may have mixed case, but should otherwise match: {said}"));
        }
    }
    names.get("shortNames").items().for_each(|name| label(&name, errs));
    let list = names.get("listKind");
    if !list.is_empty() && names.peek("kind") == list.value {
        errs.bad_text(&list, "kind and listKind may not be the same");
    }
    names.get("categories").items().for_each(|name| label(&name, errs));
}

fn conversion(spec: &At<'_>, errs: &mut Errors) {
    let conversion = spec.get("conversion");
    if !conversion.is_set() {
        return;
    }
    if conversion.peek_text("strategy") != "None" && spec.peek_true("preserveUnknownFields") {
        errs.bad_text(&conversion.get("strategy"), "must be None if spec.preserveUnknownFields is true");
    }
    errs.one_of(&conversion.get("strategy"), &["None", "Webhook"]);
    // The older form has no `webhook` around these two.
    let webhook = conversion.get("webhook");
    let config = At::new(webhook.peek("clientConfig"), conversion.path.child("webhookClientConfig"));
    let versions =
        At::new(webhook.peek("conversionReviewVersions"), conversion.path.child("conversionReviewVersions"));
    if conversion.peek_text("strategy") == "Webhook" {
        if config.is_set() {
            client_config(&config, errs);
        } else {
            errs.required(&config.path, "required when strategy is set to Webhook");
        }
        review_versions(&versions, errs);
        return;
    }
    for at in [config, versions] {
        if !at.is_empty() {
            errs.forbidden(&at.path, "should not be set when strategy is not set to Webhook");
        }
    }
}

fn review_versions(versions: &At<'_>, errs: &mut Errors) {
    if versions.is_empty() {
        errs.required(&versions.path, "");
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for version in versions.items() {
        if seen.contains(&version.text()) {
            errs.bad_text(&version, "duplicate version");
            continue;
        }
        seen.push(version.text());
        errs.bad_texts(&version, names::dns1035_label(version.text()));
    }
    if !seen.iter().any(|v| REVIEW_VERSIONS.contains(v)) {
        errs.bad(versions, format!("must include at least one of {}", REVIEW_VERSIONS.join(", ")));
    }
}

/// Once the definition is in force, good certificates may not be replaced by bad ones.
fn ca_bundle(spec: &At<'_>, old: &Value, errs: &mut Errors) {
    let path = ["conversion", "webhook", "clientConfig", "caBundle"];
    let bundle = text(spec.value, &path);
    let before = text(at(old, &["spec"]), &path);
    let was_good = before.is_empty() || has_certificates(before);
    if !bundle.is_empty() && has(old, "Established") && was_good && !has_certificates(bundle) {
        let at = spec.path.child("conversion").child("webhookClientConfig").child("caBundle");
        let words = "unable to load root certificates: unable to parse bytes as PEM block";
        errs.invalid(&at, &Value::from(bundle), words);
    }
}

fn has_certificates(bundle: &str) -> bool {
    use base64::Engine as _;
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(bundle) else { return false };
    let mut certificates =
        Pem::iter_from_buffer(&bytes).flatten().filter(|pem| pem.label == "CERTIFICATE").peekable();
    certificates.peek().is_some() && certificates.all(|pem| pem.parse_x509().is_ok())
}

fn unchangeable(spec: &At<'_>, old: &Value, errs: &mut Errors) {
    let before = at(old, &["spec"]);
    let names = spec.get("names");
    if has(old, "Established") {
        errs.immutable(&spec.get("scope"), at(before, &["scope"]));
        errs.immutable(&names.get("kind"), at(before, &["names", "kind"]));
    }
    errs.immutable(&spec.get("group"), at(before, &["group"]));
    errs.immutable(&names.get("plural"), at(before, &["names", "plural"]));
}

fn status(root: &At<'_>, errs: &mut Errors) {
    let status = root.get("status");
    check_names(&status.get("acceptedNames"), errs);
    let stored = status.get("storedVersions");
    if stored.is_empty() {
        errs.invalid(&stored.path, &json!([]), "must have at least one stored version");
        return;
    }
    let versions = items(root.value, &["spec", "versions"]);
    for version in versions.iter().filter(|v| v["storage"] == Value::Bool(true)) {
        let name = text(version, &["name"]);
        if !stored.texts().any(|s| s == name) {
            errs.bad(&stored, format!("must have the storage version {name}"));
        }
    }
    for version in stored.items() {
        let name = version.text();
        if !versions.iter().any(|v| text(v, &["name"]) == name) {
            errs.bad_text(&version, format!("missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"));
        }
    }
}

fn unknown_fields(root: &At<'_>, errs: &mut Errors) {
    let keeps = root.get("spec").get("preserveUnknownFields");
    if keeps.is_true() {
        errs.bad(&keeps, "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
    }
}

/// Whether a definition in a group of the project's own may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    Missing(String),
    Invalid(String),
    Bypassed(String),
    Approved(String),
}

/// What the annotation says; none of a group that needs no approval.
pub fn approval_of(definition: &Value) -> Option<Approval> {
    let group = text(definition, &["spec", "group"]);
    let is_own = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|own| group.strip_suffix(own).is_some_and(|head| head.is_empty() || head.ends_with('.')));
    if !is_own {
        return None;
    }
    let said = object::annotation(definition, APPROVAL).unwrap_or_default();
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    let is_url = said.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/') && crate::cel::is_uri(said)
    });
    Some(if said.is_empty() {
        let words = format!("protected groups must have approval annotation \"{APPROVAL}\", {see}");
        Approval::Missing(words)
    } else if said.starts_with("unapproved") {
        Approval::Bypassed(format!("not approved: {}", crate::field::go_quote(said)))
    } else if is_url {
        Approval::Approved(format!("approved in {said}"))
    } else {
        Approval::Invalid(format!(
            "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \"unapproved\", {see}"
        ))
    })
}

fn approval(obj: &Value, old: Option<&Value>, errs: &mut Errors) {
    let Some(now) = approval_of(obj) else { return };
    let before = old.and_then(approval_of);
    if before.is_some_and(|b| std::mem::discriminant(&b) == std::mem::discriminant(&now)) {
        return;
    }
    let path = Path::new("metadata.annotations").key(APPROVAL);
    match now {
        Approval::Missing(why) => errs.required(&path, why),
        Approval::Invalid(why) => {
            let said = object::annotation(obj, APPROVAL).unwrap_or_default();
            errs.invalid(&path, &Value::from(said), why);
        }
        Approval::Bypassed(_) | Approval::Approved(_) => {}
    }
}

#[cfg(test)]
mod tests;
