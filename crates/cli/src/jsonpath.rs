//! kubectl's JSONPath templates: `{.items[*].metadata.name}`, `{range .items[*]}{.x}{"\n"}{end}`, filters, `..`.

use serde_json::Value;

use crate::Error;

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Part>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Descend,
    Root,
    Slice(Option<i64>, Option<i64>, i64),
    Index(i64),
    Filter(Vec<Step>, String, Operand),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    None,
    Literal(Value),
    Path(Vec<Step>),
}

#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Template, Error> {
        // kubectl takes `.metadata.name` and `{.metadata.name}` alike.
        let relaxed = if text.contains('{') { text.to_owned() } else { format!("{{{text}}}") };
        let mut tokens = tokens(&relaxed)?;
        tokens.reverse();
        let parts = parts(&mut tokens, false)?;
        Ok(Template(parts))
    }

    pub(crate) fn render(&self, root: &Value) -> Result<String, Error> {
        let mut out = String::new();
        render(&self.0, root, root, &mut out)?;
        Ok(out)
    }
}

enum Token {
    Text(String),
    Block(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(body) = rest.strip_prefix('{') {
            let end = block_end(body).ok_or_else(|| bad("unclosed action"))?;
            found.push(Token::Block(body[..end].trim().to_owned()));
            rest = &body[end + 1..];
        } else {
            let end = rest.find('{').unwrap_or(rest.len());
            found.push(Token::Text(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    Ok(found)
}

/// The closing brace that is not inside quotes.
fn block_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(i),
            _ => {}
        }
    }
    None
}

fn parts(tokens: &mut Vec<Token>, in_range: bool) -> Result<Vec<Part>, Error> {
    let mut out = Vec::new();
    while let Some(token) = tokens.pop() {
        match token {
            Token::Text(text) => out.push(Part::Text(text)),
            Token::Block(block) if block == "end" => {
                return if in_range { Ok(out) } else { Err(bad("not in range, nothing to end")) };
            }
            Token::Block(block) => match block.strip_prefix("range ") {
                Some(path) => out.push(Part::Range(steps(path.trim())?, parts(tokens, true)?)),
                None if block.starts_with('"') || block.starts_with('\'') => {
                    out.push(Part::Text(unquote(&block)))
                }
                None => out.push(Part::Path(steps(&block)?)),
            },
        }
    }
    if in_range { Err(bad("unterminated range, missing {end}")) } else { Ok(out) }
}

fn unquote(text: &str) -> String {
    let inner = &text[1..text.len().saturating_sub(1).max(1)];
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

fn steps(text: &str) -> Result<Vec<Step>, Error> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    if let Some(after) = rest.strip_prefix('$') {
        out.push(Step::Root);
        rest = after;
    }
    rest = rest.strip_prefix('@').unwrap_or(rest);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            out.push(Step::Descend);
            rest = after;
            if !rest.starts_with('[') {
                rest = field(rest, &mut out);
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = if after.is_empty() || after.starts_with('[') { after } else { field(after, &mut out) };
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = bracket_end(after).ok_or_else(|| bad("unterminated array"))?;
            out.push(bracket(&after[..end])?);
            rest = &after[end + 1..];
        } else {
            rest = field(rest, &mut out);
        }
    }
    Ok(out)
}

/// Reads a field name; `\.` is a dot in it.
fn field<'a>(text: &'a str, out: &mut Vec<Step>) -> &'a str {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => {
                end = i;
                break;
            }
            c => name.push(c),
        }
    }
    out.push(if name == "*" { Step::Wildcard } else { Step::Field(name) });
    &text[end..]
}

fn bracket_end(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(i),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Result<Step, Error> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::Wildcard);
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return filter_step(filter);
    }
    if text.starts_with('\'') || text.starts_with('"') {
        return Ok(Step::Field(unquote(text)));
    }
    if text.contains(':') {
        let mut numbers = text.split(':').map(|n| n.trim().parse::<i64>().ok());
        let (from, to) = (numbers.next().flatten(), numbers.next().flatten());
        return Ok(Step::Slice(from, to, numbers.next().flatten().unwrap_or(1)));
    }
    text.parse().map(Step::Index).map_err(|_| bad(&format!("invalid array index {text}")))
}

fn filter_step(text: &str) -> Result<Step, Error> {
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        if let Some((left, right)) = text.split_once(operator) {
            let right = right.trim();
            let operand = if right.starts_with('@') || right.starts_with('$') {
                Operand::Path(steps(right)?)
            } else if right.starts_with('"') || right.starts_with('\'') {
                Operand::Literal(Value::String(unquote(right)))
            } else {
                Operand::Literal(
                    serde_json::from_str(right).map_err(|_| bad(&format!("unrecognized literal {right}")))?,
                )
            };
            return Ok(Step::Filter(steps(left)?, operator.to_owned(), operand));
        }
    }
    Ok(Step::Filter(steps(text)?, String::new(), Operand::None))
}

