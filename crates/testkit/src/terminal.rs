//! A program at a terminal: what a person at a keyboard sees and types.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::pty::{Winsize, openpty};

use crate::eventually;

/// Wide, so that the shell does not fold what is typed.
const SIZE: Winsize = Winsize { ws_row: 50, ws_col: 400, ws_xpixel: 0, ws_ypixel: 0 };

#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// How much of the screen earlier expectations have used up.
    seen: usize,
}

impl Terminal {
    /// Run `command` with a new terminal as its controlling terminal.
    pub fn run(command: &Command) -> Terminal {
        let pty = openpty(&SIZE, None).expect("the machine has pseudo-terminals");
        let slave = || Stdio::from(pty.slave.try_clone().expect("a descriptor is free"));
        let mut leader = Command::new("setsid");
        leader.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            leader.env(name, value.unwrap_or_default());
        }
        leader.env("TERM", "xterm").stdin(slave()).stdout(slave()).stderr(slave());
        let child = leader.spawn().expect("setsid (util-linux) can be run");
        drop(leader);
        drop(pty.slave);
        let screen = Arc::new(Mutex::new(String::new()));
        let mut master = File::from(pty.master);
        let keyboard = master.try_clone().expect("a descriptor is free");
        let shown = screen.clone();
        // Reading ends by an error, once nobody has the terminal open any more.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = master.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
                shown.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Terminal { child, keyboard, screen, seen: 0 }
    }

    pub fn screen(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal is open");
    }

    /// Wait until `text` is shown after what was expected before; gives what came in between.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let before = eventually(&format!("the terminal shows {text:?}"), || {
            let screen = self.screen();
            match screen[self.seen..].find(text) {
                Some(at) => Ok(screen[self.seen..self.seen + at].to_owned()),
                None => Err(screen),
            }
        });
        self.seen += before.len() + text.len();
        before
    }

    /// Type a line and give what is shown between its echo and the next `prompt`.
    #[track_caller]
    pub fn ask(&mut self, line: &str, prompt: &str) -> String {
        self.type_keys(&format!("{line}\r"));
        self.expect(line);
        let shown = self.expect(prompt);
        without_modes(&shown).replace("\r\n", "\n").trim_start_matches(['\r', '\n']).to_owned()
    }

    pub fn wait(&mut self) -> ExitStatus {
        eventually("the program at the terminal ends", || {
            self.child.try_wait().map_err(|e| e.to_string())?.ok_or_else(|| self.screen())
        })
    }
}

/// Without the sequences by which shells switch a terminal's modes, `ESC [ ? N h` and `ESC [ ? N l`.
fn without_modes(shown: &str) -> String {
    let mut parts = shown.split("\u{1b}[?");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.trim_start_matches(|c: char| c.is_ascii_digit()).get(1..).unwrap_or("")
    })
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
