//! The recorded answers of the reference: each suite against a fresh control plane, with floors that only rise.

use std::path::PathBuf;
use std::process::Command;

use coracle_testkit::{Answer, Cluster, workspace};

/// Of the recorded answers of a suite, how many must be ours, in percent.
const SUITES: &[(&str, usize)] = &[
    ("inpod", 100),
    ("automount", 100),
    ("tokens", 100),
    ("denials", 100),
    ("reviews", 100),
    ("impersonation", 100),
    ("rbac", 100),
    ("discovery", 100),
    ("crud", 90),
    ("list", 90),
    ("watch", 90),
    ("patch", 90),
    ("validation", 90),
    ("services", 90),
    ("pods", 90),
];

/// `CORACLE_CONTRACT`, or the folder beside the repository.
fn contract() -> Option<PathBuf> {
    let beside = || workspace().join("../shared/contract");
    let dir = std::env::var_os("CORACLE_CONTRACT").map_or_else(beside, PathBuf::from);
    Some(dir.join("contract.py")).filter(|script| script.exists())
}

struct Score {
    passed: usize,
    failed: usize,
    told: String,
}

fn play(script: &PathBuf, suite: &str) -> Score {
    let cluster = Cluster::api_only();
    let mut python = Command::new("/usr/bin/python3");
    python.arg("-B").arg(script).args(["check", "--suite", suite, "--kubeconfig"]).arg(cluster.kubeconfig());
    let answer = Answer::of(python);
    let told = format!("{}{}", answer.stdout, answer.stderr);
    let last = answer.stdout.lines().last().unwrap_or_default();
    let numbers: Vec<usize> =
        last.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let &[passed, failed] = &numbers[..] else { panic!("{suite} gave no result: {told}") };
    assert!(passed + failed > 0, "{suite} has no cases: {told}");
    Score { passed, failed, told }
}

#[test]
fn recorded_answers_are_ours() {
    let Some(script) = contract() else {
        println!("left out: there is no ../shared/contract beside the repository");
        return;
    };
    let scores: Vec<_> = SUITES.iter().map(|&(suite, floor)| (suite, floor, play(&script, suite))).collect();
    let mut short = vec![];
    println!("{:<15} {:>6} {:>6}", "suite", "passed", "failed");
    for (suite, floor, score) in &scores {
        println!("{suite:<15} {:>6} {:>6}", score.passed, score.failed);
        if score.passed * 100 < floor * (score.passed + score.failed) {
            short.push(format!("{suite} is below {floor} %:\n{}", score.told));
        }
    }
    assert!(short.is_empty(), "{}", short.join("\n"));
}
