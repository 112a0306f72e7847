//! Where images come from: a registry with an account, and archives taken in while the cluster runs. And what a user
//! sees of an image or a command that is no good.

use std::path::Path;

use coracle_testkit::{Answer, Cluster, eventually, is_root};

const REGISTRY: &str = "/usr/bin/docker-registry";
/// The registry's one account, with its line in the password file (bcrypt, the least cost).
const ACCOUNT: (&str, &str) = ("robot", "correct horse");
const HTPASSWD: &str = "robot:$2b$04$UvJw8d8PCAldO17X.ShsweACOFBmrh/KhiIcBX.Ew5y7P9f6isBzu\n";
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/push_image.py");

/// A protected registry on the cluster's machine, with the image `web:v1`: its address, and the image's digest.
fn registry(cluster: &Cluster) -> (String, String) {
    let dir = cluster.dir();
    std::fs::write(dir.join("htpasswd"), HTPASSWD).expect("the directory can be written");
    let config = serde_json::json!({"version": "0.1", "http": {"addr": "127.0.0.1:0"},
        "storage": {"filesystem": {"rootdirectory": dir.join("registry")}},
        "auth": {"htpasswd": {"realm": "test", "path": dir.join("htpasswd")}}});
    std::fs::write(dir.join("registry.yml"), config.to_string()).expect("the directory can be written");
    let log = dir.join("registry.log");
    let mut command = cluster.machine().command(REGISTRY);
    command.arg("serve").arg(dir.join("registry.yml"));
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&log).expect("the directory can be written"));
    // It ends with the cluster's machine.
    cluster.machine().spawn(command);
    let address = eventually("the registry listens", || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let address = said.split_once("listening on ").and_then(|(_, rest)| rest.split(['"', ' ']).next());
        address.map(str::to_owned).ok_or(said)
    });
    let mut push = cluster.machine().command("python3");
    let account = format!("{}:{}", ACCOUNT.0, ACCOUNT.1);
    push.args([PROGRAM, "push", &format!("http://{address}"), &account]);
    let digest = Answer::of(push).ok().trim().to_owned();
    (address, digest)
}

