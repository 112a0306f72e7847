//! What is allowed in a Pod's spec but hardly meant: the `Warning` headers of Pods and of templates.

use serde_json::Value;

use crate::at::At;
use crate::field::go_quote;
use crate::kinds::core::amounts;

/// Labels that nodes had before they were stable, and what they are called now.
const OLD_NODE_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

/// Volumes whose code is on its way out, or gone.
const OLD_VOLUMES: [(&str, &str); 6] = [
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
];

/// `at` is a Pod's spec, wherever it stands.
pub fn of_spec(at: &At<'_>) -> Vec<String> {
    let mut out = Vec::new();
    for (label, since, new) in OLD_NODE_LABELS {
        if at.get("nodeSelector").has(label) {
            let path = at.get("nodeSelector").path.key(label);
            out.push(format!("{path}: deprecated since {since}; use {} instead", go_quote(new)));
        }
    }
    for volume in at.get("volumes").items() {
        for (kind, words) in OLD_VOLUMES.iter().filter(|(kind, _)| volume.has(kind)) {
            out.push(format!("{}: {words}", volume.get(kind).path));
        }
    }
    let grace = at.get("terminationGracePeriodSeconds");
    if grace.int() < 0 {
        out.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            grace.path
        ));
    }
    for secret in at.get("imagePullSecrets").items().filter(|s| s.peek_text("name").is_empty()) {
        out.push(format!("{}: invalid empty name \"\"", secret.get("name").path));
    }
    for list in ["initContainers", "containers"] {
        for container in at.get(list).items() {
            hidden_variables(&container.get("env"), &mut out);
            fractions(&container.get("resources"), &mut out);
        }
    }
    out
}

/// Of a name that stands twice, only the last counts; and `apply` may lose it.
fn hidden_variables(env: &At<'_>, out: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for variable in env.items() {
        let name = variable.peek_text("name");
        if seen.contains(&name) {
            out.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                variable.path,
                go_quote(name)
            ));
        }
        seen.push(name);
    }
}

/// `100m` of memory is a tenth of a byte: the suffix was meant to be `M`.
fn fractions(resources: &At<'_>, out: &mut Vec<String>) {
    for kind in ["limits", "requests"] {
        for name in ["memory", "ephemeral-storage"] {
            let amount: &Value = resources.peek(kind).get(name).unwrap_or(&Value::Null);
            if amounts::is_fraction(amount) {
                let path = resources.get(kind).path.key(name);
                let shown = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
                out.push(format!(
                    "{path}: fractional byte value {} is invalid, must be an integer",
                    go_quote(&shown)
                ));
            }
        }
    }
}
