//! Pods and Pod templates in tables. A Pod's STATUS sums up everything that its containers are going through.

use serde_json::{Value, json};

use super::cell::{NONE, age, ago, containers, has_true_condition, labels, name, number, string, text_or};
use super::{AGE, Column, Columns, NAME, Now, Print, text as column};
use crate::object::{at, is_deleting, items, text};

/// The reason of a Pod whose node stopped answering.
const NODE_LOST: &str = "NodeLost";

pub static POD: Pod = Pod;

#[derive(Debug)]
pub struct Pod;

static COLUMNS: [Column; 9] = [
    NAME,
    column("Ready"),
    column("Status"),
    column("Restarts"),
    AGE,
    Column::wide("IP"),
    Column::wide("Node"),
    Column::wide("Nominated Node"),
    Column::wide("Readiness Gates"),
];

impl Print for Pod {
    fn columns(&self) -> &[Column] {
        &COLUMNS
    }

    fn cells(&self, pod: &Value, now: Now) -> Vec<Value> {
        let sum = summarize(pod);
        let restarts = if sum.restarts != 0 && !sum.last_restart.is_empty() {
            format!("{} ({} ago)", sum.restarts, ago(sum.last_restart, now))
        } else {
            sum.restarts.to_string()
        };
        let first_ip = items(pod, &["status", "podIPs"]).first().unwrap_or(&Value::Null);
        vec![
            name(pod),
            string(format!("{}/{}", sum.ready, sum.total)),
            string(sum.reason),
            string(restarts),
            age(pod, now),
            string(text_or(first_ip, &["ip"], NONE)),
            string(text_or(pod, &["spec", "nodeName"], NONE)),
            string(text_or(pod, &["status", "nominatedNodeName"], NONE)),
            string(readiness_gates(pod)),
        ]
    }

    fn condition(&self, pod: &Value) -> Option<Value> {
        let (reason, message) = match text(pod, &["status", "phase"]) {
            "Succeeded" => ("Succeeded", "The pod has completed successfully."),
            "Failed" => ("Failed", "The pod failed."),
            _ => return None,
        };
        Some(json!({"type": "Completed", "status": "True", "reason": reason, "message": message}))
    }
}

struct Summary<'a> {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: &'a str,
}

impl<'a> Summary<'a> {
    /// Counts a container's restarts and remembers when the last one was.
    fn count_restarts(&mut self, status: &'a Value) {
        self.restarts += number(status, &["restartCount"]);
        let finished = text(status, &["lastState", "terminated", "finishedAt"]);
        if finished > self.last_restart {
            self.last_restart = finished;
        }
    }
}

fn summarize(pod: &Value) -> Summary<'_> {
    let phase = text(pod, &["status", "phase"]);
    let gated = items(pod, &["status", "conditions"])
        .iter()
        .any(|c| text(c, &["type"]) == "PodScheduled" && text(c, &["reason"]) == "SchedulingGated");
    let restartable = items(pod, &["spec", "initContainers"]).iter().filter(|c| restarts_always(c)).count();
    let mut sum = Summary {
        reason: if gated { "SchedulingGated" } else { text_or(pod, &["status", "reason"], phase) }.to_owned(),
        ready: 0,
        total: items(pod, &["spec", "containers"]).len() + restartable,
        restarts: 0,
        last_restart: "",
    };
    let sidecars = init_containers(pod, &mut sum);
    if let Some(mut sidecars) = sidecars {
        main_containers(pod, &mut sidecars);
        sum = sidecars;
    }
    let finished = matches!(phase, "Succeeded" | "Failed");
    if is_deleting(pod) && text(pod, &["status", "reason"]) == NODE_LOST {
        "Unknown".clone_into(&mut sum.reason);
    } else if is_deleting(pod) && !finished {
        "Terminating".clone_into(&mut sum.reason);
    }
    sum
}

fn restarts_always(container: &Value) -> bool {
    text(container, &["restartPolicy"]) == "Always"
}

/// Sums up the init containers. Where they are through, yields a summary that counts the sidecars only.
fn init_containers<'a>(pod: &'a Value, sum: &mut Summary<'a>) -> Option<Summary<'a>> {
    let mut sidecars =
        Summary { reason: String::new(), ready: 0, total: sum.total, restarts: 0, last_restart: "" };
    let specs = items(pod, &["spec", "initContainers"]);
    let mut initializing = false;
    for (i, status) in items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
        sum.count_restarts(status);
        let name = text(status, &["name"]);
        let sidecar = specs.iter().any(|c| text(c, &["name"]) == name && restarts_always(c));
        if sidecar {
            sidecars.count_restarts(status);
        }
        let terminated = at(status, &["state", "terminated"]);
        if !terminated.is_null() && number(terminated, &["exitCode"]) == 0 {
            continue;
        }
        if sidecar && at(status, &["started"]) == true {
            sum.ready += usize::from(at(status, &["ready"]) == true);
            continue;
        }
        let waiting = text(status, &["state", "waiting", "reason"]);
        sum.reason = if !terminated.is_null() {
            format!("Init:{}", end_of(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{i}/{}", specs.len())
        };
        initializing = true;
        break;
    }
    (!initializing || has_true_condition(pod, "Initialized")).then(|| {
        sidecars.reason.clone_from(&sum.reason);
        sidecars.ready = sum.ready;
        sidecars
    })
}

/// How a container ended: its reason, or its signal, or its exit code.
fn end_of(terminated: &Value) -> String {
    let reason = text(terminated, &["reason"]);
    let signal = number(terminated, &["signal"]);
    match () {
        () if !reason.is_empty() => reason.to_owned(),
        () if signal != 0 => format!("Signal:{signal}"),
        () => format!("ExitCode:{}", number(terminated, &["exitCode"])),
    }
}

fn main_containers<'a>(pod: &'a Value, sum: &mut Summary<'a>) {
    let mut running = false;
    // The first container has the last word.
    for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
        sum.count_restarts(status);
        let waiting = text(status, &["state", "waiting", "reason"]);
        let terminated = at(status, &["state", "terminated"]);
        if !waiting.is_empty() {
            waiting.clone_into(&mut sum.reason);
        } else if !terminated.is_null() {
            sum.reason = end_of(terminated);
        } else if at(status, &["ready"]) == true && !at(status, &["state", "running"]).is_null() {
            running = true;
            sum.ready += 1;
        }
    }
    if sum.reason == "Completed" && running {
        let reason = if has_true_condition(pod, "Ready") { "Running" } else { "NotReady" };
        reason.clone_into(&mut sum.reason);
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|g| has_true_condition(pod, text(g, &["conditionType"]))).count();
    format!("{open}/{}", gates.len())
}

