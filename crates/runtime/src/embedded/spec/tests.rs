//! Specifications of typical containers.

use std::collections::BTreeMap;

use expect_test::expect;

use super::*;
use crate::{Mount, Propagation, Resources, SecurityContext};

fn planned(sandbox: SandboxConfig, container: ContainerConfig, config: Value) -> Result<Planned, String> {
    let image = json!({"architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": []}});
    plan(&Plan {
        sandbox: &sandbox,
        container: &container,
        image: &serde_json::from_value(image).unwrap(),
        accounts: &Accounts::default(),
        hierarchy: &Hierarchy::V1(vec![("memory".into(), "/sys/fs/cgroup/memory".into())]),
        cgroup: "/coracle/pod/container",
        pause_pid: 42,
        sandbox_dir: Path::new("/run/s"),
        bundle: Path::new("/run/s/c/1"),
        binds: &[],
        available: u64::MAX,
    })
}

fn spec(sandbox: SandboxConfig, container: ContainerConfig, config: Value) -> Value {
    let planned = planned(sandbox, container, config).unwrap();
    // libcontainer must be able to read what is written.
    let _: oci_spec::runtime::Spec = serde_json::from_value(planned.spec.clone()).unwrap();
    planned.spec
}

fn image() -> Value {
    json!({"Entrypoint": ["/entry"], "Cmd": ["one", "two"], "Env": ["A=image", "B=image"], "WorkingDir": "/work"})
}

#[test]
fn command_and_args_replace_as_the_api_says() {
    let check = |command: &[&str], args: &[&str]| {
        let strings = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        let container =
            ContainerConfig { command: strings(command), args: strings(args), ..Default::default() };
        spec(SandboxConfig::default(), container, image())["process"]["args"].to_string()
    };
    expect![[r#"["/entry","one","two"]"#]].assert_eq(&check(&[], &[]));
    expect![[r#"["/entry","x"]"#]].assert_eq(&check(&[], &["x"]));
    expect![[r#"["sh"]"#]].assert_eq(&check(&["sh"], &[]));
    expect![[r#"["sh","x"]"#]].assert_eq(&check(&["sh"], &["x"]));
    let error = planned(SandboxConfig::default(), ContainerConfig::default(), json!({})).err().unwrap();
    expect!["no command specified"].assert_eq(&error);
}

#[test]
fn environment_is_the_images_overlaid_by_the_containers() {
    let env = [("B", "pod"), ("C", "first"), ("C", "second")];
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sandbox = SandboxConfig { hostname: "pod-1".into(), ..Default::default() };
    let spec = spec(sandbox, ContainerConfig { env, ..Default::default() }, image());
    expect![[
        r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","HOME=/root","HOSTNAME=pod-1","A=image","B=pod","C=second"]"#
    ]]
    .assert_eq(&spec["process"]["env"].to_string());
}

#[test]
fn an_ordinary_container_is_confined() {
    let spec = spec(SandboxConfig::default(), ContainerConfig::default(), image());
    expect![[r#"[{"type":"mount"},{"type":"cgroup"},{"type":"network","path":"/proc/42/ns/net"},{"type":"uts","path":"/proc/42/ns/uts"},{"type":"ipc","path":"/proc/42/ns/ipc"},{"type":"pid"}]"#]]
        .assert_eq(&spec["linux"]["namespaces"].to_string());
    expect![[r#"{"devices":[{"allow":false,"access":"rwm"}]}"#]]
        .assert_eq(&spec["linux"]["resources"].to_string());
    assert_eq!(spec["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(spec["linux"]["maskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
    let sys = spec["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == "/sys").unwrap();
    assert!(sys["options"].as_array().unwrap().contains(&json!("ro")));
    assert_eq!(spec["process"]["noNewPrivileges"], Value::Null);
}

#[test]
fn a_privileged_container_is_not() {
    let security = SecurityContext { privileged: true, no_new_privileges: true, ..Default::default() };
    let sandbox = SandboxConfig { host_network: true, host_pid: true, host_ipc: true, ..Default::default() };
    let spec = spec(sandbox, ContainerConfig { security, ..Default::default() }, image());
    expect![[r#"[{"type":"mount"},{"type":"cgroup"}]"#]].assert_eq(&spec["linux"]["namespaces"].to_string());
    assert_eq!(spec["linux"]["seccomp"], Value::Null);
    assert_eq!(spec["linux"]["maskedPaths"], json!([]));
    assert_eq!(spec["process"]["noNewPrivileges"], Value::Null);
}

#[test]
fn limits_become_resources() {
    let resources = Resources {
        cpu_shares: Some(102),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        memory_limit: Some(64 << 20),
        pids_limit: Some(100),
        oom_score_adj: Some(999),
    };
    let spec = spec(SandboxConfig::default(), ContainerConfig { resources, ..Default::default() }, image());
    expect![[r#"{"devices":[{"allow":false,"access":"rwm"}],"cpu":{"shares":102,"quota":50000,"period":100000},"memory":{"limit":67108864},"pids":{"limit":100}}"#]]
        .assert_eq(&spec["linux"]["resources"].to_string());
}

#[test]
fn volumes_are_staged_and_mounted_outer_first() {
    let mount = |host: &str, container: &str, readonly| Mount {
        host_path: host.into(),
        container_path: container.into(),
        readonly,
        ..Default::default()
    };
    let mounts = vec![mount("/v/inner", "/data/inner", false), mount("/v/outer", "/data", true)];
    let planned =
        planned(SandboxConfig::default(), ContainerConfig { mounts, ..Default::default() }, image()).unwrap();
    let sources: BTreeMap<_, _> = planned.staged.iter().map(|staged| (&staged.at, &staged.source)).collect();
    expect![[r#"
        {
            "/run/s/c/1/volumes/0": "/v/outer",
            "/run/s/c/1/volumes/1": "/v/inner",
        }
    "#]]
    .assert_debug_eq(&sources);
    let last = &planned.spec["mounts"].as_array().unwrap().iter().rev().take(2).collect::<Vec<_>>();
    expect![[r#"[{"type":"bind","source":"/run/s/c/1/volumes/1","destination":"/data/inner","options":["rbind"]},{"type":"bind","source":"/run/s/c/1/volumes/0","destination":"/data","options":["rbind","rro"]}]"#]]
        .assert_eq(&json!(last).to_string());
}

#[test]
fn what_cannot_be_mounted_is_refused() {
    let check = |host: &str, container: &str, sub_path: &str| {
        let mount = Mount {
            host_path: host.into(),
            container_path: container.into(),
            sub_path: Some(sub_path.into()),
            readonly: false,
            propagation: Propagation::None,
        };
        let container = ContainerConfig { mounts: vec![mount], ..Default::default() };
        planned(SandboxConfig::default(), container, image()).err().unwrap()
    };
    expect![[r#"cannot mount at "/": it must be an absolute path other than /, without "..""#]]
        .assert_eq(&check("/v", "/", ""));
    expect![[r#"cannot mount at "/a/../../b": it must be an absolute path other than /, without "..""#]]
        .assert_eq(&check("/v", "/a/../../b", ""));
    expect![[r#"subPath Some("../x") must be relative and without "..""#]]
        .assert_eq(&check("/v", "/a", "../x"));
}
