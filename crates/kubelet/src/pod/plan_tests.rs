//! Tables of what is planned in which situation.

use coracle_runtime::{PodAddress, SandboxState, SandboxStatus};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::super::Backoff;
use super::super::observed::{Probed, Waiting};
use super::*;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(crate) fn sandbox(id: &str, attempt: u32, state: SandboxState) -> SandboxStatus {
    SandboxStatus {
        id: id.into(),
        name: "p".into(),
        namespace: "n".into(),
        uid: "u".into(),
        attempt,
        state,
        created_at: at(0),
        address: PodAddress { ips: vec!["10.244.0.2".parse().unwrap()] },
        labels: Default::default(),
        annotations: Default::default(),
    }
}

/// `NAME/ATTEMPT` followed by `running`, `created` or an exit code.
pub(crate) fn container(sandbox: &str, name: &str, attempt: u32, state: &str) -> ContainerStatus {
    let (state, exit_code) = match state {
        "running" => (ContainerState::Running, 0),
        "created" => (ContainerState::Created, 0),
        code => (ContainerState::Exited, code.parse().unwrap()),
    };
    let exited = state == ContainerState::Exited;
    ContainerStatus {
        id: format!("{name}-{attempt}"),
        sandbox_id: sandbox.into(),
        name: name.into(),
        attempt,
        state,
        created_at: at(1),
        started_at: Some(at(2)),
        finished_at: exited.then(|| at(3)),
        exit_code,
        reason: if !exited {
            String::new()
        } else if exit_code == 0 {
            "Completed".into()
        } else {
            "Error".into()
        },
        message: String::new(),
        image: "img".into(),
        image_ref: "img@sha256:1".into(),
        pid: 1,
        log_path: Default::default(),
        labels: Default::default(),
        annotations: [(IMAGE_ANNOTATION.to_owned(), "img".to_owned())].into(),
        mounts: Vec::new(),
    }
}

pub(crate) fn pod(spec: Value) -> Pod {
    let mut value = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec});
    if let Some(deleted) = value["spec"].as_object_mut().unwrap().remove("DELETED") {
        value["metadata"]["deletionTimestamp"] = deleted;
    }
    serde_json::from_value(value).unwrap()
}

pub(crate) fn observed(containers: Vec<ContainerStatus>) -> Observed {
    let mut observed = Observed {
        sandboxes: vec![sandbox("s0", 0, SandboxState::Ready)],
        containers,
        started: Some(at(0)),
        ..Observed::default()
    };
    observed.sort();
    observed
}

fn check(spec: Value, observed: &Observed, want: Expect) {
    let plan = plan(&pod(spec), observed, at(5));
    let mut text: String = plan.steps.iter().map(|step| format!("{step:?}\n")).collect();
    if let Some(wake) = plan.wake {
        text += &format!("wake at {}\n", wake.as_second());
    }
    if plan.termination != Termination::None {
        text += &format!("{:?}\n", plan.termination);
    }
    want.assert_eq(&text);
}

fn one(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "img"}]})
}

