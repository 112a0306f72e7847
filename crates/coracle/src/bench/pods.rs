//! How soon a Pod runs, and how soon its program has had an answer from the API.

use std::time::Duration;

use anyhow::{Context, bail};
use coracle_clock::Clock;
use serde_json::{Value, json};

use super::client::{Api, Watch};
use super::cluster::Cluster;
use super::median;
use super::report::Report;

const PODS: &str = "/api/v1/namespaces/default/pods";
const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";
/// A Pod that has not come so far by then never will.
const POD_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// What a program in a Pod does first, as the Kubernetes documentation has it; then it says what time it is.
const FIRST_CALL: &str = "D=/var/run/secrets/kubernetes.io/serviceaccount
until curl -sf -o /dev/null --cacert $D/ca.crt -H \"Authorization: Bearer $(cat $D/token)\" https://kubernetes.default.svc/api
do :; done
date +%s%N";

pub(crate) async fn measure(
    cluster: &Cluster,
    clock: &Clock,
    runs: u16,
    report: &mut Report,
) -> anyhow::Result<()> {
    let pods = Pods { api: &cluster.api, clock };
    let prepared = clock.timeout(POD_TIMEOUT, pods.prepare()).await;
    prepared.context("the namespace default has no service account")?;
    let (mut running, mut called) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let running_in = clock.timeout(POD_TIMEOUT, pods.time_to_running(run)).await;
        running.push(running_in.context("a Pod did not become Running")??);
        let called_in = clock.timeout(POD_TIMEOUT, pods.time_to_first_call(run)).await;
        called.push(called_in.context("a Pod had no answer from the API")??);
    }
    report.time("Pod created to Running", median(running), Some(300.0));
    report.time("Pod created to its first authenticated call", median(called), Some(500.0));
    Ok(())
}

struct Pods<'a> {
    api: &'a Api,
    clock: &'a Clock,
}

impl Pods<'_> {
    async fn prepare(&self) {
        while self.api.get_bytes(ACCOUNT).await.is_err() {
            self.clock.sleep(POLL).await;
        }
    }

    async fn time_to_running(&self, run: u16) -> anyhow::Result<Duration> {
        let name = format!("runs-{run}");
        let mut watch = self.watch(&name).await?;
        let began = self.clock.elapsed();
        self.api.post(PODS, &pod(&name, "sleep 3600")).await?;
        until_phase(&mut watch, "Running").await?;
        let took = self.clock.elapsed() - began;
        self.remove(&name, &mut watch).await?;
        Ok(took)
    }

    async fn time_to_first_call(&self, run: u16) -> anyhow::Result<Duration> {
        let name = format!("calls-{run}");
        let mut watch = self.watch(&name).await?;
        let began = self.clock.now().as_nanosecond();
        self.api.post(PODS, &pod(&name, FIRST_CALL)).await?;
        until_phase(&mut watch, "Succeeded").await?;
        let log = self.api.get_bytes(&format!("{PODS}/{name}/log")).await?;
        let log = String::from_utf8_lossy(&log).trim().to_owned();
        let called: i128 = log.parse().with_context(|| format!("cannot read the Pod's log {log:?}"))?;
        self.remove(&name, &mut watch).await?;
        let took = u64::try_from(called - began).context("the Pod's clock is not this machine's")?;
        Ok(Duration::from_nanos(took))
    }

    async fn watch(&self, name: &str) -> anyhow::Result<Watch> {
        self.api.watch(&format!("{PODS}?watch=true&fieldSelector=metadata.name%3D{name}")).await
    }

    /// One Pod at a time: the next one finds the node as this one did.
    async fn remove(&self, name: &str, watch: &mut Watch) -> anyhow::Result<()> {
        self.api.delete(&format!("{PODS}/{name}?gracePeriodSeconds=1")).await?;
        while watch.next().await?["type"] != "DELETED" {}
        Ok(())
    }
}

async fn until_phase(watch: &mut Watch, wanted: &str) -> anyhow::Result<()> {
    loop {
        let event = watch.next().await?;
        let status = &event["object"]["status"];
        match status["phase"].as_str().unwrap_or_default() {
            phase if phase == wanted => return Ok(()),
            "Failed" => bail!("a Pod failed: {status}"),
            _ => {}
        }
    }
}

fn pod(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "coracle.local/host", "command": ["sh", "-c", script]}],
        },
    })
}
