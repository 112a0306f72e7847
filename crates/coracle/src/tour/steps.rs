//! The steps of the tour: what is typed, by whom, and what must come back.

/// Who types.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    /// The user, in front of kubectl.
    User,
    /// A shell in this Pod.
    InPod(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Expect {
    /// All of these are in the answer.
    Has(&'static [&'static str]),
    /// The answer is this line, whole.
    Is(&'static str),
    /// The command is a watch; it is ended once it says this.
    Until(&'static str),
    /// None of these is in the answer, which is not empty.
    Lacks(&'static [&'static str]),
}

impl Expect {
    pub(super) fn is_met_by(self, answer: &str) -> Result<(), String> {
        let missing =
            |words: &[&str]| words.iter().find(|w| !answer.contains(**w)).map(|w| format!("expected {w:?}"));
        let failed = match self {
            Expect::Has(words) => missing(words),
            Expect::Until(word) => missing(&[word]),
            Expect::Is(line) if answer.trim() == line => None,
            Expect::Is(line) => Some(format!("expected {line:?}")),
            Expect::Lacks(_) if answer.trim().is_empty() => Some("expected an answer".to_owned()),
            Expect::Lacks(words) => {
                words.iter().find(|w| answer.contains(**w)).map(|w| format!("did not expect {w:?}"))
            }
        };
        failed.map_or(Ok(()), Err)
    }
}

#[derive(Debug)]
pub(super) struct Step {
    /// Begins a part of the tour.
    pub title: Option<&'static str>,
    pub who: Who,
    pub words: &'static [&'static str],
    pub expect: Expect,
    /// What a check mark means here.
    pub says: &'static str,
}

impl Step {
    /// The command as a reader would type it.
    pub(super) fn shown(&self) -> String {
        self.words.join(" ").replace("{dir}/", "").replace("/coracle/coracle kubectl", "kubectl")
    }
}

/// The variables that the first article sets in the Pod's shell.
pub(super) const SHELL_VARIABLES: &str = "APISERVER=https://kubernetes.default.svc
SERVICEACCOUNT=/var/run/secrets/kubernetes.io/serviceaccount
NAMESPACE=$(cat ${SERVICEACCOUNT}/namespace 2>/dev/null)
TOKEN=$(cat ${SERVICEACCOUNT}/token 2>/dev/null)
CACERT=${SERVICEACCOUNT}/ca.crt";

/// The container of a Pod that a step is typed in.
pub(super) fn container(pod: &str) -> &str {
    if pod == "sidecar" { "app" } else { pod }
}

const fn user(words: &'static [&'static str], expect: Expect, says: &'static str) -> Step {
    Step { title: None, who: Who::User, words, expect, says }
}

const fn in_pod(
    pod: &'static str,
    words: &'static [&'static str],
    expect: Expect,
    says: &'static str,
) -> Step {
    Step { title: None, who: Who::InPod(pod), words, expect, says }
}

const fn part(title: &'static str, step: Step) -> Step {
    Step { title: Some(title), ..step }
}

const CURL: &str = "curl -sS --cacert ${CACERT} --header \"Authorization: Bearer ${TOKEN}\" -X GET";
const READY: Expect = Expect::Has(&["condition met"]);