fn select<'a>(root: &'a Value, from: &'a Value, steps: &[Step]) -> Vec<&'a Value> {
    let mut now = vec![from];
    for step in steps {
        now = now.into_iter().flat_map(|v| apply(root, v, step)).collect();
    }
    now
}

fn apply<'a>(root: &'a Value, v: &'a Value, step: &Step) -> Vec<&'a Value> {
    match step {
        Step::Root => vec![root],
        Step::Field(name) => match v {
            Value::Array(items) => items.iter().filter_map(|i| i.get(name)).collect(),
            v => v.get(name).into_iter().collect(),
        },
        Step::Wildcard => children(v),
        Step::Descend => descendants(v),
        Step::Index(i) => {
            let items = v.as_array().map_or(&[][..], Vec::as_slice);
            let at = if *i < 0 { items.len() as i64 + i } else { *i };
            usize::try_from(at).ok().and_then(|at| items.get(at)).into_iter().collect()
        }
        Step::Slice(from, to, by) => slice(v, *from, *to, *by),
        Step::Filter(left, operator, right) => {
            children(v).into_iter().filter(|item| holds(root, item, left, operator, right)).collect()
        }
    }
}

fn slice(v: &Value, from: Option<i64>, to: Option<i64>, by: i64) -> Vec<&Value> {
    let items = v.as_array().map_or(&[][..], Vec::as_slice);
    let len = items.len() as i64;
    let clamp = |n: i64| usize::try_from(if n < 0 { len + n } else { n }.clamp(0, len)).unwrap_or(0);
    let (from, to) = (clamp(from.unwrap_or(0)), clamp(to.unwrap_or(len)));
    let by = usize::try_from(by).unwrap_or(1).max(1);
    items.get(from..to).unwrap_or_default().iter().step_by(by).collect()
}

fn children(v: &Value) -> Vec<&Value> {
    match v {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn descendants(v: &Value) -> Vec<&Value> {
    let mut all = vec![v];
    for child in children(v) {
        all.extend(descendants(child));
    }
    all
}

fn holds(root: &Value, item: &Value, left: &[Step], operator: &str, right: &Operand) -> bool {
    let Some(a) = select(root, item, left).into_iter().next() else { return false };
    let b = match right {
        Operand::None => return true,
        Operand::Literal(literal) => literal,
        Operand::Path(path) => match select(root, item, path).into_iter().next() {
            Some(b) => b,
            None => return false,
        },
    };
    let order = match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) => x.partial_cmp(&y),
        _ => a.as_str().zip(b.as_str()).map(|(x, y)| x.cmp(y)),
    };
    match operator {
        "==" => a == b,
        "!=" => a != b,
        "<" => order.is_some_and(std::cmp::Ordering::is_lt),
        "<=" => order.is_some_and(std::cmp::Ordering::is_le),
        ">" => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

fn render(parts: &[Part], root: &Value, at: &Value, out: &mut String) -> Result<(), Error> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(steps) => {
                let found: Vec<String> = select(root, at, steps).into_iter().map(shown).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(steps, body) => {
                for item in select(root, at, steps) {
                    render(body, root, item, out)?;
                }
            }
        }
    }
    Ok(())
}

fn shown(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn bad(why: &str) -> Error {
    Error::local(format!("error parsing jsonpath: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let root = json!({"items": [
            {"metadata": {"name": "a", "labels": {"x.y/z": "1"}}, "n": 1, "status": {"phase": "Running"}},
            {"metadata": {"name": "b"}, "n": 2, "status": {"phase": "Pending"}},
        ]});
        assert_eq!(Template::parse(template).unwrap().render(&root).unwrap(), expected);
    }

    #[test]
    fn templates_render_as_kubectl_renders_them() {
        check("{.items[*].metadata.name}", "a b");
        check(".items[0].metadata.name", "a");
        check("{.items[-1].metadata.name}", "b");
        check(
            "{range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\n\"}{end}",
            "a\tRunning\nb\tPending\n",
        );
        check("{.items[?(@.status.phase==\"Running\")].metadata.name}", "a");
        check("{.items[?(@.n>1)].metadata.name}", "b");
        check("{.items[0].metadata.labels.x\\.y/z}", "1");
        check("{.items[0].metadata.labels['x.y/z']}", "1");
        check("{..name}", "a b");
        check("{.items[0:1].n}", "1");
        check("{.missing}", "");
        check("x {.items[0].n} y", "x 1 y");
    }

    #[test]
    fn a_broken_template_is_refused() {
        assert!(Template::parse("{.items[").is_err());
        assert!(Template::parse("{range .items[*]}x").is_err());
    }
}
