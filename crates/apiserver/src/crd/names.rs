//! Which of the names that a definition wants it has: those that no other definition of its group has.

use std::collections::HashSet;

use coracle_api::field::go_quote;
use coracle_api::object;
use coracle_api::status::aggregate;
use serde_json::{Value, json};

use super::conditions::{self, Condition, ESTABLISHED, NAMES_ACCEPTED};

/// The names that the definitions of one group have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Plurals, singulars and short names.
    resources: HashSet<String>,
    /// Kinds and kinds of lists.
    kinds: HashSet<String>,
}

impl Taken {
    /// What `accepted`, a definition's `status.acceptedNames`, takes.
    pub(super) fn add(&mut self, accepted: &Value) {
        let text = |key: &str| object::text(accepted, &[key]).to_owned();
        let short = object::items(accepted, &["shortNames"]).iter().filter_map(Value::as_str);
        self.resources.extend([text("plural"), text("singular")]);
        self.resources.extend(short.map(str::to_owned));
        self.kinds.extend([text("kind"), text("listKind")]);
    }
}

/// Why a name cannot be had, if so: it is neither free nor `own`.
fn refused(wanted: &str, own: &str, taken: &HashSet<String>) -> Option<String> {
    (wanted != own && taken.contains(wanted)).then(|| format!("{} is already in use", go_quote(wanted)))
}

/// Has `status` say which names of its spec the definition has. `taken` may hold those that it has already.
pub(super) fn accept(definition: &Value, status: &mut Value, taken: &Taken, now: &str) {
    let wanted = object::at(definition, &["spec", "names"]);
    let accepted = object::at(definition, &["status", "acceptedNames"]);
    if wanted == accepted {
        return;
    }
    let (names, refusal) = decide(wanted, accepted, taken);
    let is_accepted = refusal.is_none();
    let condition = match refusal {
        None => Condition::new(NAMES_ACCEPTED, true, "NoConflicts", "no conflicts found"),
        Some((reason, words)) => Condition::new(NAMES_ACCEPTED, false, reason, words),
    };
    object::map_mut(status).insert("acceptedNames".to_owned(), names);
    conditions::set(status, condition, now);
    if conditions::is_true(status, ESTABLISHED) {
        return;
    }
    let condition = if is_accepted {
        Condition::new(ESTABLISHED, false, "Installing", "the initial names have been accepted")
    } else {
        Condition::new(ESTABLISHED, false, "NotAccepted", "not all names are accepted")
    };
    if is_accepted || !conditions::has(status, ESTABLISHED) {
        conditions::set(status, condition, now);
    }
}

/// The names that the definition then has, and the last refusal: its reason and its words.
fn decide(wanted: &Value, accepted: &Value, taken: &Taken) -> (Value, Option<(&'static str, String)>) {
    let mut names = if accepted.is_object() { accepted.clone() } else { json!({}) };
    let mut one = |key: &str, reason: &'static str, taken: &HashSet<String>| {
        let name = object::text(wanted, &[key]);
        let refusal = refused(name, object::text(accepted, &[key]), taken);
        if refusal.is_none() {
            names[key] = json!(name);
        }
        refusal.map(|words| (reason, words))
    };
    let plural = one("plural", "PluralConflict", &taken.resources);
    let singular = one("singular", "SingularConflict", &taken.resources);
    let kind = one("kind", "KindConflict", &taken.kinds);
    let list_kind = one("listKind", "ListKindConflict", &taken.kinds);
    let short = short_names(wanted, accepted, taken).map(|words| ("ShortNamesConflict", words));
    if short.is_none() {
        copy(wanted, &mut names, "shortNames");
    }
    copy(wanted, &mut names, "categories");
    (names, [plural, singular, short, kind, list_kind].into_iter().flatten().last())
}

fn copy(from: &Value, to: &mut Value, key: &str) {
    let map = object::map_mut(to);
    match from.get(key) {
        Some(value) => drop(map.insert(key.to_owned(), value.clone())),
        None => drop(map.shift_remove(key)),
    }
}

