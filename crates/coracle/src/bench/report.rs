//! The table of what was measured, with the reference and what is to be reached beside it, as text and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::rows::{REFERENCE_PODS, Row, Unit};
use super::samples::{Latencies, ratio};

/// What a row says. A server whose processes are unknown has no figures of CPU time and memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// In the row's unit.
    pub(crate) figure: Option<f64>,
    pub(crate) per_second: Option<f64>,
    pub(crate) latencies: Option<Latencies>,
    /// Resident memory of the server afterwards.
    pub(crate) memory_mib: Option<f64>,
    /// The server does not do this at all.
    pub(crate) is_refused: bool,
    /// Taken at another size than that for which the target is meant.
    pub(crate) is_other_size: bool,
}

impl Measured {
    pub(crate) fn figure(value: f64) -> Measured {
        Measured { figure: Some(value), ..Measured::default() }
    }

    pub(crate) fn refused() -> Measured {
        Measured { is_refused: true, ..Measured::default() }
    }

    pub(crate) fn time(took: Duration) -> Measured {
        Measured::figure(micros(took))
    }

    pub(crate) fn with_memory(self, memory_mib: Option<f64>) -> Measured {
        Measured { memory_mib, ..self }
    }

    pub(crate) fn of_size(self, is_usual: bool) -> Measured {
        Measured { is_other_size: !is_usual, ..self }
    }

    fn in_millis(&self, which: impl Fn(Latencies) -> Duration) -> Option<f64> {
        self.latencies.map(|latencies| which(latencies).as_secs_f64() * 1000.0)
    }
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub(crate) struct Report {
    as_json: bool,
    pods: u32,
    /// How busy the machine was with other things at the start: figures taken on a busy one are worth less.
    load: String,
    servers: Vec<Server>,
}

struct Server {
    name: String,
    rows: Vec<(&'static Row, Measured)>,
}

impl Report {
    pub(crate) fn new(as_json: bool, pods: u32) -> Report {
        let load = load();
        if !as_json {
            println!("{}, load {load}, {pods} Pods", machine());
        }
        Report { as_json, pods, load, servers: Vec::new() }
    }

    /// The rows that follow are this server's.
    pub(crate) fn server(&mut self, name: String) {
        if !self.as_json {
            println!("\n{name}\n{}", heading());
        }
        self.servers.push(Server { name, rows: Vec::new() });
    }

    pub(crate) fn add(&mut self, row: &'static Row, measured: Measured) {
        if !self.as_json {
            println!("{}", self.line(row, &measured));
        }
        if let Some(server) = self.servers.last_mut() {
            server.rows.push((row, measured));
        }
    }

    /// What kube-apiserver took and what is to be reached, where that holds for so many Pods.
    fn yardsticks(&self, row: &Row, measured: &Measured) -> (Option<(f64, f64)>, Option<f64>) {
        let is_other_size = measured.is_other_size || (row.grows && self.pods != REFERENCE_PODS);
        if is_other_size { (None, None) } else { (row.reference, row.target) }
    }

    fn reached(&self, row: &Row, measured: &Measured) -> Option<bool> {
        if measured.is_refused {
            return Some(false);
        }
        Some(measured.figure? <= self.yardsticks(row, measured).1?)
    }

    fn line(&self, row: &Row, measured: &Measured) -> String {
        let (reference, target) = self.yardsticks(row, measured);
        let figure = measured.figure.map(|value| shown(value, row.unit)).unwrap_or_else(|| "-".into());
        let reference = reference.map(|range| shown_range(range, row.unit)).unwrap_or_default();
        let target = target.map(|value| format!("≤ {}", shown(value, row.unit))).unwrap_or_default();
        let mark = match self.reached(row, measured) {
            Some(true) => "✓",
            Some(false) if measured.is_refused => "✗ refused",
            Some(false) => "✗ missed",
            None => "",
        };
        let rate = measured.per_second.map(|rate| format!("{}/s", significant(rate))).unwrap_or_default();
        let latency = |which: fn(Latencies) -> Duration| {
            measured.latencies.map(|all| shown(micros(which(all)), Unit::Time)).unwrap_or_default()
        };
        let memory = measured.memory_mib.map(|mib| shown(mib, Unit::MiB)).unwrap_or_default();
        let line = format!(
            "{:<34} {figure:>9} {reference:>12} {target:>9} {mark:<9} {rate:>9} {:>9} {:>9} {memory:>9}",
            row.title,
            latency(|l| l.p50),
            latency(|l| l.p99)
        );
        line.trim_end().to_owned()
    }

    pub(crate) fn finish(self) {
        if self.as_json {
            println!("{:#}", self.json());
            return;
        }
        println!();
        for server in &self.servers {
            println!("{}", self.summary(server));
        }
        if let Some(comparison) = self.comparison() {
            println!("\n{comparison}");
        }
        println!("load now {}", load());
    }

