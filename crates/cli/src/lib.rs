//! kubectl's verbs, with kubectl's words, flags and exit codes. Knows kinds only through discovery.

#![forbid(unsafe_code)]

mod args;
mod connect;
mod create;
mod discovery;
mod duration;
mod jsonpath;
mod manifest;
mod output;
mod rest;
mod terminal;
mod three_way;
mod verbs;

use std::ffi::OsString;

use coracle_clock::Clock;

pub use verbs::VERBS;

/// What ends a verb early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused: `Error from server (Forbidden): …`.
    #[error("Error from server{}: {message}", reason_suffix(.reason))]
    Server { code: u16, reason: String, message: String },
    /// Anything that never reached the API: `error: …`.
    #[error("error: {0}")]
    Local(String),
    /// Already said; only the exit code is left.
    #[error("")]
    Exit(i32),
}

fn reason_suffix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

impl Error {
    pub(crate) fn local(message: impl Into<String>) -> Error {
        Error::Local(message.into())
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::Server { code: 404, .. })
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        Error::Local(e.to_string())
    }
}

/// Run one kubectl command line (`args` begins with the program's name) and return its exit code.
pub async fn kubectl(args: Vec<OsString>, clock: Clock) -> i32 {
    let matches = match args::command().try_get_matches_from(args::normalise(args)) {
        Ok(matches) => matches,
        Err(e) => {
            let _ = e.print();
            // kubectl says 1 for a wrong flag, 0 for help and version.
            return i32::from(e.use_stderr());
        }
    };
    let Some((name, sub)) = matches.subcommand() else { return 1 };
    let Some(verb) = VERBS.iter().find(|v| v.name == name) else { return 1 };
    let cx = verbs::Cx { globals: args::Globals::of(sub), clock };
    match (verb.run)(cx, sub.clone()).await {
        Ok(code) | Err(Error::Exit(code)) => code,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}