pub(super) const STEPS: &[Step] = &[
    part(
        "A Pod, and who it is",
        user(
            &["run", "nginx", "--image=coracle.local/host"],
            Expect::Is("pod/nginx created"),
            "a Pod of this machine's own userland: no registry",
        ),
    ),
    user(
        &["get", "pods", "-o", "wide", "-w"],
        Expect::Until("Running"),
        "it runs, with an address of its own",
    ),
    in_pod(
        "nginx",
        &["ls /var/run/secrets/kubernetes.io/serviceaccount"],
        Expect::Has(&["ca.crt", "namespace", "token"]),
        "its credential is mounted",
    ),
    in_pod("nginx", &["echo $APISERVER"], Expect::Is("https://kubernetes.default.svc"), "where the API is"),
    in_pod("nginx", &["echo $NAMESPACE"], Expect::Is("default"), "which namespace it is in"),
    in_pod(
        "nginx",
        &["echo $TOKEN | cut -d. -f2 | tr '_-' '/+' | base64 -d 2>/dev/null"],
        Expect::Has(&["system:serviceaccount:default:default", "warnafter", "\"pod\":{\"name\":\"nginx\""]),
        "the token is bound to this Pod",
    ),
    in_pod(
        "nginx",
        &["echo $KUBERNETES_SERVICE_HOST"],
        Expect::Is("10.96.0.1"),
        "the Service's address is in the environment",
    ),
    part(
        "Calling the API",
        in_pod(
            "nginx",
            &[CURL, "${APISERVER}/api"],
            Expect::Has(&["\"kind\": \"APIVersions\"", "\"v1\"", "\"serverAddress\""]),
            "the name resolves, the certificate holds, the token is good",
        ),
    ),
    in_pod(
        "nginx",
        &[CURL, "${APISERVER}/api/v1/namespaces/default/pods"],
        Expect::Has(&[
            "\"code\": 403",
            r#"pods is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""#,
        ]),
        "known, but not allowed: the exact words",
    ),
    in_pod(
        "nginx",
        &[CURL, "${APISERVER}/api/v1/namespaces/"],
        Expect::Has(&[
            "\"code\": 403",
            r#"namespaces is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope"#,
        ]),
        "and nowhere else either",
    ),
    part(
        "A Role for the Pod",
        user(
            &["apply", "-f", "{dir}/role.yaml"],
            Expect::Is("role.rbac.authorization.k8s.io/demo-role created"),
            "what may be done",
        ),
    ),
    user(
        &["apply", "-f", "{dir}/role-binding.yaml"],
        Expect::Is("rolebinding.rbac.authorization.k8s.io/demo-role-binding created"),
        "and by whom",
    ),
    in_pod(
        "nginx",
        &[CURL, "${APISERVER}/api/v1/namespaces/$(cat ${SERVICEACCOUNT}/namespace)/pods", "| head -8"],
        Expect::Has(&["\"kind\": \"PodList\"", "\"apiVersion\": \"v1\""]),
        "in force at once, without a retry",
    ),
    user(
        &["apply", "-f", "{dir}/role.yaml"],
        Expect::Is("role.rbac.authorization.k8s.io/demo-role unchanged"),
        "the same again changes nothing",
    ),
    user(
        &["auth", "can-i", "list", "pods", "--as=system:serviceaccount:default:default"],
        Expect::Is("yes"),
        "the API says so, too",
    ),
    part(
        "Another service account",
        user(
            &["create", "serviceaccount", "demo-sa"],
            Expect::Is("serviceaccount/demo-sa created"),
            "an account of its own",
        ),
    ),
    user(
        &["apply", "-f", "{dir}/demo.yaml"],
        Expect::Is("pod/demo created"),
        "spec.serviceAccountName: demo-sa",
    ),
    user(&["wait", "--for=condition=Ready", "pod/demo"], READY, "it runs"),
    in_pod(
        "demo",
        &[CURL, "${APISERVER}/api/v1/namespaces/default/pods"],
        Expect::Has(&[r#"User \"system:serviceaccount:default:demo-sa\" cannot list"#]),
        "another name, other rights",
    ),
    part(
        "No credential at all",
        user(
            &["apply", "-f", "{dir}/no-token.yaml"],
            Expect::Is("pod/no-token created"),
            "spec.automountServiceAccountToken: false",
        ),
    ),
    user(&["wait", "--for=condition=Ready", "pod/no-token"], READY, "it runs"),
    in_pod(
        "no-token",
        &["ls /var/run/secrets/kubernetes.io 2>&1"],
        Expect::Has(&["No such file or directory"]),
        "nothing is mounted",
    ),
    part(
        "A client that finds all this by itself",
        user(&["apply", "-f", "{dir}/client.yaml"], Expect::Is("pod/client created"), "kubectl in a Pod"),
    ),
    user(&["wait", "--for=condition=Ready", "pod/client"], READY, "it runs"),
    in_pod(
        "client",
        &["/coracle/coracle kubectl get pods"],
        Expect::Has(&["NAME", "nginx", "client"]),
        "address, CA, token and namespace: nothing was configured",
    ),
    part(
        "kubectl proxy as a sidecar",
        user(
            &["apply", "-f", "{dir}/sidecar.yaml"],
            Expect::Is("pod/sidecar created"),
            "an app, and a proxy beside it",
        ),
    ),
    user(&["wait", "--for=condition=Ready", "pod/sidecar"], READY, "it runs"),
    in_pod(
        "sidecar",
        &["curl -sS http://localhost:8001/api/v1/namespaces/default/pods | head -8"],
        Expect::Has(&["PodList"]),
        "no token, no certificate: localhost is the API",
    ),
    in_pod(
        "sidecar",
        &["curl -sS -i http://localhost:8001//api/v1/namespaces/default/pods/nginx/exec?command=id"],
        Expect::Has(&["403 Forbidden"]),
        "but no way into other Pods",
    ),
    part(
        "The end",
        user(
            &["delete", "pods", "--all", "--grace-period=1"],
            Expect::Has(&["pod \"nginx\" deleted", "pod \"sidecar\" deleted"]),
            "gone",
        ),
    ),
    user(&["get", "pods"], Expect::Lacks(&["nginx"]), "nothing runs any more"),
];

/// The manifests of the articles.
pub(super) const FILES: &[(&str, &str)] = &[
    ("role.yaml", include_str!("manifests/role.yaml")),
    ("role-binding.yaml", include_str!("manifests/role-binding.yaml")),
    ("demo.yaml", include_str!("manifests/demo.yaml")),
    ("no-token.yaml", include_str!("manifests/no-token.yaml")),
    ("client.yaml", include_str!("manifests/client.yaml")),
    ("sidecar.yaml", include_str!("manifests/sidecar.yaml")),
];