    fn summary(&self, server: &Server) -> String {
        let judged: Vec<(&str, bool)> = server
            .rows
            .iter()
            .filter_map(|(row, measured)| Some((row.title, self.reached(row, measured)?)))
            .collect();
        let missed: Vec<&str> =
            judged.iter().filter(|(_, reached)| !reached).map(|(title, _)| *title).collect();
        let reached = judged.len() - missed.len();
        let missed =
            if missed.is_empty() { String::new() } else { format!("; missed: {}", missed.join(", ")) };
        format!("{}: {reached} of {} targets reached{missed}", server.name, judged.len())
    }

    /// How many times the second server takes what the first takes, and the first does what the second does.
    fn comparison(&self) -> Option<String> {
        let [this, other] = self.servers.as_slice() else { return None };
        let mut text = format!(
            "{} beside {}: how many times less, how many times faster\n{:<34} {:>9} {:>9} {:>9} {:>9}",
            this.name, other.name, "", "figure", "rate", "p50", "p99"
        );
        for (row, ratios) in ratios(this, other) {
            let cell = |ratio: Option<f64>| ratio.map(|r| format!("{}×", significant(r))).unwrap_or_default();
            let [figure, rate, p50, p99] = ratios.map(cell);
            let line = format!("{:<34} {figure:>9} {rate:>9} {p50:>9} {p99:>9}", row.title);
            text = format!("{text}\n{}", line.trim_end());
        }
        Some(text)
    }

    fn json(&self) -> Value {
        let servers: Vec<Value> = self.servers.iter().map(|server| self.server_json(server)).collect();
        let ratios = match self.servers.as_slice() {
            [this, other] => ratios(this, other)
                .map(|(row, [figure, rate, p50, p99])| {
                    json!({"name": row.name, "figure": rounded(figure), "perSecond": rounded(rate),
                           "p50": rounded(p50), "p99": rounded(p99)})
                })
                .collect(),
            _ => Vec::new(),
        };
        json!({"machine": machine(), "load": self.load, "pods": self.pods, "servers": servers, "ratios": ratios})
    }

    fn server_json(&self, server: &Server) -> Value {
        let rows: Vec<Value> = server
            .rows
            .iter()
            .map(|(row, measured)| {
                let (reference, target) = self.yardsticks(row, measured);
                json!({
                    "name": row.name,
                    "title": row.title,
                    "figure": rounded(measured.figure),
                    "unit": row.unit.name(),
                    "reference": reference.map(|(from, to)| [from, to]),
                    "atMost": target,
                    "reached": self.reached(row, measured),
                    "perSecond": rounded(measured.per_second),
                    "p50Millis": rounded(measured.in_millis(|l| l.p50)),
                    "p99Millis": rounded(measured.in_millis(|l| l.p99)),
                    "memoryMiB": rounded(measured.memory_mib),
                })
            })
            .collect();
        json!({"server": server.name, "rows": rows})
    }
}

fn heading() -> String {
    format!(
        "{:<34} {:>9} {:>12} {:>9} {:<9} {:>9} {:>9} {:>9} {:>9}",
        "", "CPU an op", "kube 1.36", "target", "", "rate", "p50", "p99", "memory"
    )
}

/// Of the rows that both have: figure, rate, p50, p99, all such that more than 1 speaks for `this`.
fn ratios<'a>(
    this: &'a Server,
    other: &'a Server,
) -> impl Iterator<Item = (&'static Row, [Option<f64>; 4])> + 'a {
    this.rows.iter().filter_map(|(row, ours)| {
        let (_, theirs) = other.rows.iter().find(|(r, _)| r.name == row.name)?;
        Some((
            *row,
            [
                ratio(ours.figure, theirs.figure),
                ratio(theirs.per_second, ours.per_second),
                ratio(ours.in_millis(|l| l.p50), theirs.in_millis(|l| l.p50)),
                ratio(ours.in_millis(|l| l.p99), theirs.in_millis(|l| l.p99)),
            ],
        ))
    })
}

/// Times in the unit that suits them.
fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Cpu | Unit::Time if value < 1000.0 => format!("{} µs", significant(value)),
        Unit::Cpu | Unit::Time if value < 1e6 => format!("{} ms", significant(value / 1000.0)),
        Unit::Cpu | Unit::Time => format!("{} s", significant(value / 1e6)),
        Unit::MiB | Unit::KiB | Unit::Percent => format!("{} {}", significant(value), unit.name()),
        Unit::Count => significant(value),
    }
}

fn shown_range((from, to): (f64, f64), unit: Unit) -> String {
    let last = shown(to, unit);
    if from == to {
        return last;
    }
    let first = shown(from, unit);
    let first = first.split_once(' ').map_or(first.as_str(), |(number, _)| number);
    format!("{first}–{last}")
}

/// Three digits that count, no more.
fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        _ => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

