//! THE TABLE of verbs: name, flags, what it does. One file each.

mod api_resources;
mod apply;
mod auth;
mod create;
mod delete;
mod describe;
mod exec;
mod get;
mod logs;
mod proxy;
mod run;
mod version;
mod wait;

use clap::{ArgMatches, Command};
use coracle_clock::Clock;
use futures::future::BoxFuture;

use crate::Error;
use crate::args::Globals;
use crate::connect::{Connection, connect};

/// What every verb is handed beside its own arguments.
#[derive(Clone)]
pub struct Cx {
    pub(crate) globals: Globals,
    pub(crate) clock: Clock,
}

impl std::fmt::Debug for Cx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx").finish_non_exhaustive()
    }
}

impl Cx {
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        connect(&self.globals).await
    }
}

pub struct Verb {
    pub name: &'static str,
    pub about: &'static str,
    pub(crate) args: fn(Command) -> Command,
    pub(crate) run: fn(Cx, ArgMatches) -> BoxFuture<'static, Result<i32, Error>>,
}

impl std::fmt::Debug for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! verb {
    ($name:literal, $module:ident, $about:literal) => {
        Verb { name: $name, about: $about, args: $module::args, run: |cx, m| Box::pin($module::run(cx, m)) }
    };
}

pub const VERBS: &[Verb] = &[
    verb!("run", run, "Run a particular image in a Pod"),
    verb!("get", get, "Display one or many resources"),
    verb!("describe", describe, "Show details of a specific resource or group of resources"),
    verb!("apply", apply, "Apply a configuration to a resource by file name or stdin"),
    verb!("create", create, "Create a resource from a file or from stdin"),
    verb!(
        "delete",
        delete,
        "Delete resources by file names, stdin, resources and names, or by label selector"
    ),
    verb!("exec", exec, "Execute a command in a container"),
    verb!("logs", logs, "Print the logs for a container in a Pod"),
    verb!("wait", wait, "Wait for a specific condition on one or many resources"),
    verb!("auth", auth, "Inspect authorization"),
    verb!("proxy", proxy, "Run a proxy to the Kubernetes API server"),
    verb!("api-resources", api_resources, "Print the supported API resources on the server"),
    verb!("version", version, "Print the client and server version information"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_verb_is_named_once() {
        crate::args::command().debug_assert();
        let mut names: Vec<_> = VERBS.iter().map(|v| v.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), VERBS.len());
    }
}
