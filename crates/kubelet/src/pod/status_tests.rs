//! What users see of a Pod in which situation.

use coracle_runtime::SandboxState;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::super::observed::{Failure, Probed, Waiting};
use super::super::plan::tests::{at, container, observed, pod};
use super::*;

fn state(status: &ContainerStatus) -> String {
    let state = status.state.clone().unwrap_or_default();
    let now = if let Some(waiting) = state.waiting {
        waiting.reason.unwrap_or_default()
    } else if let Some(terminated) = state.terminated {
        format!("{}({})", terminated.reason.unwrap_or_default(), terminated.exit_code)
    } else {
        "running".to_owned()
    };
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let last = last.map(|last| format!(" after {}", last.exit_code)).unwrap_or_default();
    let ready = if status.ready { " ready" } else { "" };
    format!("{}: {now}{last} x{}{ready}\n", status.name, status.restart_count)
}

fn check(spec: Value, observed: &Observed, termination: Termination, want: Expect) {
    let status = pod_status(&pod(spec), observed, termination, at(9));
    let mut text = status.phase.unwrap_or_default();
    for condition in status.conditions.iter().flatten() {
        let reason = condition.reason.as_deref().map(|reason| format!("({reason})")).unwrap_or_default();
        text += &format!(" {}={}{reason}", condition.type_, condition.status);
    }
    text += "\n";
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    text.extend(all.map(state));
    want.assert_eq(&text);
}

fn one(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "img"}]})
}

#[test]
fn from_pending_to_running() {
    check(
        one("Always"),
        &Observed::default(),
        Termination::None,
        expect![[r#"
        Pending PodReadyToStartContainers=False Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady)
        c: ContainerCreating x0
    "#]],
    );
    check(
        one("Always"),
        &observed(vec![container("s0", "c", 0, "running")]),
        Termination::None,
        expect![[r#"
        Running PodReadyToStartContainers=True Initialized=True Ready=True ContainersReady=True
        c: running x0 ready
    "#]],
    );
    let mut unready = observed(vec![container("s0", "c", 0, "running")]);
    unready.probed.insert("c-0".into(), Probed { ready: Some(false), ..Probed::default() });
    check(
        one("Always"),
        &unready,
        Termination::None,
        expect![[r#"
        Running PodReadyToStartContainers=True Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady)
        c: running x0
    "#]],
    );
}

#[test]
fn a_crash_loop_stays_running_and_shows_the_last_end() {
    let mut crashing = observed(vec![container("s0", "c", 1, "7"), container("s0", "c", 0, "1")]);
    let waiting = Waiting { reason: "CrashLoopBackOff".into(), message: String::new(), until: None };
    crashing.waiting.insert("c".into(), waiting);
    check(
        one("Always"),
        &crashing,
        Termination::None,
        expect![[r#"
        Running PodReadyToStartContainers=True Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady)
        c: CrashLoopBackOff after 7 x1
    "#]],
    );
}

#[test]
fn an_image_that_cannot_be_pulled() {
    let mut stuck = observed(vec![]);
    let waiting = Waiting { reason: "ImagePullBackOff".into(), message: String::new(), until: None };
    stuck.waiting.insert("c".into(), waiting);
    check(
        one("Always"),
        &stuck,
        Termination::None,
        expect![[r#"
        Pending PodReadyToStartContainers=True Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady)
        c: ImagePullBackOff x0
    "#]],
    );
}

#[test]
fn ends() {
    let mut done = observed(vec![container("s0", "c", 0, "0")]);
    check(
        one("Never"),
        &done,
        Termination::Ending,
        expect![[r#"
        Running PodReadyToStartContainers=True Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady)
        c: Completed(0) x0
    "#]],
    );
    done.sandboxes[0].state = SandboxState::NotReady;
    check(
        one("Never"),
        &done,
        Termination::Ended,
        expect![[r#"
        Succeeded PodReadyToStartContainers=False Initialized=True(PodCompleted) Ready=False(PodCompleted) ContainersReady=False(PodCompleted)
        c: Completed(0) x0
    "#]],
    );
    let mut failed = observed(vec![container("s0", "c", 0, "3")]);
    failed.sandboxes[0].state = SandboxState::NotReady;
    check(
        one("Never"),
        &failed,
        Termination::Ended,
        expect![[r#"
        Failed PodReadyToStartContainers=False Initialized=True Ready=False(PodFailed) ContainersReady=False(PodFailed)
        c: Error(3) x0
    "#]],
    );
    let late = Observed {
        failure: Some(Failure { reason: "DeadlineExceeded".into(), message: String::new() }),
        ..Observed::default()
    };
    check(
        one("Always"),
        &late,
        Termination::Ended,
        expect![[r#"
        Failed PodReadyToStartContainers=False Initialized=True Ready=False(PodFailed) ContainersReady=False(PodFailed)
        c: ContainerStatusUnknown(137) x0
    "#]],
    );
}

#[test]
fn init_containers_hold_the_phase() {
    let spec = json!({"restartPolicy": "Always", "containers": [{"name": "c", "image": "img"}],
        "initContainers": [{"name": "i", "image": "img"}]});
    check(
        spec.clone(),
        &observed(vec![container("s0", "i", 0, "running")]),
        Termination::None,
        expect![[r#"
        Pending PodReadyToStartContainers=True Initialized=False(ContainersNotInitialized) Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady)
        i: running x0
        c: PodInitializing x0
    "#]],
    );
    let both = vec![container("s0", "i", 0, "0"), container("s0", "c", 0, "running")];
    check(
        spec,
        &observed(both),
        Termination::None,
        expect![[r#"
        Running PodReadyToStartContainers=True Initialized=True Ready=True ContainersReady=True
        i: Completed(0) x0 ready
        c: running x0 ready
    "#]],
    );
}

#[test]
fn a_condition_keeps_the_time_of_its_last_change() {
    let mut pod = pod(one("Always"));
    let running = observed(vec![container("s0", "c", 0, "running")]);
    let first = pod_status(&pod, &Observed::default(), Termination::None, at(1));
    pod.status = Some(first);
    let second = pod_status(&pod, &running, Termination::None, at(2));
    let times: Vec<i64> = second
        .conditions
        .unwrap()
        .iter()
        .map(|it| it.last_transition_time.as_ref().unwrap().0.as_second())
        .collect();
    assert_eq!(times, [2, 1, 2, 2], "Initialized was true before");
}
