//! Stock clients inside of a Pod, with nothing configured: refused before the RoleBinding, served by the first request
//! after it, and served on while the token in their mount is replaced.
//!
//! Each client is one process for a whole test. It lists Pods once for every line that it is given, so that no answer
//! can come from a retry.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use coracle_testkit::{
    Cluster, Options, PATIENCE, clients_dir, coracle, is_root, kubectl, stopwatch, workspace,
};
use serde_json::{Value, json};

const POD: &str = "clients";
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const FORBIDDEN: &str = r#"pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "default""#;
const PYTHON: &str = "PYTHONPATH=/client/python exec /usr/bin/python3 /client/programs/list_pods.py";
const JAVASCRIPT: &str = "exec /usr/bin/node /client/programs/list_pods.mjs";
const KUBE: &str = "exec /client/bin/list-pods";

/// What the second article types. It reads the token anew each time.
const CURL: &str = r#"while read -r _; do
  curl -sS \
    --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt \
    -H "Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)" \
    https://kubernetes.default.svc/api/v1/namespaces/$(cat /var/run/secrets/kubernetes.io/serviceaccount/namespace)/pods |
    tr -d '\n'; echo
done"#;

/// What the first article types. The shell keeps the token that it has read at first.
const CURL_VARIABLES: &str = r#"APISERVER=https://kubernetes.default.svc
SERVICEACCOUNT=/var/run/secrets/kubernetes.io/serviceaccount
NAMESPACE=$(cat ${SERVICEACCOUNT}/namespace)
TOKEN=$(cat ${SERVICEACCOUNT}/token)
CACERT=${SERVICEACCOUNT}/ca.crt
while read -r _; do
  curl -sS --cacert ${CACERT} --header "Authorization: Bearer ${TOKEN}" -X GET ${APISERVER}/api/v1/namespaces/default/pods |
    tr -d '\n'; echo
done"#;

/// A new process for each list, as at a prompt.
const KUBECTL: &str =
    r#"while read -r _; do /client/kubectl get pods -o name 2>&1 | tr '\n' ' '; echo; done"#;

/// One process with client-go's own cache of the token.
const KUBECTL_PROXY: &str = r#"/client/kubectl proxy >/dev/null & trap "kill $!" EXIT
until curl -sf -o /dev/null http://localhost:8001/version; do sleep 0.1; done
while read -r _; do curl -sS http://localhost:8001/api/v1/namespaces/default/pods | tr -d '\n'; echo; done"#;

/// The same of this program.
const CORACLE_KUBECTL: &str =
    r#"while read -r _; do /client/coracle kubectl get pods -o name 2>&1 | tr '\n' ' '; echo; done"#;
const CORACLE_PROXY: &str = r#"/client/coracle proxy --port=8002 >/dev/null & trap "kill $!" EXIT
until curl -sf -o /dev/null http://localhost:8002/version; do sleep 0.1; done
while read -r _; do curl -sS http://localhost:8002/api/v1/namespaces/default/pods | tr -d '\n'; echo; done"#;

/// Clients that read the token again at least once a minute.
const LASTING: &[(&str, &str)] = &[
    ("curl", CURL),
    ("python", PYTHON),
    ("javascript", JAVASCRIPT),
    ("kube", KUBE),
    ("kubectl", KUBECTL),
    ("kubectl proxy", KUBECTL_PROXY),
    ("coracle kubectl", CORACLE_KUBECTL),
    ("coracle proxy", CORACLE_PROXY),
];

/// Clients keep a token for up to a minute, and the kubelet replaces it when a fifth of its life is left: that fifth has
/// to cover what a busy machine takes, for verifiers accept a token for a minute after its end.
const TOKEN_SECONDS: u64 = 60;
const LEEWAY_SECONDS: u64 = 60;
/// The second replacement comes after 96 s at the latest, the first token's end after 120 s.
const ROTATION_PATIENCE: Duration = Duration::from_secs(TOKEN_SECONDS + LEEWAY_SECONDS + 60);
const PAUSE: Duration = Duration::from_secs(2);

const ROLE: &str = r#"
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

const ROLE_BINDING: &str = r#"
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

