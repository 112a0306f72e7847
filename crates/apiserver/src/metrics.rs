//! /metrics: requests by verb, resource and code, their durations, and what the process uses.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coracle_api::kinds::Text;
use coracle_api::path::RequestInfo;
use http::StatusCode;

use crate::server::Core;

/// Upper bounds of the duration histogram, in seconds: the reference's, thinned.
const BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0];
/// Label sets beyond this number are counted together, so that no client can grow the server's memory.
const MAX_SERIES: usize = 2_000;

#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<Series, Seen>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    verb: &'static str,
    group: Text,
    version: Text,
    resource: Text,
    subresource: &'static str,
    code: u16,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    count: u64,
    seconds: f64,
    buckets: [u64; BUCKETS.len()],
}

/// One request under way.
pub(crate) struct Measured {
    series: Series,
    began: Duration,
}

/// `info` is of a request line that can be read.
pub(crate) fn start(core: &Core, info: Option<&RequestInfo>) -> Measured {
    let nothing = RequestInfo::default();
    let info = info.unwrap_or(&nothing);
    // Only what the catalog knows becomes a label: paths are whatever clients make up.
    let known = core.catalog().find(&info.group, &info.version, &info.resource).filter(|_| info.is_resource);
    let sub = coracle_api::Subresource::parse(&info.subresource);
    let series = match known {
        Some(kind) => Series {
            verb: verb(&info.verb),
            group: kind.group.clone(),
            version: kind.version.clone(),
            resource: kind.plural.clone(),
            subresource: sub.map_or("", |s| s.name()),
            code: 0,
        },
        None => other(verb(&info.verb)),
    };
    Measured { series, began: core.clock.elapsed() }
}

fn other(verb: &'static str) -> Series {
    let none = Text::default;
    Series { verb, group: none(), version: none(), resource: none(), subresource: "", code: 0 }
}

fn verb(v: &str) -> &'static str {
    const VERBS: [&str; 10] =
        ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "post", "head"];
    VERBS.iter().find(|known| **known == v).copied().unwrap_or("other")
}

impl Measured {
    pub(crate) fn finish(mut self, core: &Core, status: StatusCode) {
        let seconds = core.clock.elapsed().saturating_sub(self.began).as_secs_f64();
        self.series.code = status.as_u16();
        let mut all = core.metrics.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_SERIES && !all.contains_key(&self.series) {
            self.series = Series { code: self.series.code, ..other(self.series.verb) };
        }
        let seen = all.entry(self.series).or_default();
        seen.count += 1;
        seen.seconds += seconds;
        for (bucket, bound) in seen.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
    }
}

/// Everything in the text format of Prometheus.
pub(crate) fn text(core: &Core) -> String {
    let all = core.metrics.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut out = String::new();
    out.push_str(
        "# HELP apiserver_request_total Requests answered.\n# TYPE apiserver_request_total counter\n",
    );
    for (s, seen) in &all {
        let _ = writeln!(out, "apiserver_request_total{{{},code=\"{}\"}} {}", labels(s), s.code, seen.count);
    }
    out.push_str(
        "# HELP apiserver_request_duration_seconds Time from the request's headers to the answer's.\n\
         # TYPE apiserver_request_duration_seconds histogram\n",
    );
    for (labels, seen) in durations(&all) {
        let name = "apiserver_request_duration_seconds";
        for (bound, n) in BUCKETS.iter().zip(seen.buckets) {
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {n}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", seen.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", seen.seconds);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", seen.count);
    }
    let _ = writeln!(
        out,
        "# HELP coracle_store_revision The newest resourceVersion.\n# TYPE coracle_store_revision counter\n\
         coracle_store_revision {}",
        core.store.revision()
    );
    process(&mut out);
    out
}

fn labels(s: &Series) -> String {
    format!(
        "group=\"{}\",resource=\"{}\",subresource=\"{}\",verb=\"{}\",version=\"{}\"",
        s.group,
        s.resource,
        s.subresource,
        s.verb.to_uppercase(),
        s.version
    )
}

/// Durations are not told apart by code.
fn durations(all: &BTreeMap<Series, Seen>) -> BTreeMap<String, Seen> {
    let mut out: BTreeMap<String, Seen> = BTreeMap::new();
    for (s, seen) in all {
        let sum = out.entry(labels(s)).or_default();
        sum.count += seen.count;
        sum.seconds += seen.seconds;
        sum.buckets.iter_mut().zip(seen.buckets).for_each(|(a, b)| *a += b);
    }
    out
}

/// Bytes of a page and ticks of a second: constants of every Linux that this runs on.
const PAGE_BYTES: u64 = 4096;
const TICKS_A_SECOND: f64 = 100.0;

fn process(out: &mut String) {
    let numbers = |path: &str, skip: usize| -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The command's name, in brackets, may hold spaces.
        let rest = text.rsplit_once(") ").map_or(&*text, |(_, rest)| rest);
        rest.split_whitespace().skip(skip).map(|n| n.parse().unwrap_or(0)).collect()
    };
    if let Some(pages) = numbers("/proc/self/statm", 0).get(1) {
        let _ = writeln!(
            out,
            "# HELP process_resident_memory_bytes Resident memory size in bytes.\n\
             # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}",
            pages * PAGE_BYTES
        );
    }
    // After the name: state is field 3 of proc(5), utime and stime are 14 and 15.
    if let [user, system, ..] = numbers("/proc/self/stat", 11)[..] {
        let _ = writeln!(
            out,
            "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n\
             # TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {}",
            (user + system) as f64 / TICKS_A_SECOND
        );
    }
}
