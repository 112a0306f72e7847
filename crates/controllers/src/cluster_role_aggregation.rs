//! ClusterRoles with an `aggregationRule` get the union of the rules that its selectors pick, in order of name.

use futures::stream::StreamExt;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ListParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use crate::work::{self, Next};
use crate::{Context, Error};

/// Any change of any ClusterRole can change every aggregate, so there is one key: all of them.
pub(crate) async fn run(cx: Context) -> Result<(), Error> {
    let roles: Api<ClusterRole> = Api::all(cx.client.clone());
    let triggers = work::changes(roles, watcher::Config::default()).map(|_| ()).boxed();
    work::reconcile_all(triggers, &cx.clock, |()| reconcile(&cx)).await
}

async fn reconcile(cx: &Context) -> Result<Next, Error> {
    let api: Api<ClusterRole> = Api::all(cx.client.clone());
    let roles = api.list(&ListParams::default()).await?.items;
    for role in plan(&roles) {
        api.replace(&role.name_any(), &PostParams::default(), &role).await?;
    }
    Ok(Next::Wait)
}

/// The roles whose rules must change, as they must become.
fn plan(roles: &[ClusterRole]) -> Vec<ClusterRole> {
    let mut sorted: Vec<&ClusterRole> = roles.iter().collect();
    sorted.sort_by_key(|r| r.name_any());
    let mut changed = Vec::new();
    for role in &sorted {
        let Some(selectors) = role.aggregation_rule.as_ref().and_then(|a| a.cluster_role_selectors.as_ref())
        else {
            continue;
        };
        let mut rules: Vec<PolicyRule> = Vec::new();
        for selector in selectors {
            let picked = sorted.iter().filter(|r| r.name_any() != role.name_any() && selects(selector, r));
            for rule in picked.flat_map(|r| r.rules.iter().flatten()) {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
        if role.rules.as_deref().unwrap_or_default() != rules {
            changed.push(ClusterRole { rules: Some(rules), ..(*role).clone() });
        }
    }
    changed
}

fn selects(selector: &LabelSelector, role: &ClusterRole) -> bool {
    let labels = role.labels();
    let matches_labels =
        selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let matches_expressions = selector.match_expressions.iter().flatten().all(|e| {
        let value = labels.get(&e.key);
        let listed = value.is_some_and(|v| e.values.iter().flatten().any(|x| x == v));
        match e.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    matches_labels && matches_expressions
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn role(name: &str, label: Option<&str>, verbs: &[&str], aggregate: Option<&str>) -> ClusterRole {
        let mut v: Value = json!({"metadata": {"name": name}, "rules": []});
        if let Some(label) = label {
            v["metadata"]["labels"] = json!({label: "true"});
        }
        if !verbs.is_empty() {
            v["rules"] = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]);
        }
        if let Some(label) = aggregate {
            v["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        }
        serde_json::from_value(v).unwrap()
    }

    #[test]
    fn an_aggregate_is_the_union_of_what_it_selects_and_settles() {
        let mut roles = vec![
            role("all", None, &[], Some("to-all")),
            role("b", Some("to-all"), &["list"], None),
            role("a", Some("to-all"), &["get"], None),
            role("c", None, &["delete"], None),
        ];
        let changed = plan(&roles);
        assert_eq!(changed.len(), 1);
        let verbs: Vec<_> = changed[0].rules.iter().flatten().flat_map(|r| r.verbs.clone()).collect();
        assert_eq!(verbs, ["get", "list"]);
        roles[0] = changed[0].clone();
        assert!(plan(&roles).is_empty());
    }
}
