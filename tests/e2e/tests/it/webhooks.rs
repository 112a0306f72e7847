//! Webhooks as users run them: in a Pod behind a Service, or in a process of the host that a URL names; the good ones,
//! and those that fail in every way, each judged by its failure policy and none of them holding anything up.

mod admission;
mod conversion;

use std::process::Stdio;

use coracle_testkit::{Cluster, eventually, workspace};
use serde_json::{Value, json};

use crate::certificates::Authority;

/// The ports of the program, and so of its Service.
const GOOD: u16 = 8443;
/// Its certificate's time is over.
const EXPIRED: u16 = 8444;
/// Its certificate is for another name.
const NAMED: u16 = 8445;
/// It does not speak TLS.
const PLAIN: u16 = 8446;
/// Nobody listens.
const NOBODY: u16 = 8450;

const SERVICE: &str = "hooks";
const SERVICE_NAME: &str = "hooks.default.svc";

/// Where the webhook program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pod,
    Host,
}

/// The webhook program of a cluster, running.
struct Webhook {
    place: Place,
    authority: Authority,
    /// Who signed nothing.
    stranger: Authority,
}

impl Webhook {
    fn start(cluster: &Cluster, place: Place) -> Webhook {
        let authority = Authority::new();
        let dir = cluster.dir().join("certificates");
        authority.issue(&[SERVICE_NAME, "127.0.0.1"]).write(&dir.join("good"));
        authority.issue_expired(&[SERVICE_NAME, "127.0.0.1"]).write(&dir.join("expired"));
        authority.issue(&["other.example"]).write(&dir.join("named"));
        match place {
            Place::Pod => start_pod(cluster),
            Place::Host => start_process(cluster),
        }
        Webhook { place, authority, stranger: Authority::new() }
    }

    /// `clientConfig` of a configuration.
    fn client_config(&self, port: u16, path: &str) -> Value {
        let bundle = self.authority.bundle();
        match self.place {
            Place::Pod => json!({"caBundle": bundle, "service":
                {"namespace": "default", "name": SERVICE, "port": port, "path": path}}),
            Place::Host => json!({"caBundle": bundle, "url": self.url(port, path)}),
        }
    }

    /// As messages name it.
    fn url(&self, port: u16, path: &str) -> String {
        match self.place {
            Place::Pod => format!("https://{SERVICE_NAME}:{port}{path}"),
            Place::Host => format!("https://127.0.0.1:{port}{path}"),
        }
    }
}

/// What the program is told: a directory of certificates for each port.
fn listeners(dir: &str) -> [String; 4] {
    [
        format!("{GOOD}={dir}/good"),
        format!("{EXPIRED}={dir}/expired"),
        format!("{NAMED}={dir}/named"),
        format!("{PLAIN}="),
    ]
}

fn start_process(cluster: &Cluster) {
    let log = cluster.dir().join("webhook.log");
    let dir = cluster.dir().join("certificates");
    let mut command = cluster.machine().command("python3");
    command.arg(workspace().join("tests/e2e/programs/webhook.py")).arg("127.0.0.1");
    command.args(listeners(&dir.display().to_string())).stdin(Stdio::null());
    command.stdout(std::fs::File::create(&log).expect("the directory can be written"));
    // It ends with the cluster's machine.
    cluster.machine().spawn(command);
    eventually("the webhook listens", || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        if said.starts_with("ready") { Ok(()) } else { Err(said) }
    });
}

fn start_pod(cluster: &Cluster) {
    let dir = cluster.dir().join("certificates");
    let certificates = ["good", "expired", "named"];
    for name in certificates {
        let file = |end: &str| dir.join(name).join(end).display().to_string();
        let (cert, key) = (format!("--cert={}", file("tls.crt")), format!("--key={}", file("tls.key")));
        cluster.kubectl(&["create", "secret", "tls", name, &cert, &key]).ok();
    }
    let mut mounts = vec![json!({"name": "program", "mountPath": "/programs", "readOnly": true})];
    let mut volumes =
        vec![json!({"name": "program", "hostPath": {"path": workspace().join("tests/e2e/programs")}})];
    for name in certificates {
        mounts.push(json!({"name": name, "mountPath": format!("/certificates/{name}")}));
        volumes.push(json!({"name": name, "secret": {"secretName": name}}));
    }
    let mut command: Vec<String> =
        ["/usr/bin/python3", "/programs/webhook.py", "0.0.0.0"].map(str::to_owned).into();
    command.extend(listeners("/certificates"));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": SERVICE, "labels": {"app": SERVICE}},
        "spec": {"volumes": volumes, "containers": [{"name": SERVICE, "image": "coracle.local/host",
            "command": command, "volumeMounts": mounts, "readinessProbe": {"periodSeconds": 1,
                "httpGet": {"scheme": "HTTPS", "port": GOOD, "path": "/ready"}}}]}});
    let ports = [GOOD, EXPIRED, NAMED, PLAIN, NOBODY].map(|p| json!({"name": format!("p{p}"), "port": p}));
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE},
        "spec": {"selector": {"app": SERVICE}, "ports": ports}});
    cluster.apply(&pod.to_string());
    cluster.apply(&service.to_string());
    cluster.await_ready_pod(SERVICE);
    eventually("the Service has its endpoint", || {
        let of = format!("kubernetes.io/service-name={SERVICE}");
        let addresses = "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses}";
        let found = cluster.kubectl(&["get", "endpointslices", "-l", &of, "-o", addresses]).ok();
        if found.contains("10.244.") { Ok(()) } else { Err(found) }
    });
}
