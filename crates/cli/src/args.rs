//! The command line: the flags that every verb has, and the verbs' own from the [`crate::VERBS`] table.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::verbs::VERBS;

/// What every verb may be told about where and as whom to speak.
#[derive(Debug, Clone, Default)]
pub(crate) struct Globals {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub namespace: Option<String>,
    pub server: Option<String>,
    pub token: Option<String>,
    pub certificate_authority: Option<String>,
    pub insecure: bool,
    pub as_user: Option<String>,
    pub as_groups: Vec<String>,
    pub as_uid: Option<String>,
}

impl Globals {
    pub(crate) fn of(m: &ArgMatches) -> Globals {
        let one = |name: &str| m.get_one::<String>(name).cloned();
        Globals {
            kubeconfig: one("kubeconfig").map(PathBuf::from),
            context: one("context"),
            cluster: one("cluster"),
            user: many(m, "user").pop(),
            namespace: one("namespace"),
            server: one("server"),
            token: one("token"),
            certificate_authority: one("certificate-authority"),
            insecure: m.get_flag("insecure-skip-tls-verify"),
            as_user: one("as"),
            as_groups: many(m, "as-group"),
            as_uid: one("as-uid"),
        }
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new("kubectl")
        .about("kubectl controls the Kubernetes cluster manager")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_version_flag(true)
        .args(global_args());
    for verb in VERBS {
        command = command.subcommand((verb.args)(Command::new(verb.name).about(verb.about)));
    }
    command
}

fn global_args() -> Vec<Arg> {
    let option = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).global(true).action(ArgAction::Set).help_heading("Connection")
    };
    vec![
        option("kubeconfig", "Path to the kubeconfig file to use"),
        option("context", "The kubeconfig context to use"),
        option("cluster", "The kubeconfig cluster to use"),
        option("user", "The kubeconfig user to use").action(ArgAction::Append),
        option("namespace", "The namespace scope of this request").short('n'),
        option("server", "The address and port of the API server").short('s'),
        option("token", "Bearer token for authentication to the API server"),
        option("certificate-authority", "Path to a certificate file of the certificate authority"),
        option("as", "Username to impersonate"),
        option("as-group", "Group to impersonate; may be repeated").action(ArgAction::Append),
        option("as-uid", "UID to impersonate"),
        option("request-timeout", "The time to wait before giving up on a request"),
        option("v", "Log level verbosity").short('v'),
        option("insecure-skip-tls-verify", "Do not check the server's certificate")
            .action(ArgAction::SetTrue),
    ]
}

/// kubectl takes `-oyaml`, `-o=yaml` and `-nNAME`; clap does, too. It also takes `-ojson` after positional
/// arguments, which needs nothing. What clap does not know is `--flag=` with an empty value for booleans.
pub(crate) fn normalise(args: Vec<OsString>) -> Vec<OsString> {
    let mut raw = false;
    args.into_iter()
        .filter_map(|arg| {
            raw |= arg == "--";
            if raw {
                return Some(arg);
            }
            match arg.to_str().and_then(|a| a.strip_prefix("--")).and_then(|a| a.split_once('=')) {
                Some((name, "true")) if is_switch(name) => Some(OsString::from(format!("--{name}"))),
                Some((name, "false")) if is_switch(name) => None,
                _ => Some(arg),
            }
        })
        .collect()
}

/// The switches that people write with `=true` and `=false`; all are off unless given.
fn is_switch(name: &str) -> bool {
    #[rustfmt::skip]
    const SWITCHES: &[&str] = &[
        "all", "all-namespaces", "follow", "force", "ignore-not-found", "insecure-skip-tls-verify", "no-headers", "now",
        "overwrite", "previous", "quiet", "rm", "show-labels", "stdin", "timestamps", "tty", "watch", "watch-only",
        "disable-filter", "show-managed-fields", "recursive", "attach", "command", "expose", "list", "client", "short",
    ];
    SWITCHES.contains(&name)
}

// === the flags that several verbs share ===

pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

pub(crate) fn option(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::Set)
}

pub(crate) fn list(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::Append)
}

pub(crate) fn words(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).help(help).num_args(0..).action(ArgAction::Append)
}

/// What comes after `--`.
pub(crate) fn command_words() -> Arg {
    Arg::new("command-words").last(true).num_args(0..).action(ArgAction::Append).value_name("COMMAND")
}

pub(crate) fn output() -> Arg {
    option("output", "Output format: json|yaml|name|wide|jsonpath=…|custom-columns=…").short('o')
}

pub(crate) fn filename() -> Arg {
    list("filename", "Manifest file, directory, URL-less path or - for standard input").short('f')
}

pub(crate) fn selector() -> Arg {
    option("selector", "Label selector").short('l')
}

pub(crate) fn all_namespaces() -> Arg {
    switch("all-namespaces", "Look in every namespace").short('A')
}

pub(crate) fn dry_run() -> Arg {
    option("dry-run", "none, client or server")
        .num_args(0..=1)
        .default_missing_value("client")
        .require_equals(true)
}

pub(crate) fn text(m: &ArgMatches, name: &str) -> Option<String> {
    m.try_get_one::<String>(name).ok().flatten().cloned()
}

pub(crate) fn flag(m: &ArgMatches, name: &str) -> bool {
    m.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or(false)
}

pub(crate) fn many(m: &ArgMatches, name: &str) -> Vec<String> {
    m.try_get_many::<String>(name).ok().flatten().into_iter().flatten().cloned().collect()
}
