//! What a namespace's LimitRanges give to containers that ask for nothing, and what they allow Pods and claims to ask for.

use coracle_api::quantity::Quantity;
use coracle_api::resources::{self, Count, Resources, Side};
use coracle_api::status::aggregate;
use coracle_api::{Status, Subresource, object};
use serde_json::{Map, Value, json};

use super::{Admit, Operation, Plugin};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const LISTS: [(&str, &str); 2] = [("containers", "container"), ("initContainers", "init container")];

pub(crate) struct LimitRanger;

impl Plugin for LimitRanger {
    fn mutate(&self, admit: &Admit<'_>, obj: &mut Value) -> Result<(), Status> {
        if !is_limited(admit) || !admit.is_kind("", "Pod") {
            return Ok(());
        }
        for range in admit.core.objects("", "limitranges", admit.namespace)? {
            fill(&range, obj);
        }
        Ok(())
    }

    fn validate(&self, admit: &Admit<'_>, obj: Option<&Value>) -> Result<(), Status> {
        let Some(obj) = obj.filter(|_| is_limited(admit)) else { return Ok(()) };
        for range in admit.core.objects("", "limitranges", admit.namespace)? {
            let why = if admit.is_kind("", "Pod") { of_pod(&range, obj) } else { of_claim(&range, obj) };
            if let Some(why) = refusal(why) {
                return Err(admit.forbidden(object::name(obj), &why));
            }
        }
        Ok(())
    }
}

/// The resources of a Pod's containers change by `resize` alone; an object on its way out is left in peace.
fn is_limited(admit: &Admit<'_>) -> bool {
    let is_pod = admit.is_kind("", "Pod");
    let concerned = match (admit.operation, admit.sub) {
        (Operation::Create, None) => is_pod || admit.is_kind("", "PersistentVolumeClaim"),
        (Operation::Update, None) => admit.is_kind("", "PersistentVolumeClaim"),
        (Operation::Update, Some(Subresource::Resize)) => is_pod,
        _ => false,
    };
    concerned && !admit.old.is_some_and(object::is_deleting)
}

fn refusal(complaints: Vec<String>) -> Option<String> {
    (!complaints.is_empty()).then(|| aggregate(complaints))
}

fn limits<'a>(range: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    object::items(range, &["spec", "limits"]).iter().filter(move |l| object::text(l, &["type"]) == kind)
}

/// Give every container what the range says of those that say nothing, and write down what was given.
fn fill(range: &Value, pod: &mut Value) {
    let (mut requests, mut most) = (Map::new(), Map::new());
    for limit in limits(range, "Container") {
        let of = |key: &str| limit.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        requests.extend(of("defaultRequest"));
        most.extend(of("default"));
    }
    let mut given = Vec::new();
    for (list, word) in LISTS {
        let spec = object::map_at_mut(pod, &["spec"]);
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = object::text(container, &["name"]).to_owned();
            for (side, amounts, what) in [("requests", &requests, "request"), ("limits", &most, "limit")] {
                let set = give(container, side, amounts);
                if !set.is_empty() {
                    given.push(format!("{} {what} for {word} {name}", set.join(", ")));
                }
            }
        }
    }
    if !given.is_empty() {
        let words = format!("LimitRanger plugin set: {}", given.join("; "));
        object::map_at_mut(pod, &["metadata", "annotations"]).insert(ANNOTATION.into(), json!(words));
    }
}

/// The names, in order, of what a container was given.
fn give(container: &mut Value, side: &str, amounts: &Map<String, Value>) -> Vec<String> {
    let missing = |name: &str| object::at(container, &["resources", side, name]).is_null();
    let mut names: Vec<String> = amounts.keys().filter(|name| missing(name)).cloned().collect();
    names.sort_unstable();
    if !names.is_empty() {
        let list = object::map_at_mut(container, &["resources", side]);
        list.extend(names.iter().map(|name| (name.clone(), amounts[name].clone())));
    }
    names
}

fn of_claim(range: &Value, claim: &Value) -> Vec<String> {
    let requests = resources::read(object::at(claim, &["spec", "resources", "requests"]));
    let mut complaints = Vec::new();
    for limit in limits(range, "PersistentVolumeClaim") {
        let bound = Bound { kind: "PersistentVolumeClaim", requests: &requests, limits: &Resources::new() };
        let of = |key: &str| resources::read(object::at(limit, &[key]));
        complaints.extend(of("min").iter().filter_map(|(name, least)| bound.at_least(name, *least)));
        complaints.extend(of("max").iter().filter_map(|(name, most)| bound.asks_at_most(name, *most)));
    }
    complaints
}

