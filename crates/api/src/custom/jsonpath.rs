//! JSONPath as printer columns use it: `.status.conditions[?(@.type=="Ready")].status`.

use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Every,
    /// Everything inside, however deep.
    Descend,
    Index(i64),
    /// First, last (exclusive) and step.
    Slice(Option<i64>, Option<i64>, i64),
    Filter(Box<Filter>),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: JsonPath,
    /// None where it is enough that something is there.
    test: Option<(Comparison, Operand)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Value(Value),
    Path(JsonPath),
}

/// The longest operators first: `<=` begins as `<` does.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl JsonPath {
    /// None where the text is no path.
    pub(super) fn parse(text: &str) -> Option<JsonPath> {
        let mut steps = Vec::new();
        let mut rest = text.trim().trim_start_matches(['$', '@']);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("..") {
                steps.push(Step::Descend);
                rest = after;
                if rest.starts_with('[') {
                    continue;
                }
                rest = field(rest, &mut steps)?;
            } else if let Some(after) = rest.strip_prefix('[') {
                let end = closing(after)?;
                steps.push(bracket(after[..end].trim())?);
                rest = &after[end + 1..];
            } else {
                rest = field(rest.strip_prefix('.').unwrap_or(rest), &mut steps)?;
            }
        }
        Some(JsonPath(steps))
    }

    pub(super) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            let mut next = Vec::new();
            found.into_iter().for_each(|v| step.take(v, &mut next));
            found = next;
        }
        found
    }
}

/// A field's name up to the next step; a backslash takes a dot's meaning away.
fn field<'t>(text: &'t str, steps: &mut Vec<Step>) -> Option<&'t str> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => {
                end = at;
                break;
            }
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            c => name.push(c),
        }
    }
    match name.as_str() {
        "" if end == text.len() => {}
        "" => return None,
        "*" => steps.push(Step::Every),
        _ => steps.push(Step::Field(name)),
    }
    Some(&text[end..])
}

/// Where a bracket that was opened before is closed: not in a text, nor in a bracket of its own.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Option<Step> {
    if let Some(filter) = inner.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        return Some(Step::Filter(Box::new(Filter::parse(filter)?)));
    }
    if let Some(name) = quoted(inner) {
        return Some(Step::Field(name.to_owned()));
    }
    if inner == "*" {
        return Some(Step::Every);
    }
    let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    let parts: Vec<Option<i64>> = inner.split(':').map(|part| number(part.trim())).collect::<Option<_>>()?;
    match parts[..] {
        [Some(index)] => Some(Step::Index(index)),
        [first, last] => Some(Step::Slice(first, last, 1)),
        [first, last, step] => Some(Step::Slice(first, last, step.unwrap_or(1).max(1))),
        _ => None,
    }
}

fn quoted(text: &str) -> Option<&str> {
    let inner = |q| text.strip_prefix(q)?.strip_suffix(q);
    inner('\'').or_else(|| inner('"'))
}

impl Filter {
    fn parse(text: &str) -> Option<Filter> {
        let mut quote = None;
        for (at, c) in text.char_indices() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, _) => {
                    if let Some((sign, comparison)) =
                        COMPARISONS.iter().find(|(s, _)| text[at..].starts_with(s))
                    {
                        let left = JsonPath::parse(text[..at].trim())?;
                        let right = operand(text[at + sign.len()..].trim())?;
                        return Some(Filter { left, test: Some((*comparison, right)) });
                    }
                }
            }
        }
        Some(Filter { left: JsonPath::parse(text.trim())?, test: None })
    }

    fn takes(&self, item: &Value) -> bool {
        let left = self.left.find(item);
        let Some((comparison, right)) = &self.test else { return !left.is_empty() };
        let right = match right {
            Operand::Value(value) => Some(value),
            Operand::Path(path) => path.find(item).first().copied(),
        };
        let (Some(left), Some(right)) = (left.first(), right) else { return false };
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) => (*a == b).then_some(std::cmp::Ordering::Equal),
        };
        match comparison {
            Comparison::Equal => order.is_some_and(|o| o.is_eq()),
            Comparison::NotEqual => order.is_none_or(|o| o.is_ne()),
            Comparison::Less => order.is_some_and(|o| o.is_lt()),
            Comparison::LessOrEqual => order.is_some_and(|o| o.is_le()),
            Comparison::Greater => order.is_some_and(|o| o.is_gt()),
            Comparison::GreaterOrEqual => order.is_some_and(|o| o.is_ge()),
        }
    }
}

