//! Jobs and CronJobs in tables.

use serde_json::Value;

use super::cell::{
    NONE, age, ago, containers, count, flag, has_true_condition, name, number, seconds, selector, string,
    text_or,
};
use super::{AGE, Column, Columns, NAME, Now, boolean, duration, integer, text as column};
use crate::object::{at, is_deleting, text};

pub static JOB: Columns = Columns {
    columns: &[
        NAME,
        column("Status"),
        column("Completions"),
        column("Duration"),
        AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    cells: |job, now| {
        let [names, images] = containers(at(job, &["spec", "template", "spec"]));
        vec![
            name(job),
            string(status(job)),
            string(completions(job)),
            string(took(job, now)),
            age(job, now),
            names,
            images,
            selector(at(job, &["spec", "selector"])),
        ]
    },
};

fn status(job: &Value) -> &'static str {
    let holds = |kind| has_true_condition(job, kind);
    match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if is_deleting(job) => "Terminating",
        () if holds("Suspended") => "Suspended",
        () if holds("FailureTarget") => "FailureTarget",
        () if holds("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = number(job, &["status", "succeeded"]);
    if let Some(wanted) = at(job, &["spec", "completions"]).as_i64() {
        return format!("{succeeded}/{wanted}");
    }
    match number(job, &["spec", "parallelism"]) {
        n if n > 1 => format!("{succeeded}/1 of {n}"),
        _ => format!("{succeeded}/1"),
    }
}

/// How long the Job took, or has been running; nothing before it started.
fn took(job: &Value, now: Now) -> String {
    let Some(start) = seconds(text(job, &["status", "startTime"])) else { return String::new() };
    let end = seconds(text(job, &["status", "completionTime"])).map_or(now, Now::At);
    duration::since(start, end)
}

pub static CRON_JOB: Columns = Columns {
    columns: &[
        NAME,
        column("Schedule"),
        column("Timezone"),
        boolean("Suspend"),
        integer("Active"),
        column("Last Schedule"),
        AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    cells: |obj, now| {
        let [names, images] = containers(at(obj, &["spec", "jobTemplate", "spec", "template", "spec"]));
        let last = match text(obj, &["status", "lastScheduleTime"]) {
            "" => NONE.to_owned(),
            time => ago(time, now),
        };
        vec![
            name(obj),
            string(text(obj, &["spec", "schedule"])),
            string(text_or(obj, &["spec", "timeZone"], NONE)),
            flag(at(obj, &["spec", "suspend"])),
            count(obj, &["status", "active"]),
            string(last),
            age(obj, now),
            names,
            images,
            selector(at(obj, &["spec", "jobTemplate", "spec", "selector"])),
        ]
    },
};