fn of_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    for limit in object::items(range, &["spec", "limits"]) {
        match object::text(limit, &["type"]) {
            "Container" => {
                for container in LISTS.iter().flat_map(|(list, _)| object::items(pod, &["spec", list])) {
                    let of = |side| resources::read(object::at(container, &["resources", side]));
                    let (requests, limits) = (of("requests"), of("limits"));
                    let bound = Bound { kind: "Container", requests: &requests, limits: &limits };
                    bound.check(limit, &mut complaints);
                }
            }
            "Pod" => {
                let of = |side| resources::of_pod(pod, side, Count::Spec);
                let (requests, limits) = (of(Side::Requests), of(Side::Limits));
                Bound { kind: "Pod", requests: &requests, limits: &limits }.check(limit, &mut complaints);
            }
            _ => {}
        }
    }
    complaints
}

/// What is held against a limit.
struct Bound<'a> {
    kind: &'static str,
    requests: &'a Resources,
    limits: &'a Resources,
}

impl Bound<'_> {
    fn check(&self, limit: &Value, complaints: &mut Vec<String>) {
        let of = |key: &str| resources::read(object::at(limit, &[key]));
        complaints.extend(of("min").iter().filter_map(|(name, least)| self.at_least(name, *least)));
        complaints.extend(of("max").iter().filter_map(|(name, most)| self.at_most(name, *most)));
        let ratios = of("maxLimitRequestRatio");
        complaints.extend(ratios.iter().filter_map(|(name, most)| self.ratio(name, *most)));
    }

    fn asked(&self, name: &str) -> (Option<Quantity>, Option<Quantity>) {
        (self.requests.get(name).copied(), self.limits.get(name).copied())
    }

    fn at_least(&self, name: &str, least: Quantity) -> Option<String> {
        let kind = self.kind;
        let words = format!("minimum {name} usage per {kind} is {least}");
        let (request, limit) = self.asked(name);
        let Some(asked) = request else { return Some(format!("{words}.  No request is specified")) };
        let [request, limited, least] = alike(request, limit, least);
        match limit {
            _ if request < least => Some(format!("{words}, but request is {asked}")),
            Some(limit) if limited < least => Some(format!("{words}, but limit is {limit}")),
            _ => None,
        }
    }

    fn at_most(&self, name: &str, most: Quantity) -> Option<String> {
        let words = format!("maximum {name} usage per {} is {most}", self.kind);
        let (request, limit) = self.asked(name);
        let Some(said) = limit else { return Some(format!("{words}.  No limit is specified")) };
        let [requested, limited, most] = alike(request, limit, most);
        match request {
            _ if limited > most => Some(format!("{words}, but limit is {said}")),
            Some(request) if requested > most => Some(format!("{words}, but request is {request}")),
            _ => None,
        }
    }

    /// Of what has no limits.
    fn asks_at_most(&self, name: &str, most: Quantity) -> Option<String> {
        let words = format!("maximum {name} usage per {} is {most}", self.kind);
        let Some(asked) = self.asked(name).0 else {
            return Some(format!("{words}.  No request is specified"));
        };
        let [request, _, most] = alike(Some(asked), None, most);
        (request > most).then(|| format!("{words}, but request is {asked}"))
    }

    fn ratio(&self, name: &str, most: Quantity) -> Option<String> {
        let words = format!("{name} max limit to request ratio per {} is {most}", self.kind);
        let (request, limit) = self.asked(name);
        let [request, limit, _] = alike(request, limit, most);
        if request == 0 {
            return Some(format!("{words}, but no request is specified or request is 0"));
        }
        if limit == 0 {
            return Some(format!("{words}, but no limit is specified or limit is 0"));
        }
        let ratio = limit as f64 / request as f64;
        let exceeds = if most.value() <= MILLI_MAX {
            ratio * 1000.0 > most.milli_value() as f64
        } else {
            ratio > most.value() as f64
        };
        exceeds.then(|| format!("{words}, but provided ratio is {ratio:.6}"))
    }
}

/// The greatest whole amount whose thousandths can be counted.
const MILLI_MAX: i64 = i64::MAX / 1000;

