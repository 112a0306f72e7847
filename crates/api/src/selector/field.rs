//! Field selectors: `metadata.name=a,status.phase!=Failed`.

use std::fmt::{self, Display};

use super::SelectorError;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldTerm {
    pub path: String,
    pub value: String,
    /// `=`, not `!=`.
    pub equal: bool,
}

/// All of its terms must hold. The default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    pub terms: Vec<FieldTerm>,
}

impl FieldSelector {
    pub fn everything() -> FieldSelector {
        FieldSelector::default()
    }

    pub fn parse(text: &str) -> Result<FieldSelector, SelectorError> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|p| !p.is_empty()) {
            let (path, equal, escaped) = split_term(part).ok_or_else(|| {
                SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'"))
            })?;
            terms.push(FieldTerm { path: path.to_owned(), value: unescape(escaped)?, equal });
        }
        Ok(FieldSelector { terms })
    }

    /// Refuses a path that a kind does not offer. `selectable` are the paths that the kind has beside name and namespace.
    pub fn check(&self, selectable: &[impl AsRef<str>]) -> Result<(), SelectorError> {
        for term in &self.terms {
            let path = term.path.as_str();
            let is_own = selectable.iter().any(|s| s.as_ref() == path);
            if path == "metadata.name" || path == "metadata.namespace" || is_own {
                continue;
            }
            return Err(SelectorError(if selectable.is_empty() {
                let quoted = crate::field::go_quote(path);
                format!(
                    "{quoted} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )
            } else {
                format!("field label not supported: {path}")
            }));
        }
        Ok(())
    }

    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether it selects an object whose value at a path `field` tells.
    pub fn matches<S: AsRef<str>>(&self, field: impl Fn(&str) -> S) -> bool {
        self.terms.iter().all(|t| (field(&t.path).as_ref() == t.value) == t.equal)
    }

    /// The one value that a selected object must have at `path`.
    pub fn required(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equal && t.path == path).map(|t| t.value.as_str())
    }
}

impl Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, t) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let op = if t.equal { "=" } else { "!=" };
            let value = t.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{}{op}{value}", t.path)?;
        }
        Ok(())
    }
}

/// The parts between commas; a backslash takes a comma's meaning away.
fn split_terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Path, whether the operator is an equality, and the still escaped value.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(i, _)| {
        let (path, rest) = term.split_at(i);
        let operators = [("!=", false), ("==", true), ("=", true)];
        operators.iter().find_map(|(op, equal)| Some((path, *equal, rest.strip_prefix(op)?)))
    })
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    let why = format!("invalid field selector: invalid escape sequence: {sequence}");
                    return Err(SelectorError(why));
                }
            },
            ',' | '=' => {
                let code = u32::from(c);
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {code}"
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_matches_and_prints() {
        let s = FieldSelector::parse("status.phase!=Failed,spec.nodeName=x\\,y").unwrap();
        assert_eq!(s.to_string(), "spec.nodeName=x\\,y,status.phase!=Failed");
        assert_eq!(s.required("spec.nodeName"), Some("x,y"));
        assert!(s.matches(|p| if p == "spec.nodeName" { "x,y" } else { "Running" }));
        assert!(!s.matches(|p| if p == "spec.nodeName" { "x,y" } else { "Failed" }));
        assert!(FieldSelector::parse("").unwrap().is_everything());
        assert!(FieldSelector::parse("a==b").unwrap().terms[0].equal);
    }

    #[test]
    fn refuses_as_recorded() {
        for (text, want) in [
            ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
            (
                "metadata.name in (a)",
                "invalid selector: 'metadata.name in (a)'; can't understand 'metadata.name in (a)'",
            ),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            ("a=\\b", "invalid field selector: invalid escape sequence: \\b"),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), want);
        }
        let s = FieldSelector::parse("data.k=v").unwrap();
        let want = "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
        assert_eq!(s.check(&[""; 0]).unwrap_err().to_string(), want);
        assert_eq!(s.check(&["spec.x"]).unwrap_err().to_string(), "field label not supported: data.k");
        assert!(s.check(&["data.k"]).is_ok());
    }
}
