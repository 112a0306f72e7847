//! `coracle tour`: both articles on "accessing the Kubernetes API from within a Pod", played on a throwaway cluster.
//!
//! Every step prints the command as a reader would type it, the answer, and a check mark; the first answer that is not
//! as it must be ends the tour.

mod steps;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use coracle_clock::Clock;

use steps::{Expect, STEPS, Step, Who};

/// A step that takes longer than this will not end well.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Lines of an answer that are shown; the rest is counted.
const LINES_SHOWN: usize = 24;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Keep the cluster's directory for a look at its logs
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the tour runs real containers: run it with sudo");
    }
    let clock = Clock::system();
    let directory = Scratch::make(args.keep)?;
    let mut cluster = Cluster::start(&directory.0)?;
    let played = STEPS.iter().try_for_each(|step| play(&cluster, step, &clock));
    let stopped = cluster.stop();
    played?;
    stopped?;
    let seconds = clock.elapsed().as_secs_f64();
    println!(
        "\n\x1b[32m✓\x1b[0m {} steps, every answer as it must be, in {seconds:.1} s; nothing is left behind",
        STEPS.len()
    );
    Ok(())
}

/// A directory of our own, removed at the end.
struct Scratch(PathBuf, bool);

impl Scratch {
    fn make(keep: bool) -> anyhow::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("coracle-tour-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let bin = program.parent().unwrap_or(Path::new("/")).display().to_string();
        for (name, text) in steps::FILES {
            // Where this program is, for the Pods that run it.
            std::fs::write(path.join(name), text.replace("BIN", &bin))?;
        }
        Ok(Scratch(path, keep))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.1 {
            println!("kept {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// `coracle up` as a child of ours.
struct Cluster {
    child: Child,
    program: PathBuf,
    directory: PathBuf,
}

impl Cluster {
    fn start(directory: &Path) -> anyhow::Result<Cluster> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let log = std::fs::File::create(directory.join("log"))?;
        println!("\x1b[1m$ coracle up\x1b[0m");
        let mut child = Command::new(&program)
            .args(["up", "--port", "0", "--node-name", "coracle", "--data-dir"])
            .arg(directory.join("data"))
            .arg("--kubeconfig")
            .arg(directory.join("kubeconfig"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start coracle up")?;
        let stdout = child.stdout.take().context("no output of coracle up")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let cluster = Cluster { child, program, directory: directory.to_owned() };
        if !line.contains("ready") {
            let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
            bail!("the cluster did not start: {}", log.trim());
        }
        println!("{line}\x1b[32m✓\x1b[0m a cluster with a node");
        Ok(cluster)
    }

    /// The step's command; what its `{…}` stand for is filled in here.
    fn command(&self, step: &Step) -> Command {
        let mut command = Command::new(&self.program);
        let filled = |word: &&str| word.replace("{dir}", &self.directory.display().to_string());
        match step.who {
            Who::User => {
                command.arg("kubectl").args(step.words.iter().map(filled));
            }
            Who::InPod(pod) => {
                let script = format!("{}\n{}", steps::SHELL_VARIABLES, step.words.join(" "));
                command
                    .args(["kubectl", "exec", pod, "-c", steps::container(pod), "--", "bash", "-c"])
                    .arg(script);
            }
        }
        command.env("KUBECONFIG", self.directory.join("kubeconfig")).current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).context("cannot stop the cluster")?;
        let status = self.child.wait().context("cannot wait for the cluster")?;
        if !status.success() {
            let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            bail!("the cluster did not stop cleanly ({status}): {}", log.trim());
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // After a failed step; a cluster that has been stopped is not there to be killed.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.stop();
        }
    }
}

fn play(cluster: &Cluster, step: &Step, clock: &Clock) -> anyhow::Result<()> {
    if let Some(title) = step.title {
        println!("\n\x1b[1;4m{title}\x1b[0m");
    }
    let prompt = match step.who {
        Who::User => "$ kubectl ".to_owned(),
        Who::InPod(pod) => format!("root@{pod}:/# "),
    };
    println!("\n\x1b[1m{prompt}{}\x1b[0m", step.shown());
    let begun = clock.elapsed();
    let answer = answer(cluster, step)?;
    show(&answer);
    let took = clock.elapsed().saturating_sub(begun);
    if took > STEP_MAX {
        bail!("this took {} s", took.as_secs());
    }
    match step.expect.is_met_by(&answer) {
        Ok(()) => println!("\x1b[32m✓\x1b[0m {}", step.says),
        Err(why) => {
            println!("\x1b[31m✗\x1b[0m {}", step.says);
            bail!("{why}");
        }
    }
    std::io::stdout().flush()?;
    Ok(())
}

/// All that the command writes; of a watch, what it writes until the awaited word.
fn answer(cluster: &Cluster, step: &Step) -> anyhow::Result<String> {
    let mut command = cluster.command(step);
    let Expect::Until(word) = step.expect else {
        let output = command.output().context("cannot run kubectl")?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        return Ok(text);
    };
    let mut child = command.spawn().context("cannot run kubectl")?;
    let stdout = child.stdout.take().context("no output of kubectl")?;
    let mut text = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        text.push_str(&line);
        text.push('\n');
        if line.contains(word) {
            break;
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(text)
}

fn show(answer: &str) {
    let lines: Vec<&str> = answer.lines().collect();
    for line in lines.iter().take(LINES_SHOWN) {
        println!("{line}");
    }
    if lines.len() > LINES_SHOWN {
        println!("… {} more lines", lines.len() - LINES_SHOWN);
    }
}
