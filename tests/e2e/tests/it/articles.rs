//! Both articles, step by step, with stock kubectl.

use std::io::Read;
use std::process::{Child, Stdio};

use coracle_testkit::{Answer, Cluster, Terminal, eventually, is_root};

const DENIED_PODS: &str = r#"{
  "kind": "Status",
  "apiVersion": "v1",
  "metadata": {},
  "status": "Failure",
  "message": "pods is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
  "reason": "Forbidden",
  "details": {
    "kind": "pods"
  },
  "code": 403
}"#;

const DENIED_NAMESPACES: &str = r#"{
  "kind": "Status",
  "apiVersion": "v1",
  "metadata": {},
  "status": "Failure",
  "message": "namespaces is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope",
  "reason": "Forbidden",
  "details": {
    "kind": "namespaces"
  },
  "code": 403
}"#;

pub(crate) const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  namespace: default
  name: demo-role
rules:
  - apiGroups: [""]
    resources: ["pods"]
    verbs: ["get", "list"]
"#;

pub(crate) const ROLE_BINDING: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  namespace: default
  name: demo-role-binding
subjects:
  - kind: ServiceAccount
    name: default
    apiGroup: ""
roleRef:
  kind: Role
  name: demo-role
  apiGroup: ""
"#;

/// The second article's request, with what follows the server's address.
pub(crate) fn curl(path: &str) -> String {
    format!(
        "curl -s --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt \
         -H \"Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)\" \
         https://kubernetes.default.svc{path}"
    )
}

fn in_pod(cluster: &Cluster, pod: &str, script: &str) -> Answer {
    cluster.kubectl(&["exec", pod, "--", "bash", "-c", script])
}

fn run_nginx(cluster: &Cluster) {
    let said = cluster.kubectl(&["run", "nginx", "--image=coracle.local/host"]).ok();
    assert_eq!(said, "pod/nginx created\n");
}

struct Watching {
    kubectl: Child,
    file: std::path::PathBuf,
}

impl Watching {
    fn start(cluster: &Cluster) -> Watching {
        let file = cluster.dir().join("watched");
        let mut command = cluster.kubectl_command(&["get", "pods", "-o", "wide", "-w"]);
        command.stdout(std::fs::File::create(&file).expect("a file in the cluster's directory"));
        command.stderr(Stdio::null());
        Watching { kubectl: command.spawn().expect("kubectl starts"), file }
    }

