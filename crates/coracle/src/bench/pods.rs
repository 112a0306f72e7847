//! How soon a Pod runs, and how soon its program has had an answer from the API.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::client::Watch;
use super::report::{Measured, Report};
use super::rows;
use super::samples::{Latencies, median};
use super::target::Target;

/// The image that every node of this program has.
pub(crate) const HOST_IMAGE: &str = "coracle.local/host";
/// A Pod that has not come so far by then never will.
const POD_TIMEOUT: Duration = Duration::from_secs(60);
/// What a program in a Pod does first, as the Kubernetes documentation has it; then it says what time it is.
const FIRST_CALL: &str = "D=/var/run/secrets/kubernetes.io/serviceaccount
until curl -sf -o /dev/null --cacert $D/ca.crt -H \"Authorization: Bearer $(cat $D/token)\" https://kubernetes.default.svc/api
do :; done
date +%s%N";

pub(crate) async fn measure(
    target: &Target,
    image: &str,
    runs: u16,
    report: &mut Report,
) -> anyhow::Result<()> {
    let pods = Pods { target, all: target.path("pods"), image };
    let mut running = Vec::new();
    for run in 0..runs {
        let took = target.clock.timeout(POD_TIMEOUT, pods.time_to_running(run)).await;
        running.push(took.with_context(|| format!("a Pod of {image} did not become Running"))??);
    }
    report.add(&rows::RUNNING, summary(running).with_memory(target.memory_mib()?));
    // The program of the second measurement needs this image's curl.
    if image == HOST_IMAGE {
        let mut called = Vec::new();
        for run in 0..runs {
            let took = target.clock.timeout(POD_TIMEOUT, pods.time_to_first_call(run)).await;
            called.push(took.context("a Pod had no answer from the API")??);
        }
        report.add(&rows::FIRST_CALL, summary(called).with_memory(target.memory_mib()?));
    }
    Ok(())
}

fn summary(all: Vec<Duration>) -> Measured {
    Measured { latencies: Latencies::of(all.clone()), ..Measured::time(median(all)) }
}

struct Pods<'a> {
    target: &'a Target,
    /// The path of their list.
    all: String,
    image: &'a str,
}

impl Pods<'_> {
    async fn time_to_running(&self, run: u16) -> anyhow::Result<Duration> {
        let name = format!("runs-{run}");
        let mut watch = self.watch(&name).await?;
        let began = self.target.clock.elapsed();
        self.target.api.post(&self.all, &self.pod(&name, &["sleep", "3600"])).await?;
        until_phase(&mut watch, "Running").await?;
        let took = self.target.clock.elapsed() - began;
        self.remove(&name, &mut watch).await?;
        Ok(took)
    }

    async fn time_to_first_call(&self, run: u16) -> anyhow::Result<Duration> {
        let name = format!("calls-{run}");
        let mut watch = self.watch(&name).await?;
        let began = self.target.clock.now().as_nanosecond();
        self.target.api.post(&self.all, &self.pod(&name, &["sh", "-c", FIRST_CALL])).await?;
        until_phase(&mut watch, "Succeeded").await?;
        let log = self.target.api.get_bytes(&format!("{}/{name}/log", self.all)).await?;
        let log = String::from_utf8_lossy(&log).trim().to_owned();
        let called: i128 = log.parse().with_context(|| format!("cannot read the Pod's log {log:?}"))?;
        self.remove(&name, &mut watch).await?;
        let took = u64::try_from(called - began).context("the Pod's clock is not this machine's")?;
        Ok(Duration::from_nanos(took))
    }

    async fn watch(&self, name: &str) -> anyhow::Result<Watch> {
        let path = format!("{}?watch=true&fieldSelector=metadata.name%3D{name}", self.all);
        self.target.api.watch(&path).await
    }

    /// One Pod at a time: the next one finds the node as this one did.
    async fn remove(&self, name: &str, watch: &mut Watch) -> anyhow::Result<()> {
        self.target.api.delete(&format!("{}/{name}?gracePeriodSeconds=1", self.all)).await?;
        while watch.next().await?["type"] != "DELETED" {}
        Ok(())
    }

    fn pod(&self, name: &str, command: &[&str]) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "main", "image": self.image, "imagePullPolicy": "IfNotPresent", "command": command,
                }],
            },
        })
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
