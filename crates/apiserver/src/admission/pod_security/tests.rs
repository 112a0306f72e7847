//! What each check says, and from which version on.

use serde_json::json;

use super::levels::Version;
use super::*;

fn said(level: Level, version: Version, pod: &Value) -> String {
    detail(&checks::violations(Bound { level, version }, subject(pod)))
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
    object::map_at_mut(&mut pod, &["spec"]).extend(spec.as_object().unwrap().clone());
    pod
}

/// One container's part of a spec.
fn container(rest: Value) -> Value {
    let mut container = json!({"name": "a"});
    object::map_mut(&mut container).extend(rest.as_object().unwrap().clone());
    json!({"containers": [container]})
}

#[test]
fn what_the_baseline_says() {
    let context = |context: Value| container(json!({"securityContext": context}));
    let cases = [
        (json!({}), ""),
        (json!({"hostNetwork": true, "hostPID": true}), "host namespaces (hostNetwork=true, hostPID=true)"),
        (json!({"volumes": [{"name": "v", "hostPath": {}}]}), "hostPath volumes (volume \"v\")"),
        (
            container(json!({"ports": [{"hostPort": 80}, {"hostPort": 443}]})),
            "hostPort (container \"a\" uses hostPorts 443, 80)",
        ),
        (
            container(
                json!({"livenessProbe": {"httpGet": {"host": "h"}}, "lifecycle": {"preStop": {"tcpSocket": {"host": "g"}}}}),
            ),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle hosts \"g\", \"h\")",
        ),
        (
            context(json!({"privileged": true})),
            "privileged (container \"a\" must not set securityContext.privileged=true)",
        ),
        (
            context(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_RAW"]}})),
            "non-default capabilities (container \"a\" must not include \"NET_RAW\", \"SYS_ADMIN\" in \
          securityContext.capabilities.add)",
        ),
        (
            context(json!({"procMount": "Unmasked"})),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"user": "u"}}}),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: user may not be set)",
        ),
        (
            context(json!({"seLinuxOptions": {"type": "foo", "role": "r"}})),
            "seLinuxOptions (container \"a\" set forbidden securityContext.seLinuxOptions: type \"foo\"; role may not be set)",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}, {"name": "kernel.shm"}]}}),
            "forbidden sysctls (kernel.shm)",
        ),
        (
            json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            context(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")",
        ),
    ];
    for (spec, want) in cases {
        assert_eq!(said(Level::Baseline, Version::Latest, &pod(spec)), want);
        assert_eq!(said(Level::Privileged, Version::Latest, &pod(json!({"hostPID": true}))), "");
    }
}

