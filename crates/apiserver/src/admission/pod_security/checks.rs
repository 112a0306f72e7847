//! THE TABLE of the Pod security standards' checks, each with the version that it began with, in the reference's order.

use std::collections::BTreeSet;

use coracle_api::object::{at, items, text};
use serde_json::Value;

use super::levels::{Bound, Level, Version};
use super::{baseline, restricted};

/// A Pod, or what a template would make one of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub annotations: &'a Value,
    pub spec: &'a Value,
}

/// Why a check refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub reason: String,
    pub detail: String,
}

impl Violation {
    pub(super) fn new(reason: &str, detail: String) -> Option<Violation> {
        Some(Violation { reason: reason.to_owned(), detail })
    }
}

type Check = fn(Subject<'_>) -> Option<Violation>;

struct Row {
    level: Level,
    /// The minor version from which a check of the level above says it more strictly.
    until_restricted: Option<u32>,
    /// The check from each minor version on, the oldest first.
    versions: &'static [(u32, Check)],
}

const fn row(level: Level, until_restricted: Option<u32>, versions: &'static [(u32, Check)]) -> Row {
    Row { level, until_restricted, versions }
}

use Level::{Baseline, Restricted};

const CHECKS: &[Row] = &[
    row(
        Restricted,
        None,
        &[
            (8, restricted::privilege_escalation),
            (25, |s| unless_windows(s, restricted::privilege_escalation)),
        ],
    ),
    row(Baseline, None, &[(0, baseline::app_armor)]),
    row(Baseline, Some(22), &[(0, baseline::capabilities)]),
    row(
        Restricted,
        None,
        &[(22, restricted::capabilities), (25, |s| unless_windows(s, restricted::capabilities))],
    ),
    row(Baseline, None, &[(0, baseline::host_namespaces)]),
    row(Baseline, Some(0), &[(0, baseline::host_path_volumes)]),
    row(Baseline, None, &[(0, baseline::host_ports)]),
    row(Baseline, None, &[(34, baseline::probe_hosts)]),
    row(Baseline, None, &[(0, baseline::privileged)]),
    row(
        Baseline,
        Some(35),
        &[(0, baseline::proc_mount), (35, |s| unless_own_users(s, baseline::proc_mount))],
    ),
    row(Restricted, None, &[(35, baseline::proc_mount)]),
    row(Restricted, None, &[(0, restricted::volumes)]),
    row(
        Restricted,
        None,
        &[(0, restricted::run_as_non_root), (35, |s| unless_own_users(s, restricted::run_as_non_root))],
    ),
    row(
        Restricted,
        None,
        &[(23, restricted::run_as_user), (35, |s| unless_own_users(s, restricted::run_as_user))],
    ),
    row(Baseline, None, &[(0, |s| baseline::se_linux(s, 0)), (31, |s| baseline::se_linux(s, 31))]),
    row(Baseline, Some(19), &[(0, baseline::seccomp_annotations), (19, baseline::seccomp)]),
    row(Restricted, None, &[(19, restricted::seccomp), (25, |s| unless_windows(s, restricted::seccomp))]),
    row(
        Baseline,
        None,
        &[
            (0, |s| baseline::sysctls(s, 0)),
            (27, |s| baseline::sysctls(s, 27)),
            (29, |s| baseline::sysctls(s, 29)),
            (32, |s| baseline::sysctls(s, 32)),
        ],
    ),
    row(Baseline, None, &[(0, baseline::windows_host_process)]),
];

/// What a Pod does that a level forbids: the baseline's words first.
pub(super) fn violations(bound: Bound, subject: Subject<'_>) -> Vec<Violation> {
    let is_overridden = |row: &Row| {
        let since = row.until_restricted.map(Version::Minor);
        bound.level == Restricted && since.is_some_and(|since| bound.version >= since)
    };
    let of = |level: Level| CHECKS.iter().filter(move |row| row.level == level && level <= bound.level);
    let rows = of(Baseline).filter(|row| !is_overridden(row)).chain(of(Restricted));
    rows.filter_map(|row| in_force(row, bound.version)?(subject)).collect()
}

fn in_force(row: &Row, version: Version) -> Option<Check> {
    let mut begun = row.versions.iter().filter(|(since, _)| version >= Version::Minor(*since));
    begun.next_back().map(|(_, check)| *check)
}

/// Nothing of Linux holds for a Pod that says that it is for Windows.
fn unless_windows(subject: Subject<'_>, check: Check) -> Option<Violation> {
    if text(subject.spec, &["os", "name"]) == "windows" { None } else { check(subject) }
}

/// Root in a user namespace of the Pod's own is nobody outside.
fn unless_own_users(subject: Subject<'_>, check: Check) -> Option<Violation> {
    if at(subject.spec, &["hostUsers"]) == &Value::Bool(false) { None } else { check(subject) }
}

/// Every container, in the reference's order.
pub(super) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|list| items(spec, &[list]))
}

/// The names of the containers that `is_bad`.
pub(super) fn bad_containers(spec: &Value, mut is_bad: impl FnMut(&Value) -> bool) -> Vec<&str> {
    containers(spec).filter(|c| is_bad(c)).map(|c| text(c, &["name"])).collect()
}

/// `container "a"` or `containers "a", "b"`.
pub(super) fn named(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names.iter().copied()))
}

/// What the Pod itself, and some of its containers, set wrongly.
pub(super) fn setters(of_pod: bool, names: &[&str]) -> String {
    let pod = of_pod.then(|| "pod".to_owned());
    let containers = (!names.is_empty()).then(|| named(names));
    pod.into_iter().chain(containers).collect::<Vec<_>>().join(" and ")
}

pub(super) fn plural(one: &'static str, more: &'static str, count: usize) -> &'static str {
    if count == 1 { one } else { more }
}

pub(super) fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ")
}

/// The strings of a set, in order, quoted.
pub(super) fn quoted_set(names: &BTreeSet<&str>) -> String {
    quoted(names.iter().copied())
}