fn pod(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
         spec: {{containers: [{{name: main, image: \"{image}\"}}], {more}}}\n"
    )
}

/// Wait until the STATUS column of `get pods` says `status`.
fn await_status(cluster: &Cluster, pod: &str, status: &str) {
    eventually(&format!("{pod} is {status}"), || {
        let line = cluster.kubectl(&["get", "pod", pod, "--no-headers"]).ok();
        let found = line.split_whitespace().nth(2) == Some(status);
        found.then_some(()).ok_or(line)
    });
}

fn await_log(cluster: &Cluster, pod: &str) {
    cluster.await_ready_pod(pod);
    eventually("the image's own command runs as it asks", || {
        let said = cluster.kubectl(&["logs", pod]).ok();
        (said == "hello from /made/here as 33\n").then_some(()).ok_or(said)
    });
}

#[test]
fn a_protected_registry_needs_a_pull_secret() {
    if !is_root("pulling images") || !Path::new(REGISTRY).exists() {
        eprintln!("skipped: needs root and docker-registry");
        return;
    }
    let cluster = Cluster::node();
    let (address, digest) = registry(&cluster);
    let image = format!("{address}/web:v1");
    cluster.apply(&pod("refused", &image, ""));
    await_status(&cluster, "refused", "ErrImagePull");
    await_status(&cluster, "refused", "ImagePullBackOff");
    let told = cluster.kubectl(&["describe", "pod", "refused"]).ok();
    for line in [
        format!("Pulling image \"{image}\""),
        format!("Failed to pull image \"{image}\": "),
        "authorization failed".into(),
        "Error: ErrImagePull".into(),
        format!("Back-off pulling image \"{image}\""),
        "Error: ImagePullBackOff".into(),
    ] {
        assert!(told.contains(&line), "{line}\n{told}");
    }
    cluster.kubectl(&["delete", "pod", "refused", "--now"]).ok();
    let server = format!("--docker-server={address}");
    let (user, password) =
        (format!("--docker-username={}", ACCOUNT.0), format!("--docker-password={}", ACCOUNT.1));
    cluster.kubectl(&["create", "secret", "docker-registry", "account", &server, &user, &password]).ok();
    cluster.kubectl(&["create", "serviceaccount", "puller"]).ok();
    let secrets = "imagePullSecrets: [{name: account}]";
    cluster
        .kubectl(&[
            "patch",
            "serviceaccount",
            "puller",
            "-p",
            r#"{"imagePullSecrets": [{"name": "account"}]}"#,
        ])
        .ok();
    cluster.apply(&pod("by-pod", &image, secrets));
    cluster.apply(&pod("by-account", &format!("{address}/web@{digest}"), "serviceAccountName: puller"));
    cluster.apply(&pod("missing", &format!("{address}/web:v2"), secrets));
    await_log(&cluster, "by-pod");
    await_log(&cluster, "by-account");
    await_status(&cluster, "missing", "ImagePullBackOff");
    let told = cluster.kubectl(&["describe", "pod", "missing"]).ok();
    assert!(told.contains(&format!("failed to pull image \"{address}/web:v2\": not found")), "{told}");
}

#[test]
fn an_imported_image_is_there_at_once() {
    if !is_root("importing images") {
        return;
    }
    let cluster = Cluster::node();
    let mut write = cluster.machine().command("python3");
    write.args([PROGRAM, "write"]).arg(cluster.dir());
    Answer::of(write).ok();
    for (archive, name) in [("layout", "from-layout"), ("saved.tar", "from-archive")] {
        let mut import = cluster.machine().command(coracle_testkit::coracle());
        import.args(["image", "import"]).arg(cluster.dir().join(archive));
        import.arg("--data-dir").arg(cluster.data_dir());
        assert_eq!(Answer::of(import).ok(), format!("imported docker.io/library/{name}:1\n"));
        cluster.apply(&pod(name, &format!("{name}:1"), ""));
        await_log(&cluster, name);
    }
}

const TROUBLED: [(&str, &str, &str); 8] = [
    ("name", "{image: UPPER}", "InvalidImageName"),
    ("never", "{image: 'absent:1', imagePullPolicy: Never}", "ErrImageNeverPull"),
    (
        "key",
        "{image: coracle.local/host, env: [{name: A, valueFrom: {configMapKeyRef: {name: kube-root-ca.crt, key: absent}}}]}",
        "CreateContainerConfigError",
    ),
    ("command", "{image: coracle.local/host, command: [no-such]}", "CrashLoopBackOff"),
    ("crash", "{image: coracle.local/host, command: ['false']}", "CrashLoopBackOff"),
    ("once-command", "{image: coracle.local/host, command: [no-such]}", "StartError"),
    ("once-error", "{image: coracle.local/host, command: ['false']}", "Error"),
    ("once-done", "{image: coracle.local/host, command: ['true']}", "Completed"),
];

#[test]
fn a_pod_in_trouble_says_which() {
    if !is_root("running containers") {
        return;
    }
    let cluster = Cluster::node();
    for (name, container, _) in TROUBLED {
        let policy = if name.starts_with("once") { "Never" } else { "Always" };
        let container = container.replacen('{', "{name: main, ", 1);
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
             spec: {{restartPolicy: {policy}, containers: [{container}]}}\n"
        ));
    }
    for (name, _, status) in TROUBLED {
        await_status(&cluster, name, status);
    }
    let told = cluster.kubectl(&["describe", "pods"]).ok();
    for line in [
        "couldn't parse image name \"UPPER\": invalid reference format: repository name (library/UPPER) must be lowercase",
        "Container image \"absent:1\" is not present with pull policy of Never",
        "Error: couldn't find key absent in ConfigMap default/kube-root-ca.crt",
        "exec: \"no-such\": executable file not found in $PATH",
        "Back-off restarting failed container main in pod crash_default",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}
