//! What is wrong with an expression, shown with its place in the source.

use std::collections::BTreeMap;
use std::fmt;

/// Past so many complaints about one expression the rest says nothing new.
const ERRORS_MAX: usize = 100;

/// One complaint about an expression, at an offset counted in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// Why an expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    pub source: String,
    pub complaints: Vec<Complaint>,
}

impl CompileError {
    pub(super) fn new(source: &str, mut complaints: Vec<Complaint>) -> CompileError {
        complaints.sort_by_key(|c| (c.line, c.column));
        CompileError { source: source.to_owned(), complaints }
    }

    /// Of complaints by their offsets in characters. The source is walked once, however many there are.
    pub(super) fn at_offsets(source: &str, complaints: BTreeMap<usize, Vec<String>>) -> CompileError {
        let mut placed = Vec::with_capacity(complaints.len());
        let (mut line, mut column, mut walked, mut rest) = (1, 0, 0, source.chars());
        for (offset, messages) in complaints {
            for c in rest.by_ref().take(offset - walked) {
                (line, column) = if c == '\n' { (line + 1, 0) } else { (line, column + 1) };
            }
            walked = offset;
            placed.extend(messages.into_iter().map(|message| Complaint { line, column, message }));
        }
        CompileError { source: source.to_owned(), complaints: placed }
    }

    fn show(&self, complaint: &Complaint, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Complaint { line, column, message } = complaint;
        write!(f, "ERROR: <input>:{line}:{}: {message}", column + 1)?;
        let Some(text) = self.source.split('\n').nth(line - 1) else { return Ok(()) };
        write!(f, "\n | {}\n | ", text.replace('\t', " "))?;
        let wide = |c: char| c.len_utf8() > 1;
        let mut characters = text.chars();
        for c in characters.by_ref().take(*column) {
            f.write_str(if wide(c) { "．" } else { "." })?;
        }
        f.write_str(if characters.next().is_some_and(wide) { "＾" } else { "^" })
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, complaint) in self.complaints.iter().take(ERRORS_MAX).enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            self.show(complaint, f)?;
        }
        match self.complaints.len().checked_sub(ERRORS_MAX) {
            Some(more @ 1..) => write!(f, "\n{more} more errors were truncated"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for CompileError {}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("{0}")]
    Failed(String),
    /// It took more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    Cost,
}

impl EvalError {
    pub(super) fn new(message: impl Into<String>) -> EvalError {
        EvalError::Failed(message.into())
    }

    pub(super) fn no_overload() -> EvalError {
        EvalError::new("no such overload")
    }

    pub(super) fn no_key(key: impl fmt::Display) -> EvalError {
        EvalError::new(format!("no such key: {key}"))
    }
}