/// A client that runs in the Pod.
struct Lister {
    name: &'static str,
    exec: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl Lister {
    fn start(cluster: &Cluster, name: &'static str, script: &str) -> Lister {
        let mut command = cluster.kubectl_command(&["exec", "-i", POD, "--", "sh", "-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut exec = command.spawn().expect("kubectl can be run");
        let requests = exec.stdin.take().expect("standard input is piped");
        let said = BufReader::new(exec.stdout.take().expect("standard output is piped"));
        let (sender, answers) = channel();
        std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Lister { name, exec, requests, answers }
    }

    /// One request, and what it was answered: `PodList NAMES` or `CODE MESSAGE`.
    #[track_caller]
    fn list(&mut self) -> String {
        writeln!(self.requests, "list").unwrap_or_else(|e| panic!("{} has ended: {e}", self.name));
        let answer = self.answers.recv_timeout(PATIENCE);
        in_few_words(&answer.unwrap_or_else(|e| panic!("{} does not answer: {e}", self.name)))
    }

    /// The client ends by itself at the end of its input: it was the same process all along.
    fn end(mut self) {
        drop(self.requests);
        let status = self.exec.wait().expect("a child can be waited for");
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}

/// Answers in the client's own form, JSON or kubectl's words, in the form of the others.
fn in_few_words(answer: &str) -> String {
    if let Ok(object) = serde_json::from_str::<Value>(answer) {
        if object["kind"] == "Status" {
            return format!("{} {}", object["code"], object["message"].as_str().unwrap_or_default());
        }
        let names = object["items"].as_array().into_iter().flatten();
        let names: Vec<&str> = names.filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
        return format!("{} {}", object["kind"].as_str().unwrap_or_default(), names.join(" "));
    }
    if let Some(message) = answer.strip_prefix("Error from server (Forbidden): ") {
        return format!("403 {}", message.trim_end());
    }
    match answer.strip_prefix("pod/") {
        Some(names) => format!("PodList {}", names.replace("pod/", "").trim_end()),
        None => answer.to_owned(),
    }
}

/// A Pod of the machine's own userland with the clients beside it, and not a word about the API.
fn start_pod(cluster: &Cluster) {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_list-pods"));
    let mounts = [
        ("programs", workspace().join("tests/e2e/programs"), "/client/programs"),
        ("python", clients_dir().join("python"), "/client/python"),
        ("javascript", clients_dir().join("js/node_modules"), "/client/node_modules"),
        ("kube", program.parent().expect("it is in a directory").to_owned(), "/client/bin"),
        ("kubectl", kubectl().canonicalize().expect("the link leads to kubectl"), "/client/kubectl"),
        ("coracle", coracle(), "/client/coracle"),
    ];
    let volumes = mounts.each_ref().map(|(name, path, _)| json!({"name": name, "hostPath": {"path": path}}));
    let mounts =
        mounts.each_ref().map(|(name, _, at)| json!({"name": name, "mountPath": at, "readOnly": true}));
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD},
        "spec": {
            "containers": [{"name": POD, "image": "coracle.local/host", "volumeMounts": mounts}],
            "volumes": volumes,
        },
    });
    cluster.apply(&pod.to_string());
    cluster.await_ready_pod(POD);
}

#[test]
fn every_client_is_let_in_by_the_role_binding_at_once() {
    if !is_root("every_client_is_let_in_by_the_role_binding_at_once") {
        return;
    }
    let cluster = Cluster::node();
    start_pod(&cluster);
    let clients = LASTING.iter().chain(&[("curl with variables", CURL_VARIABLES)]);
    let mut clients: Vec<Lister> =
        clients.map(|(name, script)| Lister::start(&cluster, name, script)).collect();
    for client in &mut clients {
        assert_eq!(client.list(), format!("403 {FORBIDDEN}"), "{}", client.name);
    }
    cluster.apply(ROLE);
    for client in &mut clients {
        assert_eq!(client.list(), format!("403 {FORBIDDEN}"), "{}: a Role alone binds nobody", client.name);
        // Made for each client anew: each one's first request after the answer counts.
        cluster.kubectl_input(&["create"], ROLE_BINDING).ok();
        assert_eq!(client.list(), format!("PodList {POD}"), "{}", client.name);
        cluster.kubectl(&["delete", "rolebinding", "demo-role-binding"]).ok();
        assert_eq!(client.list(), format!("403 {FORBIDDEN}"), "{}: taken away again", client.name);
    }
    clients.into_iter().for_each(Lister::end);
}

#[test]
fn every_client_goes_on_through_token_rotations() {
    if !is_root("every_client_goes_on_through_token_rotations") {
        return;
    }
    let flags = vec!["--service-account-max-token-expiration".to_owned(), TOKEN_SECONDS.to_string()];
    let cluster = Cluster::start(Options { ephemeral: true, flags, ..Options::default() });
    cluster.apply(ROLE);
    cluster.apply(ROLE_BINDING);
    start_pod(&cluster);
    let mut clients: Vec<Lister> =
        LASTING.iter().map(|(name, script)| Lister::start(&cluster, name, script)).collect();
    let mut keeper = Lister::start(&cluster, "curl with variables", CURL_VARIABLES);
    assert_eq!(keeper.list(), format!("PodList {POD}"));
    let start = stopwatch();
    let mut tokens: Vec<String> = Vec::new();
    loop {
        let token = cluster.exec(POD, POD, &["cat", TOKEN_FILE]).ok();
        if tokens.last() != Some(&token) {
            tokens.push(token);
        }
        for client in &mut clients {
            assert_eq!(
                client.list(),
                format!("PodList {POD}"),
                "{} with token {}",
                client.name,
                tokens.len()
            );
        }
        // The one that never reads its token again shows when the first one has come to its end.
        let kept = keeper.list();
        if kept == "401 Unauthorized" && tokens.len() > 2 {
            break;
        }
        let so_far = format!("{} tokens, the first is answered {kept}", tokens.len());
        assert!(start.elapsed() < ROTATION_PATIENCE, "no rotation within {ROTATION_PATIENCE:?}: {so_far}");
        std::thread::sleep(PAUSE);
    }
    // Not a client may still hold the token that is refused by now.
    for client in &mut clients {
        assert_eq!(client.list(), format!("PodList {POD}"), "{}", client.name);
    }
    keeper.end();
    clients.into_iter().for_each(Lister::end);
}
