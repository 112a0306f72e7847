//! The rows of the table: what each measures, what kube-apiserver was measured to take for it, and what is to be reached.

/// The reference and the targets of rows that depend on how many Pods there are hold for this many.
pub(crate) const REFERENCE_PODS: u32 = 5000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Microseconds of the server's CPU time, for one operation.
    Cpu,
    /// Microseconds that passed.
    Time,
    MiB,
    KiB,
    Percent,
    /// A number without a unit.
    Count,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Cpu => "µs CPU",
            Unit::Time => "µs",
            Unit::MiB => "MiB",
            Unit::KiB => "KiB",
            Unit::Percent => "%",
            Unit::Count => "",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    /// From … to, of kube-apiserver 1.36 with etcd 3.6 on a machine with two cores.
    pub(crate) reference: Option<(f64, f64)>,
    /// At most.
    pub(crate) target: Option<f64>,
    /// Whether more Pods make it more.
    pub(crate) grows: bool,
}

impl Row {
    pub(crate) const fn new(name: &'static str, title: &'static str, unit: Unit) -> Row {
        Row { name, title, unit, reference: None, target: None, grows: false }
    }

    pub(crate) const fn at_most(self, target: f64) -> Row {
        Row { target: Some(target), ..self }
    }

    pub(crate) const fn reference(self, from: f64, to: f64) -> Row {
        Row { reference: Some((from, to)), ..self }
    }

    const fn grows(self) -> Row {
        Row { grows: true, ..self }
    }
}

const fn operation(name: &'static str, title: &'static str, reference: f64, at_most: f64) -> Row {
    Row::new(name, title, Unit::Cpu).reference(reference, reference).at_most(at_most)
}

const MS: f64 = 1000.0;
const S: f64 = 1_000_000.0;

pub(crate) const START: Row = Row::new("start", "start to /readyz, API only", Unit::Time)
    .reference(3.5 * S, 4.5 * S)
    .at_most(100.0 * MS);
pub(crate) const IDLE: Row =
    Row::new("idle", "memory idle, API only", Unit::MiB).reference(319.0, 319.0).at_most(30.0);
/// Of a server that was there already: idle or not, it is what it had when it was asked first.
pub(crate) const BEFORE: Row =
    Row::new("before", "memory before", Unit::MiB).reference(319.0, 319.0).at_most(30.0);
pub(crate) const NODE_START: Row =
    Row::new("node-start", "start to /readyz, with a node", Unit::Time).at_most(100.0 * MS);
pub(crate) const NODE_READY: Row = Row::new("node-ready", "start to node Ready", Unit::Time);
pub(crate) const NODE_IDLE: Row = Row::new("node-idle", "memory idle, with a node", Unit::MiB).at_most(40.0);
pub(crate) const RUNNING: Row =
    Row::new("running", "Pod created to Running", Unit::Time).reference(1.0 * S, 2.0 * S).at_most(200.0 * MS);
pub(crate) const FIRST_CALL: Row =
    Row::new("first-call", "Pod created to its first API call", Unit::Time).at_most(500.0 * MS);

pub(crate) const CREATE: Row = operation("create", "create a Pod (fsynced)", 4282.0, 150.0);
pub(crate) const GET: Row = operation("get", "get", 1235.0, 50.0);
pub(crate) const LIST: Row = operation("list", "list all Pods (JSON)", 568.0 * MS, 15.0 * MS).grows();
pub(crate) const PROTOBUF: Row =
    operation("protobuf", "list all Pods, protobuf", 285.0 * MS, 8.0 * MS).grows();
pub(crate) const TABLE: Row = operation("table", "list all Pods as Table", 340.0 * MS, 20.0 * MS).grows();
pub(crate) const PAGE: Row = operation("page", "list, limit=500", 50.0 * MS, 1.5 * MS);
pub(crate) const SELECTOR: Row =
    operation("selector", "list, label selector (50 Pods)", 11.5 * MS, 0.5 * MS).grows();
pub(crate) const UPDATE: Row = operation("update", "get + update", 6284.0, 220.0);
pub(crate) const PATCH: Row = operation("patch", "merge patch", 4702.0, 180.0);
pub(crate) const APPLY: Row = Row::new("apply", "server-side apply", Unit::Cpu).at_most(400.0);
pub(crate) const CUSTOM: Row = Row::new("custom", "create a custom resource (CEL)", Unit::Cpu).at_most(250.0);
pub(crate) const REVIEW: Row = operation("review", "SubjectAccessReview", 768.0, 40.0);
pub(crate) const WATCH: Row =
    Row::new("watch", "deliver one watch event", Unit::Cpu).reference(32.0, 52.0).at_most(6.0);
pub(crate) const DELETE: Row = operation("delete", "delete", 4690.0, 150.0);
pub(crate) const MEMORY: Row =
    Row::new("memory", "memory after all that", Unit::MiB).reference(820.0, 1070.0).at_most(100.0).grows();

pub(crate) const IDLE_WATCH: Row = Row::new("idle-watch", "memory an idle watch", Unit::KiB).at_most(8.0);
pub(crate) const FAN_OUT: Row =
    Row::new("fan-out", "an update to all watches, p99", Unit::Time).at_most(250.0 * MS);
pub(crate) const FAN_OUT_CPU: Row = Row::new("fan-out-cpu", "the same, one event to one watch", Unit::Cpu);
pub(crate) const STALLED: Row =
    Row::new("stalled", "with a stalled reader, p99", Unit::Time).at_most(250.0 * MS);
pub(crate) const STALLED_CPU: Row =
    Row::new("stalled-cpu", "what the others cost more", Unit::Percent).at_most(10.0);
pub(crate) const STALLED_ALIVE: Row =
    Row::new("stalled-alive", "watches of that reader not cut", Unit::Count).at_most(0.0);

pub(crate) const FORK: Row = Row::new("fork", "fork 10,000 objects, p99", Unit::Time).at_most(10.0 * MS);
pub(crate) const FORK_MEMORY: Row = Row::new("fork-memory", "memory a fork", Unit::KiB).at_most(1024.0);
pub(crate) const FORK_WRITTEN: Row = Row::new("fork-written", "more once it is written to", Unit::MiB);
pub(crate) const SNAPSHOT_SAVE: Row = Row::new("snapshot-save", "save 10,000 objects", Unit::Time);
pub(crate) const SNAPSHOT_RESTORE: Row =
    Row::new("snapshot-restore", "bring them back from a file", Unit::Time);
pub(crate) const SNAPSHOT_RESET: Row = Row::new("snapshot-reset", "bring them back from memory", Unit::Time);

pub(crate) const SCALE_LOAD: Row = Row::new("scale-load", "create one of them", Unit::Cpu);
pub(crate) const SCALE_MEMORY: Row =
    Row::new("scale-memory", "memory with all of them", Unit::MiB).at_most(1536.0);
pub(crate) const SCALE_GET: Row = Row::new("scale-get", "get a Pod, p99", Unit::Time).at_most(5.0 * MS);
pub(crate) const SCALE_LIST: Row =
    Row::new("scale-list", "list one namespace (500 Pods)", Unit::Cpu).at_most(3.0 * MS);
pub(crate) const SCALE_RESTART: Row =
    Row::new("scale-restart", "restart to /readyz", Unit::Time).at_most(3.0 * S);
pub(crate) const SCALE_RESTARTED: Row =
    Row::new("scale-restarted", "memory after the restart", Unit::MiB).at_most(1536.0);
