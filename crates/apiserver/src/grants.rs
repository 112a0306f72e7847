//! Nobody grants what they do not hold: the check on roles and bindings, before anything else is done to them.

use coracle_api::{Kind, Status, object};
use coracle_auth::{Attributes, ResourceTarget, Rule, escalation, rbac};
use serde_json::Value;

use crate::registry::Call;
use crate::server::Core;

/// The 403 of a write that would give more than its writer has.
pub(crate) fn check(
    core: &Core,
    call: &Call,
    kind: &Kind,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if kind.group != rbac::GROUP {
        return Ok(());
    }
    match &*kind.kind {
        "Role" | "ClusterRole" => check_role(core, call, kind, new, old),
        "RoleBinding" | "ClusterRoleBinding" => check_binding(core, call, kind, new, old),
        _ => Ok(()),
    }
}

fn may(core: &Core, call: &Call, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let target = ResourceTarget::new(rbac::GROUP, resource).within(namespace).named(name);
    core.authorizer.allows(Attributes::resource(call.user().clone(), verb, target))
}

fn check_role(core: &Core, call: &Call, kind: &Kind, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let unchanged = old
        .is_some_and(|old| old["rules"] == new["rules"] && old["aggregationRule"] == new["aggregationRule"]);
    let name = object::name(new);
    if unchanged || may(core, call, "escalate", &kind.plural, &call.namespace, name) {
        return Ok(());
    }
    let refuse = |why: String| Err(Status::forbidden(kind.resource(), name, &why));
    let everything = |words: &str| {
        let all = |list: &str| vec![list.to_owned()];
        let any = Rule { verbs: all("*"), api_groups: all("*"), resources: all("*"), ..Rule::default() };
        escalation::check_grant(core.authorizer.policy(), call.user(), "", &[any])
            .map_err(|_| words.to_owned())
    };
    if !object::at(new, &["aggregationRule"]).is_null()
        && let Err(why) = everything("must have cluster-admin privileges to use an aggregationRule")
    {
        return refuse(why);
    }
    let rules: Vec<Rule> = object::items(new, &["rules"]).iter().map(Rule::parse).collect();
    escalation::check_grant(core.authorizer.policy(), call.user(), &call.namespace, &rules).or_else(refuse)
}

fn check_binding(
    core: &Core,
    call: &Call,
    kind: &Kind,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let unchanged =
        old.is_some_and(|old| old["roleRef"] == new["roleRef"] && old["subjects"] == new["subjects"]);
    if unchanged {
        return Ok(());
    }
    let (of_kind, role) = (object::text(new, &["roleRef", "kind"]), object::text(new, &["roleRef", "name"]));
    let plural = if of_kind == "ClusterRole" { "clusterroles" } else { "roles" };
    if may(core, call, "bind", plural, &call.namespace, role) {
        return Ok(());
    }
    let policy = core.authorizer.policy();
    let rules = match policy.role_rules(of_kind, &call.namespace, role) {
        Ok(rules) => rules,
        Err(why) => return Err(Status::new(404, "NotFound", why)),
    };
    escalation::check_grant(policy, call.user(), &call.namespace, &rules)
        .map_err(|why| Status::forbidden(kind.resource(), object::name(new), &why))
}