/// Request, limit and bound in one unit: thousandths where all can be told in them. What is missing is 0.
fn alike(request: Option<Quantity>, limit: Option<Quantity>, bound: Quantity) -> [i64; 3] {
    let all = [request.unwrap_or(Quantity::ZERO), limit.unwrap_or(Quantity::ZERO), bound];
    let whole = all.map(Quantity::value);
    if whole.iter().all(|v| *v <= MILLI_MAX) { all.map(Quantity::milli_value) } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(requests: Value, limits: Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]}})
    }

    #[test]
    fn containers_are_given_what_they_do_not_say() {
        let range = json!({"spec": {"limits": [{"type": "Container", "default": {"memory": "1Gi", "cpu": "2"},
            "defaultRequest": {"memory": "512Mi", "cpu": "1"}}, {"type": "Pod", "max": {"cpu": "9"}}]}});
        let mut given = pod(json!({"cpu": "100m"}), json!({}));
        given["spec"]["initContainers"] = json!([{"name": "i"}]);
        fill(&range, &mut given);
        let resources = &given["spec"]["containers"][0]["resources"];
        assert_eq!(resources["requests"], json!({"cpu": "100m", "memory": "512Mi"}));
        assert_eq!(resources["limits"], json!({"cpu": "2", "memory": "1Gi"}));
        assert_eq!(
            given["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: memory request for container c; cpu, memory limit for container c; \
             cpu, memory request for init container i; cpu, memory limit for init container i"
        );
        let mut whole = given.clone();
        fill(&range, &mut whole);
        assert_eq!(whole, given, "nothing is left to give");
    }

    #[test]
    fn what_a_range_refuses() {
        let cases = [
            (
                "Container",
                "min",
                "100m",
                json!({}),
                json!({}),
                "minimum cpu usage per Container is 100m.  No request is specified",
            ),
            (
                "Container",
                "min",
                "100m",
                json!({"cpu": "50m"}),
                json!({}),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (
                "Container",
                "min",
                "100m",
                json!({"cpu": "1"}),
                json!({"cpu": "0.05"}),
                "minimum cpu usage per Container is 100m, but limit is 50m",
            ),
            ("Container", "min", "100m", json!({"cpu": "1"}), json!({"cpu": "1"}), ""),
            (
                "Pod",
                "max",
                "2",
                json!({}),
                json!({}),
                "maximum cpu usage per Pod is 2.  No limit is specified",
            ),
            (
                "Pod",
                "max",
                "2",
                json!({}),
                json!({"cpu": "3"}),
                "maximum cpu usage per Pod is 2, but limit is 3",
            ),
            (
                "Pod",
                "max",
                "2",
                json!({"cpu": "3"}),
                json!({"cpu": "2"}),
                "maximum cpu usage per Pod is 2, but request is 3",
            ),
            ("Pod", "max", "2", json!({}), json!({"cpu": "2"}), ""),
            (
                "Pod",
                "maxLimitRequestRatio",
                "2",
                json!({}),
                json!({"cpu": "1"}),
                "cpu max limit to request ratio per Pod is 2, but no request is specified or request is 0",
            ),
            (
                "Pod",
                "maxLimitRequestRatio",
                "2",
                json!({"cpu": "1"}),
                json!({}),
                "cpu max limit to request ratio per Pod is 2, but no limit is specified or limit is 0",
            ),
            (
                "Pod",
                "maxLimitRequestRatio",
                "1500m",
                json!({"cpu": "1"}),
                json!({"cpu": "2"}),
                "cpu max limit to request ratio per Pod is 1500m, but provided ratio is 2.000000",
            ),
            ("Pod", "maxLimitRequestRatio", "2", json!({"cpu": "1"}), json!({"cpu": "2"}), ""),
        ];
        for (kind, bound, amount, requests, limits, want) in cases {
            let range = json!({"spec": {"limits": [{"type": kind, bound: {"cpu": amount}}]}});
            let said = refusal(of_pod(&range, &pod(requests, limits))).unwrap_or_default();
            assert_eq!(said, want);
        }
    }

    #[test]
    fn several_complaints_are_one_list_and_claims_have_no_limits() {
        let range = json!({"spec": {"limits": [{"type": "Container", "min": {"cpu": "1"}, "max": {"memory": "1Gi"}},
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]}});
        assert_eq!(
            refusal(of_pod(&range, &pod(json!({}), json!({})))).unwrap(),
            "[minimum cpu usage per Container is 1.  No request is specified, maximum memory usage per Container is \
             1Gi.  No limit is specified]"
        );
        for (asked, want) in [
            ("500Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
            ("3Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"),
            ("2Gi", ""),
        ] {
            let claim = json!({"spec": {"resources": {"requests": {"storage": asked}}}});
            assert_eq!(refusal(of_claim(&range, &claim)).unwrap_or_default(), want);
        }
    }
}
