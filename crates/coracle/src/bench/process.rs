//! What a server's processes cost the machine: CPU time and resident memory, as the kernel counts them.

use std::time::Duration;

use anyhow::{Context, bail};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The processes of one server: itself, and its store where that is another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Processes(Vec<i32>);

impl Processes {
    pub(crate) fn new(pids: Vec<i32>) -> anyhow::Result<Processes> {
        let processes = Processes(pids);
        // A wrong number is found out before anything is measured.
        processes.cpu()?;
        processes.memory_mib()?;
        Ok(processes)
    }

    /// CPU time used so far, in user and kernel mode, by all threads that there are and were.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let each = self.0.iter().map(|pid| {
            let clock = clock_getcpuclockid(Pid::from_raw(*pid));
            let used =
                clock.and_then(clock_gettime).with_context(|| format!("no process has the id {pid}"))?;
            anyhow::Ok(Duration::from(used))
        });
        each.sum()
    }

    /// Resident memory now.
    pub(crate) fn memory_mib(&self) -> anyhow::Result<f64> {
        self.0.iter().map(|pid| resident_mib(*pid)).sum()
    }
}

fn resident_mib(pid: i32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.with_context(|| format!("no process has the id {pid}"))?;
    let Some(kib) = status.lines().find_map(|line| line.strip_prefix("VmRSS:")) else {
        bail!("process {pid} has ended");
    };
    let kib = kib.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    Ok(kib.context("the kernel does not say how much memory the server uses")? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_cpu_time_and_a_wrong_id_is_found_out() {
        let own = i32::try_from(std::process::id()).unwrap();
        let own = Processes::new(vec![own]).unwrap();
        let before = own.cpu().unwrap();
        let work = (0..5_000_000_u64).fold(0, |a: u64, b| std::hint::black_box(a ^ b));
        assert!(own.cpu().unwrap() > before, "{work}");
        assert!(own.memory_mib().unwrap() > 1.0);
        // Larger than any process id of Linux (2^22).
        let error = Processes::new(vec![5_000_000]).unwrap_err();
        assert!(format!("{error:#}").starts_with("no process has the id 5000000"), "{error:#}");
    }
}
