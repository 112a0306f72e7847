//! Which writes a hook is for: by rules, by the labels of the namespace, by those of the object.

use std::sync::Arc;

use coracle_api::selector::LabelSelector;
use coracle_api::{Kind, Status, object};
use serde_json::Value;

use crate::admission::{Admit, Operation};

/// What a webhook, a policy or a binding says of the writes that it is for.
#[derive(Debug)]
pub(super) struct Criteria {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
    /// Whether a rule for one version of a resource is one for all of them.
    equivalent: bool,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

fn texts(of: &Value, key: &str) -> Vec<String> {
    object::items(of, &[key]).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|v| v == "*" || v == wanted)
}

fn selector(of: &Value, key: &str) -> Result<LabelSelector, String> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(LabelSelector::everything()),
        Some(selector) => LabelSelector::from_object(selector).map_err(|e| e.to_string()),
    }
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

impl Criteria {
    /// Of a webhook, whose rules stand in `rules`, or of `matchConstraints` and `matchResources`, where they stand in
    /// `resourceRules`.
    pub(super) fn read(of: &Value, rules: &str) -> Criteria {
        let read = |key: &str| object::items(of, &[key]).iter().map(Rule::read).collect();
        Criteria {
            rules: read(rules),
            excluded: read("excludeResourceRules"),
            namespaces: selector(of, "namespaceSelector"),
            objects: selector(of, "objectSelector"),
            equivalent: object::text(of, &["matchPolicy"]) != "Exact",
        }
    }

    /// The row in whose version the hook is to see the write; none where the hook is not for it.
    pub(super) fn matches(
        &self,
        admit: &Admit<'_>,
        obj: Option<&Value>,
    ) -> Result<Option<Arc<Kind>>, Status> {
        if !self.is_for_namespace(admit, obj)? || !self.is_for_object(admit, obj)? {
            return Ok(None);
        }
        if self.find(admit, &self.excluded).is_some() {
            return Ok(None);
        }
        Ok(self.find(admit, &self.rules))
    }

    /// As `matches`, where no rules at all are rules for everything.
    pub(super) fn allows(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<bool, Status> {
        if !self.rules.is_empty() {
            return self.matches(admit, obj).map(|row| row.is_some());
        }
        let is_for = self.is_for_namespace(admit, obj)? && self.is_for_object(admit, obj)?;
        Ok(is_for && self.find(admit, &self.excluded).is_none())
    }

    fn find(&self, admit: &Admit<'_>, rules: &[Rule]) -> Option<Arc<Kind>> {
        if rules.iter().any(|r| r.matches(admit, admit.resource)) {
            return Some(Arc::new(admit.resource.clone()));
        }
        // Most rules are for something else altogether, which needs no look at other versions.
        if !self.equivalent || !rules.iter().any(|r| has(&r.operations, admit.operation.name())) {
            return None;
        }
        let same = |k: &&Arc<Kind>| {
            k.storage == admit.resource.storage
                && (k.group != admit.resource.group || k.version != admit.resource.version)
        };
        let catalog = admit.core.catalog();
        catalog.kinds().filter(same).find(|k| rules.iter().any(|r| r.matches(admit, k))).cloned()
    }

    fn is_for_namespace(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<bool, Status> {
        let selector = self.namespaces.as_ref().map_err(Status::internal)?;
        if selector.is_everything() {
            return Ok(true);
        }
        let selects = |v: &Value| selector.selects(v);
        if admit.resource.group.is_empty() && &*admit.resource.plural == "namespaces" {
            return Ok(obj.or(admit.old).is_some_and(selects));
        }
        if admit.namespace.is_empty() {
            return Ok(true);
        }
        match admit.core.object("", "namespaces", "", admit.namespace) {
            Some(namespace) => Ok(selects(&namespace)),
            None => {
                let kind = admit.core.builtin("", "namespaces")?;
                Err(Status::not_found(kind.resource(), admit.namespace))
            }
        }
    }

    fn is_for_object(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<bool, Status> {
        let selector = self.objects.as_ref().map_err(Status::internal)?;
        Ok(selector.is_everything() || obj.into_iter().chain(admit.old).any(|v| selector.selects(v)))
    }
}

impl Rule {
    fn read(of: &Value) -> Rule {
        Rule {
            operations: texts(of, "operations"),
            groups: texts(of, "apiGroups"),
            versions: texts(of, "apiVersions"),
            resources: texts(of, "resources"),
            names: texts(of, "resourceNames"),
            scope: object::text(of, &["scope"]).to_owned(),
        }
    }

    fn matches(&self, admit: &Admit<'_>, row: &Kind) -> bool {
        let is_cluster_wide =
            admit.namespace.is_empty() || (row.group.is_empty() && &*row.plural == "namespaces");
        let in_scope = match &*self.scope {
            "Namespaced" => !is_cluster_wide,
            "Cluster" => is_cluster_wide,
            _ => true,
        };
        in_scope
            && has(&self.operations, admit.operation.name())
            && has(&self.groups, &row.group)
            && has(&self.versions, &row.version)
            && (self.names.is_empty() || self.names.iter().any(|n| n == admit.name))
            && self.resources.iter().any(|r| is_resource(r, admit, row))
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`
fn is_resource(pattern: &str, admit: &Admit<'_>, row: &Kind) -> bool {
    let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    let asked = admit.sub.map_or("", |s| s.name());
    (resource == "*" || resource == row.plural) && (sub == "*" || sub == asked)
}
