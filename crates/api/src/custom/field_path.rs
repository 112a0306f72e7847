//! Paths into a schema, such as `.spec.ports['http'].port`: what `fieldPath` of a rule and `selectableFields` name.

use crate::schema::Structural;
use crate::schema::structural::Additional;

/// The path as errors write it, and the schema at its end. `takes_keys` where parts may stand in brackets, too.
pub fn parse<'a>(
    path: &str,
    schema: &'a Structural,
    takes_keys: bool,
) -> Result<(String, &'a Structural), String> {
    let (mut out, mut at) = (String::new(), schema);
    let mut tokens = tokens(path).into_iter();
    let end = || "unexpected end of JSON path".to_owned();
    while let Some(token) = tokens.next() {
        let name = match token {
            "[" if !takes_keys => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let quoted = tokens.next().ok_or_else(end)?;
                let inner = quoted.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
                let inner = inner.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?;
                let name = unescaped(inner)?;
                match tokens.next() {
                    Some("]") => name,
                    Some(other) => return Err(format!("expected ] but got {other}")),
                    None => return Err(end()),
                }
            }
            "." => tokens.next().ok_or_else(end)?.to_owned(),
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        at = step(at, &name, &mut out)?;
    }
    Ok((out, at))
}

fn step<'a>(at: &'a Structural, name: &str, out: &mut String) -> Result<&'a Structural, String> {
    let lost = || "does not refer to a valid field".to_owned();
    if at.properties.is_empty() {
        return match &at.additional {
            Some(Additional::Schema(of)) => {
                out.push_str(&format!("[{name}]"));
                Ok(of)
            }
            _ => Err(lost()),
        };
    }
    if !out.is_empty() {
        out.push('.');
    }
    out.push_str(name);
    at.properties.get(name).ok_or_else(lost)
}

/// The delimiters, and what stands between them; a quoted text is one token whatever is in it.
fn tokens(path: &str) -> Vec<&str> {
    let (mut out, mut rest) = (Vec::new(), path);
    while !rest.is_empty() {
        let length = if rest.starts_with('\'') {
            let bytes = rest.as_bytes();
            (1..bytes.len())
                .find(|&i| bytes[i] == b'\'' && bytes[i - 1] != b'\\')
                .map_or(rest.len(), |i| i + 1)
        } else {
            rest.find(['.', '[', ']']).map_or(rest.len(), |at| at.max(1))
        };
        let (token, after) = rest.split_at(length);
        out.push(token);
        rest = after;
    }
    out
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escaped = chars.next();
        out.push(match escaped {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(same @ ('\'' | '\\')) => same,
            other => {
                let shown = other.map(String::from).unwrap_or_default();
                return Err(format!("invalid string literal: invalid escape char \\{shown}"));
            }
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_followed_along_the_schema() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "m": {"type": "object", "additionalProperties": {"type": "string"}}, "a.b": {"type": "integer"}}}}});
        let schema = Structural::read(&schema).unwrap();
        let said = |path: &str| match parse(path, &schema, true) {
            Ok((path, at)) => format!("{path} {}", at.ty.name()),
            Err(e) => e,
        };
        for (path, want) in [
            (".spec", "spec object"),
            (".spec.m.k", "spec.m[k] string"),
            (".spec['a.b']", "spec.a.b integer"),
            (".spec.m['it\\'s']", "spec.m[it's] string"),
            (".none", "does not refer to a valid field"),
            ("spec", "expected [ or . but got: spec"),
            (".", "unexpected end of JSON path"),
            (".spec[0]", "expected single quoted string but got 0"),
        ] {
            assert_eq!(said(path), want, "{path}");
        }
        assert_eq!(parse(".spec['m']", &schema, false).unwrap_err(), "array notation is not allowed");
    }
}