/// Why the short names cannot be had, which are had all together or not at all.
fn short_names(wanted: &Value, accepted: &Value, taken: &Taken) -> Option<String> {
    let own = object::items(accepted, &["shortNames"]);
    let is_own = |name: &Value| {
        let is = |key: &str| accepted.get(key) == Some(name);
        own.contains(name) || is("plural") || is("singular")
    };
    let new = object::items(wanted, &["shortNames"]).iter().filter(|name| !is_own(name));
    let refused: Vec<String> =
        new.filter_map(Value::as_str).filter_map(|name| refused(name, "", &taken.resources)).collect();
    (!refused.is_empty()).then(|| aggregate(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plural: &str, short: &[&str]) -> Value {
        let kind = format!("Kind{plural}");
        json!({"plural": plural, "singular": plural.trim_end_matches('s'), "shortNames": short, "kind": kind,
            "listKind": format!("{kind}List")})
    }

    fn accepted(definition: &Value, others: &[Value]) -> Value {
        let mut taken = Taken::default();
        others.iter().for_each(|names| taken.add(names));
        taken.add(object::at(definition, &["status", "acceptedNames"]));
        let mut status = definition.get("status").cloned().unwrap_or_else(|| json!({}));
        accept(definition, &mut status, &taken, "T");
        status
    }

    fn said(status: &Value) -> Vec<String> {
        let line = |c: &Value| {
            let text = |key: &str| object::text(c, &[key]).to_owned();
            format!("{}={} {}: {}", text("type"), text("status"), text("reason"), text("message"))
        };
        object::items(status, &["conditions"]).iter().map(line).collect()
    }

    #[test]
    fn free_names_are_had() {
        let status = accepted(&json!({"spec": {"names": names("as", &["a"])}}), &[names("bs", &["b"])]);
        assert_eq!(status["acceptedNames"], names("as", &["a"]));
        assert_eq!(
            said(&status),
            [
                "NamesAccepted=True NoConflicts: no conflicts found",
                "Established=False Installing: the initial names have been accepted"
            ]
        );
    }

    #[test]
    fn every_name_may_be_anothers() {
        let wanted = || names("as", &["x", "y"]);
        let plural_as_short =
            json!({"plural": "zs", "singular": "as", "shortNames": [], "kind": "Z", "listKind": "ZList"});
        let cases = [
            (
                names("bs", &["x", "y"]),
                "ShortNamesConflict: [\"x\" is already in use, \"y\" is already in use]",
            ),
            (plural_as_short, "PluralConflict: \"as\" is already in use"),
            (json!({"singular": "a"}), "SingularConflict: \"a\" is already in use"),
            (json!({"kind": "Kindas"}), "KindConflict: \"Kindas\" is already in use"),
            (json!({"kind": "KindasList"}), "ListKindConflict: \"KindasList\" is already in use"),
        ];
        for (other, words) in cases {
            let status = accepted(&json!({"spec": {"names": wanted()}}), &[other]);
            assert_eq!(
                said(&status),
                [
                    format!("NamesAccepted=False {words}"),
                    "Established=False NotAccepted: not all names are accepted".to_owned()
                ]
            );
        }
    }

    #[test]
    fn what_is_established_stays_so_under_its_old_names() {
        let mut definition = json!({"spec": {"names": names("as", &["a"])}});
        definition["status"] = accepted(&definition, &[]);
        definition["status"]["conditions"][1]["status"] = json!("True");
        assert_eq!(accepted(&definition, &[]), definition["status"]);
        definition["spec"]["names"]["kind"] = json!("Other");
        let status = accepted(&definition, &[json!({"kind": "Other"})]);
        assert_eq!(status["acceptedNames"]["kind"], "Kindas");
        assert_eq!(said(&status)[0], "NamesAccepted=False KindConflict: \"Other\" is already in use");
        assert_eq!(status["conditions"][1]["status"], "True");
    }
}