#[test]
fn what_the_restricted_level_says() {
    let hardened = json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "a", "securityContext":
            {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}]});
    let with = |key: &str, value: Value| {
        let mut spec = hardened.clone();
        spec[key] = value;
        spec
    };
    let container = &hardened["containers"][0];
    let mut root = container.clone();
    root["securityContext"]["runAsUser"] = json!(0);
    root["securityContext"]["runAsNonRoot"] = json!(false);
    let mut adding = container.clone();
    adding["securityContext"]["capabilities"] = json!({"add": ["CHOWN"]});
    let cases = [
        (hardened.clone(), ""),
        (
            json!({}),
            "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), \
          unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), \
          runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
          seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
          \"Localhost\")",
        ),
        (
            with(
                "volumes",
                json!([{"name": "v", "hostPath": {}}, {"name": "s", "secret": {}}, {"name": "n", "nfs": {}}]),
            ),
            "restricted volume types (volumes \"v\", \"n\" use restricted volume types \"hostPath\", \"nfs\")",
        ),
        (
            with("containers", json!([root])),
            "runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false), \
          runAsUser=0 (container \"a\" must not set runAsUser=0)",
        ),
        (
            with("containers", json!([adding])),
            "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]; \
          container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (with("hostIPC", json!(true)), "host namespaces (hostIPC=true)"),
        (
            with("securityContext", json!({"runAsNonRoot": true, "seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ];
    for (spec, want) in cases {
        assert_eq!(said(Level::Restricted, Version::Latest, &pod(spec)), want);
    }
}

#[test]
fn a_version_knows_what_was_known_then() {
    let set = |name: &str| pod(json!({"securityContext": {"sysctls": [{"name": name}]}}));
    let unmasked = pod(
        json!({"hostUsers": false, "containers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]}),
    );
    let windows = pod(json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}}));
    let mut annotated = pod(json!({}));
    annotated["metadata"]["annotations"] = json!({SECCOMP_OF_POD: "unconfined",
        "container.apparmor.security.beta.kubernetes.io/a": "unconfined"});
    let cases = [
        (Level::Baseline, 26, set("net.ipv4.ip_local_reserved_ports"), false),
        (Level::Baseline, 27, set("net.ipv4.ip_local_reserved_ports"), true),
        (Level::Baseline, 34, unmasked.clone(), false),
        (Level::Baseline, 35, unmasked.clone(), true),
        (Level::Restricted, 24, windows.clone(), false),
        (Level::Restricted, 25, windows, true),
        (Level::Baseline, 33, pod(container(json!({"startupProbe": {"tcpSocket": {"host": "h"}}}))), true),
        (Level::Baseline, 99, annotated.clone(), false),
    ];
    for (level, minor, pod, allowed) in cases {
        assert_eq!(said(level, Version::Minor(minor), &pod).is_empty(), allowed, "{level}:v1.{minor} {pod}");
    }
    let unmasked = said(Level::Restricted, Version::Minor(35), &unmasked);
    assert_eq!(unmasked.matches("procMount (").count(), 1, "{unmasked}");
    let seccomp = |minor| said(Level::Baseline, Version::Minor(minor), &annotated).contains("seccompProfile");
    assert_eq!((seccomp(18), seccomp(19)), (true, false));
    assert_eq!(
        said(Level::Baseline, Version::Latest, &annotated),
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
         \"container.apparmor.security.beta.kubernetes.io/a=\"unconfined\"\")"
    );
}

#[test]
fn labels_say_what_is_asked_for() {
    let of = |labels: Value| {
        let (policy, errs) = Policy::of(&json!({"metadata": {"labels": labels}}));
        let why: Vec<String> = errs.0.iter().map(ToString::to_string).collect();
        (format!("{} {} {}", policy.enforce, policy.audit, policy.warn), why.join(", "))
    };
    let none = (String::from("privileged:latest privileged:latest privileged:latest"), String::new());
    assert_eq!(of(json!({"a": "b"})), none);
    let asked = of(json!({"pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/enforce-version": "v1.30", "pod-security.kubernetes.io/warn": "restricted"}));
    assert_eq!(asked, ("baseline:v1.30 privileged:latest restricted:latest".into(), String::new()));
    let (policy, why) = of(json!({"pod-security.kubernetes.io/enforce": "strict",
        "pod-security.kubernetes.io/warn": "strict", "pod-security.kubernetes.io/audit-version": "v1.01"}));
    assert_eq!(policy, "restricted:latest privileged:latest privileged:latest");
    for words in [
        "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, \
         baseline, restricted",
        "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"v1.01\": must be \"latest\" or \
         \"v1.x\"",
    ] {
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn pods_of_which_the_same_is_to_be_said_are_told_together() {
    let named = |name: &str, spec: Value| {
        let mut pod = pod(spec);
        pod["metadata"]["name"] = json!(name);
        pod
    };
    let host = json!({"hostPID": true});
    let pods = [
        named("c", host.clone()),
        named("b", host.clone()),
        named("a", json!({})),
        named("d", host),
        named("e", json!({"volumes": [{"name": "v", "hostPath": {}}]})),
    ];
    let bound = Bound { level: Level::Baseline, version: Version::Latest };
    assert_eq!(
        existing("ns", bound, &pods),
        [
            "existing pods in namespace \"ns\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "b (and 2 other pods): host namespaces",
            "e: hostPath volumes",
        ]
    );
    assert!(existing("ns", bound, &pods[2..3]).is_empty());
}

#[test]
fn only_what_a_level_looks_at_matters_in_an_update() {
    let old = pod(container(json!({"image": "x"})));
    let image = pod(container(json!({"image": "y"})));
    let mut labelled = old.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let mut debugged = old.clone();
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "d"}]);
    assert!(matters(&image, &old) && matters(&debugged, &old) && !matters(&labelled, &old));
    assert!(!matters(&debugged, &debugged));
}
