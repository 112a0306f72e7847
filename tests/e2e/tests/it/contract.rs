//! The recorded answers of the reference: each suite against a fresh control plane, on each of the stores.

use std::path::{Path, PathBuf};
use std::process::Command;

use coracle_testkit::{Answer, Cluster, Options, workspace};
use coracle_testkit_etcd::Etcd;

/// How many recorded answers there are.
const CASES: usize = 465;
const SUITES: &[&str] = &[
    "inpod",
    "automount",
    "tokens",
    "denials",
    "reviews",
    "impersonation",
    "rbac",
    "discovery",
    "crud",
    "list",
    "watch",
    "patch",
    "apply",
    "validation",
    "services",
    "pods",
    "kinds",
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

fn play(script: &Path, suite: &str, etcd: Option<&Etcd>) -> Score {
    let flags = etcd.map(|etcd| vec!["--store".to_owned(), format!("etcd={}", etcd.endpoints().join(","))]);
    let cluster = Cluster::start(Options {
        api_only: true,
        ephemeral: etcd.is_none(),
        flags: flags.unwrap_or_default(),
        ..Options::default()
    });
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

/// Every suite, each on a store of its own: the namespaces that suites make have fixed names.
fn compare(store: &str, etcd: impl Fn() -> Option<Etcd>) {
    let Some(script) = contract() else {
        println!("left out: there is no ../shared/contract beside the repository");
        return;
    };
    let (mut passed, mut wrong) = (0, vec![]);
    println!("{:<15} {:>6} {:>6}  {store}", "suite", "passed", "failed");
    for suite in SUITES {
        let score = play(&script, suite, etcd().as_ref());
        println!("{suite:<15} {:>6} {:>6}", score.passed, score.failed);
        passed += score.passed;
        if score.failed > 0 {
            wrong.push(format!("{suite}:\n{}", score.told));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(passed, CASES, "a suite is missing here, or a case there");
}

#[test]
fn recorded_answers_are_ours() {
    compare("in memory", || None);
}

#[test]
fn recorded_answers_are_ours_on_etcd() {
    compare("on etcd", || Some(Etcd::start()));
}