/// To three digits after the point: more is noise.
fn rounded(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 1000.0).round() / 1000.0)
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    format!("{cores} cores {}", model.trim_start_matches([' ', '\t', ':']))
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::rows;
    use super::*;

    fn measured(cpu: f64, rate: f64, p50: u64, p99: u64, memory_mib: f64) -> Measured {
        let latencies = Latencies { p50: Duration::from_micros(p50), p99: Duration::from_micros(p99) };
        Measured {
            figure: Some(cpu),
            per_second: Some(rate),
            latencies: Some(latencies),
            memory_mib: Some(memory_mib),
            ..Measured::default()
        }
    }

    fn report(pods: u32) -> Report {
        Report { as_json: true, pods, load: "0.5".into(), servers: Vec::new() }
    }

    fn two_servers() -> Report {
        let mut report = report(5000);
        report.server("this".into());
        report.add(&rows::START, Measured::figure(83_000.0));
        report.add(&rows::CREATE, measured(148.04, 5012.4, 6200, 9100, 40.26));
        report.add(&rows::LIST, measured(17_300.0, 60.0, 33_000, 41_000, 80.0));
        report.server("other".into());
        report.add(&rows::CREATE, measured(4282.0, 406.0, 78_000, 120_000, 900.0));
        report.add(
            &rows::LIST,
            Measured { figure: None, memory_mib: None, ..measured(0.0, 2.3, 860_000, 1_200_000, 0.0) },
        );
        report.add(&rows::TABLE, Measured::refused());
        report
    }

    #[test]
    fn the_text_has_a_mark_for_every_target() {
        let report = two_servers();
        let mut text = heading();
        for server in &report.servers {
            for (row, measured) in &server.rows {
                text = format!("{text}\n{}", report.line(row, measured));
            }
            text = format!("{text}\n{}\n", report.summary(server));
        }
        text = format!("{text}\n{}\n", report.comparison().unwrap());
        expect![[r#"
                                               CPU an op    kube 1.36    target                rate       p50       p99    memory
            start to /readyz, API only             83 ms    3.5–4.5 s  ≤ 100 ms ✓
            create a Pod (fsynced)                148 µs      4.28 ms  ≤ 150 µs ✓            5012/s    6.2 ms    9.1 ms  40.3 MiB
            list all Pods (JSON)                 17.3 ms       568 ms   ≤ 15 ms ✗ missed       60/s     33 ms     41 ms    80 MiB
            this: 2 of 3 targets reached; missed: list all Pods (JSON)

            create a Pod (fsynced)               4.28 ms      4.28 ms  ≤ 150 µs ✗ missed      406/s     78 ms    120 ms   900 MiB
            list all Pods (JSON)                       -       568 ms   ≤ 15 ms               2.3/s    860 ms     1.2 s
            list all Pods as Table                     -       340 ms   ≤ 20 ms ✗ refused
            other: 0 of 2 targets reached; missed: create a Pod (fsynced), list all Pods as Table

            this beside other: how many times less, how many times faster
                                                  figure      rate       p50       p99
            create a Pod (fsynced)                 28.9×     12.3×     12.6×     13.2×
            list all Pods (JSON)                             26.1×     26.1×     29.3×
        "#]].assert_eq(&text);
    }

    #[test]
    fn the_json_has_the_same_figures() {
        let report = two_servers();
        let json = report.json();
        expect![[r#"
            {
              "name": "create",
              "title": "create a Pod (fsynced)",
              "figure": 148.04,
              "unit": "µs CPU",
              "reference": [
                4282.0,
                4282.0
              ],
              "atMost": 150.0,
              "reached": true,
              "perSecond": 5012.4,
              "p50Millis": 6.2,
              "p99Millis": 9.1,
              "memoryMiB": 40.26
            }"#]]
        .assert_eq(&format!("{:#}", json["servers"][0]["rows"][1]));
        expect![[r#"[{"name":"create","figure":28.925,"perSecond":12.346,"p50":12.581,"p99":13.187},{"name":"list","figure":null,"perSecond":26.087,"p50":26.061,"p99":29.268}]"#]].assert_eq(&json["ratios"].to_string());
        assert_eq!(json["servers"][1]["rows"][1]["figure"], Value::Null);
        assert_eq!(json["servers"][1]["server"], "other");
        let top: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(top, ["machine", "load", "pods", "servers", "ratios"]);
    }

    #[test]
    fn a_yardstick_for_5000_pods_is_not_laid_on_others() {
        let report = report(700);
        let all = measured(20_000.0, 1.0, 1, 1, 1.0);
        assert_eq!(report.reached(&rows::LIST, &all), None);
        assert_eq!(report.reached(&rows::PAGE, &all), Some(false));
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let all = [0.0, 0.456, 5.999, 9.996, 28.0, 28.94, 99.96, 4282.4];
        let told: Vec<String> = all.into_iter().map(significant).collect();
        assert_eq!(told, ["0", "0.46", "6", "10", "28", "28.9", "100", "4282"]);
        let times = [6.0, 999.4, 1500.0, 568_000.0, 3_500_000.0].map(|t| shown(t, Unit::Time));
        assert_eq!(times, ["6 µs", "999 µs", "1.5 ms", "568 ms", "3.5 s"]);
        assert_eq!(shown_range((32.0, 52.0), Unit::Cpu), "32–52 µs");
    }
}