    fn lines(&self) -> Vec<String> {
        let mut text = String::new();
        std::fs::File::open(&self.file).and_then(|mut f| f.read_to_string(&mut text)).expect("readable");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

#[test]
fn a_watch_sees_the_pod_being_made_and_running() {
    if !is_root("watching a Pod") {
        return;
    }
    let cluster = Cluster::node();
    let watching = Watching::start(&cluster);
    // A watch that began after the Pod would prove nothing: an earlier object must be seen first.
    cluster.kubectl(&["run", "marker", "--image=coracle.local/host"]).ok();
    eventually("the watch is on", || {
        watching.lines().iter().any(|l| l.starts_with("marker")).then_some(()).ok_or("no line".into())
    });
    run_nginx(&cluster);
    let lines = eventually("the watch shows Running", || {
        let lines: Vec<_> = watching.lines().into_iter().filter(|l| l.starts_with("nginx")).collect();
        if lines.iter().any(|l| l.contains("Running")) { Ok(lines) } else { Err(lines.join("\n")) }
    });
    let columns: Vec<Vec<&str>> = lines.iter().map(|l| l.split_whitespace().collect()).collect();
    let at = |status: &str, ready: &str| columns.iter().position(|c| c[2] == status && c[1] == ready);
    let (making, running) = (at("ContainerCreating", "0/1"), at("Running", "1/1"));
    assert!(making.is_some() && making < running, "{lines:#?}");
    let running = &columns[running.expect("it is there")];
    assert_eq!(running[3], "0", "restarts: {lines:#?}");
    assert!(running[5].starts_with("10.244."), "address: {lines:#?}");
    assert_eq!(running[6..], ["node-1", "<none>", "<none>"]);
    assert_eq!(
        watching.lines()[0].split_whitespace().collect::<Vec<_>>().join(" "),
        "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
    );
}

#[test]
fn the_first_article_at_a_terminal() {
    if !is_root("the first article") {
        return;
    }
    let cluster = Cluster::node();
    run_nginx(&cluster);
    cluster.await_ready_pod("nginx");
    let mut terminal = Terminal::run(&cluster.kubectl_command(&["exec", "-it", "nginx", "--", "bash"]));
    let prompt = "root@nginx:/# ";
    terminal.expect(prompt);
    for line in [
        "APISERVER=https://kubernetes.default.svc",
        "SERVICEACCOUNT=/var/run/secrets/kubernetes.io/serviceaccount",
        "NAMESPACE=$(cat ${SERVICEACCOUNT}/namespace)",
        "TOKEN=$(cat ${SERVICEACCOUNT}/token)",
        "CACERT=${SERVICEACCOUNT}/ca.crt",
    ] {
        assert_eq!(terminal.ask(line, prompt), "", "{line}");
    }
    assert_eq!(terminal.ask("echo $APISERVER", prompt), "https://kubernetes.default.svc\n");
    assert_eq!(terminal.ask("echo $NAMESPACE", prompt), "default\n");
    assert_eq!(
        terminal.ask("echo $CACERT", prompt),
        "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt\n"
    );
    let token = terminal.ask("echo $TOKEN", prompt);
    assert_eq!(token.trim_end().split('.').count(), 3, "{token}");

    let ask = |path: &str| {
        format!(
            "curl -s --cacert ${{CACERT}} --header \"Authorization: Bearer ${{TOKEN}}\" -X GET ${{APISERVER}}{path}"
        )
    };
    let versions = terminal.ask(&ask("/api"), prompt);
    let versions: serde_json::Value =
        serde_json::from_str(&versions).unwrap_or_else(|e| panic!("{e}: {versions}"));
    assert_eq!(versions["kind"], "APIVersions");
    assert_eq!(versions["versions"], serde_json::json!(["v1"]));
    assert_eq!(versions["serverAddressByClientCIDRs"][0]["clientCIDR"], "0.0.0.0/0");
    assert_eq!(terminal.ask(&ask("/api/v1/namespaces/default/pods"), prompt), DENIED_PODS);
    assert_eq!(terminal.ask(&ask("/api/v1/namespaces/"), prompt), DENIED_NAMESPACES);

    terminal.type_keys("exit 7\r");
    assert_eq!(terminal.wait().code(), Some(7), "{}", terminal.screen());
}

#[test]
fn a_terminal_has_the_size_and_signals_of_the_users() {
    if !is_root("an interactive shell") {
        return;
    }
    let cluster = Cluster::node();
    run_nginx(&cluster);
    cluster.await_ready_pod("nginx");
    let mut terminal = Terminal::run(&cluster.kubectl_command(&["exec", "-it", "nginx", "--", "bash"]));
    let prompt = "root@nginx:/# ";
    terminal.expect(prompt);
    // kubectl sends the size beside the stream; the shell may be there first.
    eventually("the size arrives", || {
        let size = terminal.ask("stty size", prompt);
        if size == "50 400\n" { Ok(()) } else { Err(size) }
    });
    terminal.type_keys("sleep 1000\r");
    terminal.expect("sleep 1000");
    terminal.type_keys("\u{3}");
    terminal.expect("^C");
    terminal.expect(prompt);
    assert_eq!(terminal.ask("echo $?", prompt), "130\n");
    terminal.type_keys("\u{4}");
    // bash leaves with the status of its last command, which was echo.
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.screen());
}

#[test]
fn the_second_article() {
    if !is_root("the second article") {
        return;
    }
    let cluster = Cluster::node();
    run_nginx(&cluster);
    cluster.await_ready_pod("nginx");
    let service = in_pod(&cluster, "nginx", "echo $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT").ok();
    assert_eq!(service, "10.96.0.1 443\n");
    assert!(in_pod(&cluster, "nginx", &curl("/api")).ok().contains("\"kind\": \"APIVersions\""));
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(in_pod(&cluster, "nginx", &curl(pods)).ok(), DENIED_PODS);

    let role = "role.rbac.authorization.k8s.io/demo-role";
    assert_eq!(cluster.apply(ROLE), format!("{role} created\n"));
    assert_eq!(cluster.apply(ROLE), format!("{role} unchanged\n"));
    assert_eq!(in_pod(&cluster, "nginx", &curl(pods)).ok(), DENIED_PODS, "a role alone gives nothing");
    assert_eq!(
        cluster.apply(ROLE_BINDING),
        "rolebinding.rbac.authorization.k8s.io/demo-role-binding created\n"
    );
    let list = in_pod(&cluster, "nginx", &curl(pods)).ok();
    assert!(list.starts_with("{\n  \"kind\": \"PodList\",\n  \"apiVersion\": \"v1\","), "{list}");
    let own = "/api/v1/namespaces/$(cat /var/run/secrets/kubernetes.io/serviceaccount/namespace)/pods";
    let list: serde_json::Value =
        serde_json::from_str(&in_pod(&cluster, "nginx", &curl(own)).ok()).expect("JSON");
    assert_eq!(list["items"][0]["metadata"]["name"], "nginx");
    assert_eq!(in_pod(&cluster, "nginx", &curl("/api/v1/namespaces/")).ok(), DENIED_NAMESPACES);
    let failed = in_pod(&cluster, "nginx", "exit 3");
    assert_eq!(failed.code, 3, "{failed:?}");
    assert!(failed.stderr.contains("command terminated with exit code 3"), "{failed:?}");
}

/// A binding that is in force before its POST returns lets the very first request through: many times, without a retry.
#[test]
fn a_binding_is_in_force_when_its_post_returns() {
    if !is_root("bindings") {
        return;
    }
    const ROUNDS: usize = 10;
    let cluster = Cluster::node();
    run_nginx(&cluster);
    cluster.await_ready_pod("nginx");
    cluster.apply(ROLE);
    // One shell in the Pod makes the binding and asks in the same breath, with a token that may bind.
    cluster
        .kubectl(&[
            "create",
            "clusterrolebinding",
            "binder",
            "--clusterrole=admin",
            "--serviceaccount=default:binder",
        ])
        .ok();
    cluster.kubectl(&["create", "serviceaccount", "binder"]).ok();
    let token = cluster.kubectl(&["create", "token", "binder"]).ok();
    let binding = r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"b"},"subjects":[{"kind":"ServiceAccount","name":"default","namespace":"default"}],"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"demo-role"}}"#;
    let url = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let as_binder = format!(
        "curl -sf --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt -H 'Authorization: Bearer {}' \
         -H 'Content-Type: application/json' -o /dev/null https://kubernetes.default.svc{url}",
        token.trim()
    );
    let status = format!("{} -o /dev/null -w '%{{http_code}}\\n'", curl("/api/v1/namespaces/default/pods"));
    let script = format!(
        "set -e; for i in $(seq {ROUNDS}); do {status}; {as_binder} -d '{binding}'; {status}; {as_binder}/b -X DELETE; done; {status}"
    );
    let said = in_pod(&cluster, "nginx", &script).ok();
    assert_eq!(said, format!("{}403\n", "403\n200\n".repeat(ROUNDS)));
}