#[test]
fn a_new_pod_gets_a_sandbox_and_then_its_containers() {
    check(
        one("Always"),
        &Observed::default(),
        expect![[r#"
        RunSandbox { attempt: 0 }
    "#]],
    );
    check(
        one("Always"),
        &observed(vec![]),
        expect![[r#"
        Start { container: "c", role: Main, attempt: 0 }
    "#]],
    );
    check(one("Always"), &observed(vec![container("s0", "c", 0, "running")]), expect![""]);
}

#[test]
fn restart_policies() {
    let failed = observed(vec![container("s0", "c", 0, "1")]);
    let succeeded = observed(vec![container("s0", "c", 0, "0")]);
    let plan = |policy: &str, observed: &Observed| {
        plan(&pod(one(policy)), observed, at(5))
            .steps
            .iter()
            .map(|step| format!("{step:?}"))
            .collect::<String>()
    };
    let again = "Start { container: \"c\", role: Main, attempt: 1 }";
    for (policy, observed, want) in [
        ("Always", &failed, again),
        ("Always", &succeeded, again),
        ("OnFailure", &failed, again),
        ("OnFailure", &succeeded, "KillPod"),
        ("Never", &failed, "KillPod"),
        ("Never", &succeeded, "KillPod"),
    ] {
        assert_eq!(plan(policy, observed), want, "{policy}");
    }
}

#[test]
fn a_finished_pod_whose_sandbox_is_stopped_has_ended() {
    let mut done = observed(vec![container("s0", "c", 0, "0")]);
    done.sandboxes[0].state = SandboxState::NotReady;
    check(
        one("Never"),
        &done,
        expect![[r#"
        Ended
    "#]],
    );
}

#[test]
fn a_lost_sandbox_is_made_again() {
    let mut lost = observed(vec![container("s0", "c", 0, "running")]);
    lost.sandboxes[0].state = SandboxState::NotReady;
    check(
        one("Always"),
        &lost,
        expect![[r#"
        KillPod
        RunSandbox { attempt: 1 }
    "#]],
    );
    let mut anew = observed(vec![container("s0", "c", 0, "137")]);
    anew.sandboxes.insert(0, sandbox("s1", 1, SandboxState::Ready));
    check(
        one("Always"),
        &anew,
        expect![[r#"
        RemoveSandbox { id: "s0" }
        Start { container: "c", role: Main, attempt: 1 }
    "#]],
    );
}

#[test]
fn crashes_back_off() {
    let mut crashing = observed(vec![container("s0", "c", 1, "1"), container("s0", "c", 0, "1")]);
    let mut backoff = Backoff::default();
    backoff.next(at(2), at(2));
    crashing.backoffs.insert("c".into(), backoff);
    check(
        one("Always"),
        &crashing,
        expect![[r#"
        BackOff { container: "c", role: Main, until: 1970-01-01T00:00:13Z }
        wake at 13
    "#]],
    );
    // One that could not be started shows why for a moment.
    let waiting = Waiting { reason: "RunContainerError".into(), message: String::new(), until: Some(at(12)) };
    crashing.waiting.insert("c".into(), waiting);
    check(
        one("Always"),
        &crashing,
        expect![[r#"
        wake at 12
    "#]],
    );
}

#[test]
fn init_containers_run_one_after_the_other() {
    let spec = json!({"restartPolicy": "Always", "containers": [{"name": "c", "image": "img"}],
        "initContainers": [{"name": "i1", "image": "img"}, {"name": "i2", "image": "img"}]});
    check(
        spec.clone(),
        &observed(vec![]),
        expect![[r#"
        Start { container: "i1", role: Init, attempt: 0 }
    "#]],
    );
    check(spec.clone(), &observed(vec![container("s0", "i1", 0, "running")]), expect![""]);
    check(
        spec.clone(),
        &observed(vec![container("s0", "i1", 0, "0")]),
        expect![[r#"
        Start { container: "i2", role: Init, attempt: 0 }
    "#]],
    );
    check(
        spec.clone(),
        &observed(vec![container("s0", "i1", 0, "2")]),
        expect![[r#"
        Start { container: "i1", role: Init, attempt: 1 }
    "#]],
    );
    let both = vec![container("s0", "i1", 0, "0"), container("s0", "i2", 0, "0")];
    check(
        spec.clone(),
        &observed(both),
        expect![[r#"
        Start { container: "c", role: Main, attempt: 0 }
    "#]],
    );
    let mut never = spec;
    never["restartPolicy"] = json!("Never");
    check(
        never,
        &observed(vec![container("s0", "i1", 0, "2")]),
        expect![[r#"
        KillPod
        Ending
    "#]],
    );
}

#[test]
fn sidecars_start_first_stay_up_and_do_not_keep_the_pod_alive() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "img"}],
        "initContainers": [{"name": "s", "image": "img", "restartPolicy": "Always"}]});
    check(
        spec.clone(),
        &observed(vec![]),
        expect![[r#"
        Start { container: "s", role: Sidecar, attempt: 0 }
    "#]],
    );
    let mut starting = observed(vec![container("s0", "s", 0, "running")]);
    starting.probed.insert("s-0".into(), Probed { started: Some(false), ..Probed::default() });
    check(spec.clone(), &starting, expect![""]);
    check(
        spec.clone(),
        &observed(vec![container("s0", "s", 0, "running")]),
        expect![[r#"
        Start { container: "c", role: Main, attempt: 0 }
    "#]],
    );
    let crashed = vec![container("s0", "s", 0, "0"), container("s0", "c", 0, "running")];
    check(
        spec.clone(),
        &observed(crashed),
        expect![[r#"
        Start { container: "s", role: Sidecar, attempt: 1 }
    "#]],
    );
    let done = vec![container("s0", "s", 0, "running"), container("s0", "c", 0, "0")];
    check(
        spec,
        &observed(done),
        expect![[r#"
        KillPod
        Ending
    "#]],
    );
}

#[test]
fn a_changed_image_and_a_failed_probe_kill_the_container() {
    let running = observed(vec![container("s0", "c", 0, "running")]);
    let newer = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "img:2"}]});
    check(
        newer,
        &running,
        expect![[r#"
        Kill { id: "c-0", container: "c", message: "Container c definition changed, will be restarted" }
        Start { container: "c", role: Main, attempt: 1 }
    "#]],
    );
    let mut unwell = running;
    unwell.probed.insert("c-0".into(), Probed { failed: Some("liveness"), ..Probed::default() });
    check(
        one("Always"),
        &unwell,
        expect![[r#"
        Kill { id: "c-0", container: "c", message: "Container c failed liveness probe, will be restarted" }
    "#]],
    );
    check(
        one("Never"),
        &unwell,
        expect![[r#"
        Kill { id: "c-0", container: "c", message: "Container c failed liveness probe" }
    "#]],
    );
}

#[test]
fn deletion_and_deadline_end_the_pod() {
    let running = observed(vec![container("s0", "c", 0, "running")]);
    let mut deleted = one("Always");
    deleted["DELETED"] = json!("2026-01-01T00:00:00Z");
    check(
        deleted.clone(),
        &running,
        expect![[r#"
        KillPod
        Ending
    "#]],
    );
    check(
        deleted,
        &Observed::default(),
        expect![[r#"
        Ended
    "#]],
    );
    let mut late = one("Always");
    late["activeDeadlineSeconds"] = json!(30);
    check(
        late.clone(),
        &running,
        expect![[r#"
        wake at 30
    "#]],
    );
    late["activeDeadlineSeconds"] = json!(5);
    check(
        late,
        &running,
        expect![[r#"
        Fail(Failure { reason: "DeadlineExceeded", message: "Pod was active on the node longer than the specified deadline" })
    "#]],
    );
}

#[test]
fn what_never_ran_is_made_again_and_old_attempts_are_forgotten() {
    check(
        one("Always"),
        &observed(vec![container("s0", "c", 0, "created")]),
        expect![[r#"
        Forget { id: "c-0" }
        Start { container: "c", role: Main, attempt: 0 }
    "#]],
    );
    let many =
        (0..3).map(|attempt| container("s0", "c", attempt, "1")).chain([container("s0", "c", 3, "running")]);
    check(
        one("Always"),
        &observed(many.collect()),
        expect![[r#"
        Forget { id: "c-1" }
        Forget { id: "c-0" }
    "#]],
    );
}

#[test]
fn a_container_that_the_runtime_has_lost_counts_on_and_a_job_does_not_run_twice() {
    let lost = |policy: &str| {
        let mut pod = pod(one(policy));
        pod.status = serde_json::from_value(json!({"phase": "Running", "containerStatuses": [
            {"name": "c", "image": "img", "imageID": "", "ready": true, "restartCount": 2, "containerID": "coracle://gone"}]}))
        .unwrap();
        plan(&pod, &observed(vec![]), at(5)).steps
    };
    assert_eq!(lost("Always"), [Step::Start { container: "c".into(), role: Role::Main, attempt: 3 }]);
    assert_eq!(lost("Never"), [Step::KillPod]);
}