pub static POD_TEMPLATE: Columns = Columns {
    columns: &[NAME, column("Containers"), column("Images"), column("Pod Labels")],
    cells: |obj, _| {
        let [names, images] = containers(at(obj, &["template", "spec"]));
        vec![name(obj), names, images, labels(at(obj, &["template", "metadata", "labels"]))]
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, ready, status and restarts of a Pod with the containers `a` and `b`, at second 100.
    fn check(status: Value, deleting: bool, want: [&str; 3]) {
        let mut pod = json!({
            "metadata": {"name": "p", "creationTimestamp": "1970-01-01T00:00:40Z"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]},
            "status": status,
        });
        if deleting {
            pod["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:01:00Z");
        }
        let cells = POD.cells(&pod, Now::At(100));
        assert_eq!(cells.len(), POD.columns().len());
        assert_eq!(&cells[1..4], &want.map(Value::from), "{pod}");
        assert_eq!(cells[4], "60s");
    }

    fn ran(n: i64, state: Value) -> Value {
        json!({"restartCount": n, "ready": !state["running"].is_null(), "state": state, "lastState":
            if n > 0 { json!({"terminated": {"finishedAt": "1970-01-01T00:01:35Z"}}) } else { json!({}) }})
    }

    #[test]
    fn says_what_a_pod_is_going_through() {
        let running = json!({"running": {}});
        let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        check(json!({"phase": "Pending"}), false, ["0/3", "Pending", "0"]);
        check(json!({"phase": "Pending"}), true, ["0/3", "Terminating", "0"]);
        check(json!({"phase": "Failed", "reason": "Evicted"}), true, ["0/3", "Evicted", "0"]);
        check(json!({"phase": "Running", "reason": "NodeLost"}), true, ["0/3", "Unknown", "0"]);
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let two = |a: Value, b: Value| json!({"phase": "Running", "containerStatuses": [a, b]});
        check(
            two(ran(0, waiting("ContainerCreating")), ran(0, running.clone())),
            false,
            ["1/3", "ContainerCreating", "0"],
        );
        check(
            two(ran(3, waiting("CrashLoopBackOff")), ran(0, running.clone())),
            false,
            ["1/3", "CrashLoopBackOff", "3 (5s ago)"],
        );
        check(two(ran(0, running.clone()), ran(0, running.clone())), false, ["2/3", "Running", "0"]);
        check(two(ran(0, done.clone()), ran(0, running.clone())), false, ["1/3", "NotReady", "0"]);
        check(
            two(ran(0, json!({"terminated": {"exitCode": 3}})), ran(0, running.clone())),
            false,
            ["1/3", "ExitCode:3", "0"],
        );
        check(
            two(ran(0, json!({"terminated": {"exitCode": 137, "signal": 9}})), ran(0, running.clone())),
            false,
            ["1/3", "Signal:9", "0"],
        );
        let gated = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]});
        check(gated, false, ["0/3", "SchedulingGated", "0"]);
    }

    #[test]
    fn counts_init_containers_and_sidecars() {
        let init = |a: Value, b: Value| json!({"phase": "Pending", "initContainerStatuses": [a, b]});
        let named = |name: &str, mut v: Value| {
            v["name"] = json!(name);
            v
        };
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        let failed = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        check(
            init(named("i", ran(0, json!({"running": {}}))), named("s", ran(0, waiting("PodInitializing")))),
            false,
            ["0/3", "Init:0/2", "0"],
        );
        check(
            init(named("i", ran(0, done.clone())), named("s", ran(0, waiting("ErrImagePull")))),
            false,
            ["0/3", "Init:ErrImagePull", "0"],
        );
        check(
            init(named("i", ran(2, failed)), named("s", ran(0, waiting("PodInitializing")))),
            false,
            ["0/3", "Init:Error", "2 (5s ago)"],
        );
        let mut sidecar = named("s", ran(1, json!({"running": {}})));
        sidecar["started"] = json!(true);
        check(init(named("i", ran(2, done)), sidecar), false, ["1/3", "Pending", "1 (5s ago)"]);
    }
}
