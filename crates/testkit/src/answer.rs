//! What a command said, and how a test asks about it.

use std::process::{Command, Stdio};

/// The outcome of a command that has ended.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was run, for messages.
    pub command: String,
    /// The exit code; a signal counts as shells count it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    pub fn of(mut command: Command) -> Answer {
        let told = format!("{command:?}");
        let output = command.output().unwrap_or_else(|e| panic!("cannot run {told}: {e}"));
        Answer::from_output(told, output)
    }

    /// Run with `input` on standard input.
    pub fn of_input(mut command: Command, input: &str) -> Answer {
        use std::io::Write;
        let told = format!("{command:?}");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {told}: {e}"));
        let mut stdin = child.stdin.take().expect("standard input is piped");
        // A command that does not read its input is judged by what it says, not by the broken pipe.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap_or_else(|e| panic!("cannot wait for {told}: {e}"));
        Answer::from_output(told, output)
    }

    fn from_output(command: String, output: std::process::Output) -> Answer {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        Answer {
            command,
            code,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn success(&self) -> bool {
        self.code == 0
    }

    /// Standard output of a command that must succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success(), "{self:#?}");
        self.stdout
    }

    /// Standard output as JSON of a command that must succeed.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON: {e}: {text}"))
    }
}
