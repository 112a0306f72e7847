//! Field paths and the errors that validation reports at them, in the words of apimachinery's `field` package.

use std::fmt::{self, Display};

use serde_json::Value;

/// A path such as `spec.containers[0].image`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    pub fn root() -> Path {
        Path::default()
    }

    pub fn new(path: &str) -> Path {
        Path(path.to_owned())
    }

    pub fn child(&self, name: &str) -> Path {
        if self.0.is_empty() { Path(name.to_owned()) } else { self.with(&[".", name]) }
    }

    pub fn index(&self, i: usize) -> Path {
        self.with(&["[", &i.to_string(), "]"])
    }

    pub fn key(&self, key: &str) -> Path {
        self.with(&["[", key, "]"])
    }

    /// Validation asks for the path of every field that it looks at, so this is kept from the machinery of `format!`.
    fn with(&self, parts: &[&str]) -> Path {
        let mut path = String::with_capacity(self.0.len() + parts.iter().map(|p| p.len()).sum::<usize>());
        path.push_str(&self.0);
        parts.iter().for_each(|part| path.push_str(part));
        Path(path)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    Forbidden,
    NotFound,
    TooLong,
    TooMany,
    TypeInvalid,
    Internal,
}

impl ErrorType {
    /// The `reason` of a status cause.
    pub fn reason(self) -> &'static str {
        match self {
            ErrorType::Required => "FieldValueRequired",
            ErrorType::Invalid => "FieldValueInvalid",
            ErrorType::NotSupported => "FieldValueNotSupported",
            ErrorType::Duplicate => "FieldValueDuplicate",
            ErrorType::Forbidden => "FieldValueForbidden",
            ErrorType::NotFound => "FieldValueNotFound",
            ErrorType::TooLong => "FieldValueTooLong",
            ErrorType::TooMany => "FieldValueTooMany",
            ErrorType::TypeInvalid => "FieldValueTypeInvalid",
            ErrorType::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            ErrorType::Required => "Required value",
            ErrorType::Invalid | ErrorType::TypeInvalid => "Invalid value",
            ErrorType::NotSupported => "Unsupported value",
            ErrorType::Duplicate => "Duplicate value",
            ErrorType::Forbidden => "Forbidden",
            ErrorType::NotFound => "Not found",
            ErrorType::TooLong => "Too long",
            ErrorType::TooMany => "Too many",
            ErrorType::Internal => "Internal error",
        }
    }
}

/// One thing wrong with an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    pub kind: ErrorType,
    pub path: Path,
    /// As Go would print it: a string quoted, a number bare, an object as JSON. Empty where no value is shown.
    pub bad: String,
    pub detail: String,
}

impl Error {
    /// `Invalid value: "x": detail`, without the path: the `message` of a status cause.
    pub fn body(&self) -> String {
        let mut out = self.kind.words().to_owned();
        let shows_value = !matches!(
            self.kind,
            ErrorType::Required | ErrorType::Forbidden | ErrorType::TooLong | ErrorType::Internal
        );
        if shows_value && !self.bad.is_empty() {
            out.push_str(": ");
            out.push_str(&self.bad);
        }
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// The errors of one object, in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, kind: ErrorType, path: &Path, bad: String, detail: impl Into<String>) {
        self.0.push(Error { kind, path: path.clone(), bad, detail: detail.into() });
    }

    pub fn required(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(ErrorType::Required, path, String::new(), detail);
    }

    pub fn invalid(&mut self, path: &Path, bad: &Value, detail: impl Into<String>) {
        self.push(ErrorType::Invalid, path, go_value(bad), detail);
    }

    pub fn forbidden(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(ErrorType::Forbidden, path, String::new(), detail);
    }

    pub fn duplicate(&mut self, path: &Path, bad: &Value) {
        self.push(ErrorType::Duplicate, path, go_value(bad), "");
    }

    pub fn not_found(&mut self, path: &Path, bad: &Value) {
        self.push(ErrorType::NotFound, path, go_value(bad), "");
    }

    pub fn too_long(&mut self, path: &Path, limit: usize) {
        self.push(ErrorType::TooLong, path, String::new(), format!("may not be more than {limit} bytes"));
    }

    pub fn internal(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(ErrorType::Internal, path, String::new(), detail);
    }

    pub fn too_many(&mut self, path: &Path, actual: usize, limit: usize) {
        let detail = format!("must have at most {limit} items");
        self.push(ErrorType::TooMany, path, actual.to_string(), detail);
    }

    /// `supported` is listed in the order given: the reference sorts some of its lists and not others.
    pub fn not_supported(&mut self, path: &Path, bad: &Value, supported: &[&str]) {
        let names: Vec<String> = supported.iter().map(|s| go_quote(s)).collect();
        self.push(
            ErrorType::NotSupported,
            path,
            go_value(bad),
            format!("supported values: {}", names.join(", ")),
        );
    }

    /// An invalid value that is shown in other words than its JSON (Go's own form of a type).
    pub fn invalid_shown(&mut self, path: &Path, shown: impl Into<String>, detail: impl Into<String>) {
        self.push(ErrorType::Invalid, path, shown.into(), detail);
    }
}

/// A value as the reference quotes it in an error.
pub fn go_value(v: &Value) -> String {
    match v {
        Value::String(s) => go_quote(s),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

/// A string as Go's `%q` prints it.
pub fn go_quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