#[test]
fn accounts_are_chosen_and_refused() {
    if !is_root("service accounts in Pods") {
        return;
    }
    let cluster = Cluster::node();
    assert_eq!(
        cluster.kubectl(&["create", "serviceaccount", "demo-sa"]).ok(),
        "serviceaccount/demo-sa created\n"
    );
    cluster.kubectl(&["create", "serviceaccount", "shy"]).ok();
    let shy = r#"{"automountServiceAccountToken":false}"#;
    cluster.kubectl(&["patch", "serviceaccount", "shy", "-p", shy]).ok();
    let pod = |name: &str, spec: &str| {
        let container = "containers: [{name: main, image: coracle.local/host}]";
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  {container}\n  {spec}\n"
        ));
    };
    pod("chosen", "serviceAccountName: demo-sa");
    pod("without", "automountServiceAccountToken: false");
    pod("shy", "serviceAccountName: shy");
    pod(
        "insists",
        "{serviceAccountName: shy, automountServiceAccountToken: true}"
            .trim_matches(['{', '}'])
            .replace(", ", "\n  ")
            .as_str(),
    );
    for name in ["chosen", "without", "shy", "insists"] {
        cluster.await_ready_pod(name);
    }
    let denied = in_pod(&cluster, "chosen", &curl("/api/v1/namespaces/default/pods")).ok();
    assert!(denied.contains("system:serviceaccount:default:demo-sa"), "{denied}");
    let denied = in_pod(&cluster, "insists", &curl("/api/v1/namespaces/default/pods")).ok();
    assert!(denied.contains("system:serviceaccount:default:shy"), "{denied}");
    for name in ["without", "shy"] {
        let looked = in_pod(&cluster, name, "ls /var/run/secrets/kubernetes.io; cat /proc/mounts");
        assert!(looked.stderr.contains("No such file or directory"), "{looked:?}");
        assert!(looked.stdout.contains("/etc/hosts"), "the mounts were not read: {looked:?}");
        assert!(!looked.stdout.contains("serviceaccount"), "{looked:?}");
        let asked =
            in_pod(&cluster, name, "curl -sk https://kubernetes.default.svc/api/v1/namespaces/default/pods")
                .ok();
        assert!(asked.contains("system:anonymous"), "{asked}");
    }
}

#[test]
fn kubectl_proxy_on_the_host() {
    let cluster = Cluster::api_only();
    let mut command = cluster.kubectl_command(&["proxy", "--port=0"]);
    let file = cluster.dir().join("proxy");
    command.stdout(std::fs::File::create(&file).expect("a file in the cluster's directory"));
    let mut proxy = command.spawn().expect("kubectl starts");
    let address = eventually("the proxy listens", || {
        let said = std::fs::read_to_string(&file).unwrap_or_default();
        said.trim().strip_prefix("Starting to serve on ").map(str::to_owned).ok_or(said)
    });
    let mut curl = std::process::Command::new("curl");
    curl.args(["-s", &format!("http://{address}/api/")]);
    let answer = Answer::of(curl);
    let _ = proxy.kill();
    let _ = proxy.wait();
    assert_eq!(answer.json()["kind"], "APIVersions");
}

/// What the v3 documents do not help kubectl with, it looks up in the v2 document, as protobuf.
#[test]
fn lists_and_reviews_pass_kubectls_validation() {
    let cluster = Cluster::api_only();
    let list = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"}}]}"#;
    assert_eq!(cluster.apply(list), "configmap/one created\n");
    let review = r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}"#;
    let answer = cluster.kubectl_input(&["create", "-o", "json"], review).json();
    assert_eq!(answer["status"]["allowed"], true);
    // It is read, not only received: a field that no schema has is named.
    let wrong = review.replace("\"spec\"", "\"sepc\"");
    let refused = cluster.kubectl_input(&["create"], &wrong);
    assert!(refused.stderr.contains("unknown field \"sepc\""), "{refused:?}");
}
