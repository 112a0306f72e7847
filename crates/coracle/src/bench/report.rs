//! The table of what was measured, with what is to be reached beside it.

use std::time::Duration;

use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Ms,
    MiB,
    /// CPU time of the server an operation.
    MicrosCpu,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Ms => "ms",
            Unit::MiB => "MiB",
            Unit::MicrosCpu => "µs CPU",
        }
    }
}

pub(crate) struct Report {
    as_json: bool,
    rows: Vec<Value>,
}

impl Report {
    pub(crate) fn new(as_json: bool) -> Report {
        if !as_json {
            println!("{}, load {}\n", machine(), load());
        }
        Report { as_json, rows: Vec::new() }
    }

    pub(crate) fn time(&mut self, name: &str, took: Duration, at_most: Option<f64>) {
        self.row(name, took.as_secs_f64() * 1000.0, Unit::Ms, at_most);
    }

    pub(crate) fn row(&mut self, name: &str, value: f64, unit: Unit, at_most: Option<f64>) {
        self.add(name, value, unit, at_most, None);
    }

    /// An operation of the server: its CPU time, and how many were done in a second.
    pub(crate) fn operation(&mut self, name: &str, cpu: Duration, rate: f64, at_most: f64) {
        self.add(name, cpu.as_secs_f64() * 1e6, Unit::MicrosCpu, Some(at_most), Some(rate));
    }

    fn add(&mut self, name: &str, value: f64, unit: Unit, at_most: Option<f64>, rate: Option<f64>) {
        if !self.as_json {
            let target = at_most.map(|t| format!("≤ {t:>6}  {}", if value <= t { "✓" } else { "✗" }));
            let rate = rate.map(|r| format!("{r:>8.0}/s")).unwrap_or_default();
            let line = format!(
                "{name:<40} {value:>10.1} {:<6} {:<14} {rate}",
                unit.name(),
                target.unwrap_or_default()
            );
            println!("{}", line.trim_end());
        }
        self.rows.push(json!({
            "name": name, "value": (value * 10.0).round() / 10.0, "unit": unit.name(), "atMost": at_most,
            "perSecond": rate.map(f64::round),
        }));
    }

    pub(crate) fn finish(self) {
        if self.as_json {
            println!("{:#}", json!({"machine": machine(), "load": load(), "rows": self.rows}));
        } else {
            println!("\nload now {}", load());
        }
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    format!("{cores} cores {}", model.trim_start_matches([' ', '\t', ':']))
}

/// How busy the machine is with other things: figures taken on a busy one are worth less.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}
