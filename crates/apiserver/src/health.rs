//! /livez, /readyz and /healthz: is the process well, and may clients be sent to it.

use coracle_api::path::Query;

use crate::respond::{self, Answer};
use crate::server::Core;

/// One thing that can be wrong.
struct Check {
    name: &'static str,
    /// Whether a server that only this fails on should be restarted, and not just be spared requests.
    vital: bool,
    passes: fn(&Core) -> bool,
}

const CHECKS: [Check; 4] = [
    Check { name: "ping", vital: true, passes: |_| true },
    Check { name: "store", vital: true, passes: |core| core.store.health().is_ok() },
    Check { name: "poststarthook/bootstrap", vital: false, passes: Core::has_started },
    Check { name: "shutdown", vital: false, passes: |core| !core.stopping.is_cancelled() },
];

/// `parts` is the path: the endpoint and, for one check alone, its name.
pub(crate) fn answer(core: &Core, parts: &[&str], query: &Query) -> Answer {
    let endpoint = parts.first().copied().unwrap_or_default();
    let only = parts[1..].join("/");
    let excluded: Vec<&str> = query.all("exclude").collect();
    let counts = |c: &&Check| (c.vital || endpoint != "livez") && !excluded.contains(&c.name);
    let checks: Vec<&Check> =
        CHECKS.iter().filter(counts).filter(|c| only.is_empty() || c.name == only).collect();
    if checks.is_empty() && !only.is_empty() {
        return respond::page_not_found();
    }
    let mut report = String::new();
    let mut failed = Vec::new();
    for check in checks {
        if (check.passes)(core) {
            report.push_str(&format!("[+]{} ok\n", check.name));
        } else {
            report.push_str(&format!("[-]{} failed: reason withheld\n", check.name));
            failed.push(check.name);
        }
    }
    if !failed.is_empty() {
        tracing::info!("{endpoint} fails: {}", failed.join(", "));
        report.push_str(&format!("{endpoint} check failed\n"));
        return respond::text(500, report);
    }
    if query.get("verbose").is_none() {
        return respond::text(200, "ok");
    }
    report.push_str(&format!("{endpoint} check passed\n"));
    respond::text(200, report)
}