fn operand(text: &str) -> Option<Operand> {
    if let Some(text) = quoted(text) {
        return Some(Operand::Value(Value::from(text)));
    }
    if text.starts_with('@') || text.starts_with('$') || text.starts_with('.') {
        return JsonPath::parse(text).map(Operand::Path);
    }
    serde_json::from_str(text).ok().map(Operand::Value)
}

impl Step {
    fn take<'a>(&self, value: &'a Value, out: &mut Vec<&'a Value>) {
        match (self, value) {
            (Step::Field(name), Value::Object(map)) => out.extend(map.get(name)),
            (Step::Every, Value::Object(map)) => out.extend(map.values()),
            (Step::Every, Value::Array(items)) => out.extend(items),
            (Step::Descend, _) => descend(value, out),
            (Step::Index(at), Value::Array(items)) => {
                out.extend(index(*at, items.len()).and_then(|i| items.get(i)))
            }
            (Step::Slice(first, last, step), Value::Array(items)) => {
                let bound = |n: i64| {
                    let n = if n < 0 { n + items.len() as i64 } else { n };
                    usize::try_from(n).unwrap_or(0).min(items.len())
                };
                let (first, last) = (first.map_or(0, bound), last.map_or(items.len(), bound));
                let step = usize::try_from(*step).unwrap_or(1);
                out.extend(items.get(first..last).into_iter().flatten().step_by(step));
            }
            (Step::Filter(filter), Value::Array(items)) => {
                out.extend(items.iter().filter(|v| filter.takes(v)))
            }
            _ => {}
        }
    }
}

fn index(at: i64, length: usize) -> Option<usize> {
    usize::try_from(if at < 0 { at + length as i64 } else { at }).ok()
}

fn descend<'a>(value: &'a Value, out: &mut Vec<&'a Value>) {
    out.push(value);
    match value {
        Value::Object(map) => map.values().for_each(|v| descend(v, out)),
        Value::Array(items) => items.iter().for_each(|v| descend(v, out)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_what_kubectl_finds() {
        let obj = json!({"metadata": {"annotations": {"a.b/c": "x"}}, "spec": {"list": [1, 2, 3]}, "status": {
            "conditions": [{"type": "Ready", "status": "True", "n": 3}, {"type": "Done", "status": "False"}]}});
        for (path, want) in [
            (".spec.list[0]", json!([1])),
            (".spec.list[-1]", json!([3])),
            (".spec.list[1:]", json!([2, 3])),
            (".spec.list[*]", json!([1, 2, 3])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".status.conditions[?(@.type == 'Done')].status", json!(["False"])),
            (".status.conditions[?(@.n>=3)].type", json!(["Ready"])),
            (".status.conditions[?(@.n)].type", json!(["Ready"])),
            (".metadata.annotations.a\\.b/c", json!(["x"])),
            (".metadata.annotations['a.b/c']", json!(["x"])),
            (".spec..type", json!([])),
            ("..type", json!(["Ready", "Done"])),
            (".none.at.all", json!([])),
        ] {
            let found = JsonPath::parse(path).unwrap();
            assert_eq!(json!(found.find(&obj)), want, "{path}");
        }
        for bad in [".a[", ".a[x]", "..[?(", ".a[?(@.b==)]"] {
            assert_eq!(JsonPath::parse(bad), None, "{bad}");
        }
    }
}
