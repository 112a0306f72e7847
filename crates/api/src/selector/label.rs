//! Label selectors, from `a=b,c in (d,e)` and from the `matchLabels`/`matchExpressions` form.

use std::fmt::{self, Display};

use serde_json::{Map, Value};

use super::SelectorError;
use crate::field::{Errors, Path};

/// Something that has labels.
pub trait Lookup {
    fn value(&self, key: &str) -> Option<&str>;
}

impl Lookup for [(String, String)] {
    fn value(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

impl Lookup for Vec<(String, String)> {
    fn value(&self, key: &str) -> Option<&str> {
        self.as_slice().value(key)
    }
}

impl Lookup for Map<String, Value> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

/// The labels map itself, not the object that carries it; null has no labels.
impl Lookup for Value {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equals,
    /// As `Equals`, written `==`.
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without doubles.
    pub values: Vec<String>,
    /// The one value of `GreaterThan` and `LessThan`.
    bound: i64,
}

impl Requirement {
    /// Checks key and values as the reference does; `path` is where the requirement stands.
    pub fn new(
        key: String,
        operator: Operator,
        mut values: Vec<String>,
        path: &Path,
    ) -> Result<Requirement, SelectorError> {
        values.sort();
        values.dedup();
        let mut errs = Errors::default();
        check_key(&key, &path.child("key"), &mut errs);
        check_values(operator, &values, &path.child("values"), &mut errs);
        for (i, value) in values.iter().enumerate() {
            let wrong = crate::names::label_value(value);
            if !wrong.is_empty() {
                let at = path.child("values").index(i).key(&key);
                errs.invalid(&at, &Value::String(value.clone()), wrong.join("; "));
            }
        }
        if !errs.is_empty() {
            return Err(aggregate(&errs));
        }
        let bound = match operator {
            Operator::GreaterThan | Operator::LessThan => values[0].parse().unwrap_or(0),
            _ => 0,
        };
        Ok(Requirement { key, operator, values, bound })
    }

    pub fn matches<L: Lookup + ?Sized>(&self, labels: &L) -> bool {
        let value = labels.value(&self.key);
        let listed = |v: &str| self.values.iter().any(|x| x == v);
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => value.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => {
                value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|n| n > self.bound)
            }
            Operator::LessThan => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|n| n < self.bound),
        }
    }
}

fn check_key(key: &str, path: &Path, errs: &mut Errors) {
    let wrong = crate::names::qualified(key);
    if !wrong.is_empty() {
        errs.invalid(path, &Value::String(key.to_owned()), wrong.join("; "));
    }
}

fn check_values(operator: Operator, values: &[String], path: &Path, errs: &mut Errors) {
    let shown = Value::from(values.to_vec());
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            errs.invalid(path, &shown, "for 'in', 'notin' operators, values set can't be empty");
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
            errs.invalid(path, &shown, "exact-match compatibility requires one single value");
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            errs.invalid(path, &shown, "values set must be empty for exists and does not exist");
        }
        Operator::GreaterThan | Operator::LessThan => {
            if values.len() != 1 {
                errs.invalid(path, &shown, "for 'Gt', 'Lt' operators, exactly one value is required");
            }
            for (i, value) in values.iter().enumerate().filter(|(_, v)| v.parse::<i64>().is_err()) {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                errs.invalid(&path.index(i), &Value::String(value.clone()), why);
            }
        }
        _ => {}
    }
}

fn aggregate(errs: &Errors) -> SelectorError {
    let mut texts: Vec<String> = errs.0.iter().map(ToString::to_string).collect();
    SelectorError(if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) })
}

impl Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let values = self.values.join(",");
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// All of its requirements must hold. The default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// Sorted by key.
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    pub fn everything() -> LabelSelector {
        LabelSelector::default()
    }

    pub fn nothing() -> LabelSelector {
        LabelSelector { requirements: Vec::new(), nothing: true }
    }

    pub fn from_requirements(mut requirements: Vec<Requirement>) -> LabelSelector {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        LabelSelector { requirements, nothing: false }
    }

    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        let requirements = super::label::Parser::new(text).requirements().map_err(SelectorError)?;
        Ok(LabelSelector::from_requirements(requirements))
    }

    /// From `{matchLabels, matchExpressions}`. No selector at all (null) selects nothing, an empty one everything.
    pub fn from_object(selector: &Value) -> Result<LabelSelector, SelectorError> {
        if selector.is_null() {
            return Ok(LabelSelector::nothing());
        }
        let mut requirements = Vec::new();
        for (key, value) in crate::object::pairs(&selector["matchLabels"]) {
            let values = vec![value.to_owned()];
            requirements.push(Requirement::new(key.to_owned(), Operator::Equals, values, &Path::root())?);
        }
        for expression in crate::object::items(selector, &["matchExpressions"]) {
            let said = crate::object::text(expression, &["operator"]);
            let operator = match said {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => {
                    let why =
                        format!("{} is not a valid label selector operator", crate::field::go_quote(said));
                    return Err(SelectorError(why));
                }
            };
            let values = strings(crate::object::items(expression, &["values"]));
            let key = crate::object::text(expression, &["key"]).to_owned();
            requirements.push(Requirement::new(key, operator, values, &Path::root())?);
        }
        Ok(LabelSelector::from_requirements(requirements))
    }

    /// From a plain map, as a Service's `spec.selector`: exact matches, unchecked. An empty map selects everything.
    pub fn from_map(labels: &Value) -> LabelSelector {
        let exact = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: vec![value.to_owned()],
            bound: 0,
        };
        LabelSelector::from_requirements(crate::object::pairs(labels).map(exact).collect())
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    pub fn matches<L: Lookup + ?Sized>(&self, labels: &L) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// Whether it selects an object by `metadata.labels`.
    pub fn selects(&self, obj: &Value) -> bool {
        self.matches(crate::object::at(obj, &["metadata", "labels"]))
    }
}

impl Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            write!(f, "{}{r}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

fn strings(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    End,
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    In,
    NotIn,
    Identifier,
    Error,
}

impl Token {
    /// Where a value or a key may stand, `in` and `notin` are words like any other.
    fn as_value(self) -> Token {
        if matches!(self, Token::In | Token::NotIn) { Token::Identifier } else { self }
    }

    fn of(symbol: &str) -> Option<Token> {
        Some(match symbol {
            "(" => Token::Open,
            ")" => Token::Close,
            "," => Token::Comma,
            "!" => Token::Not,
            "=" => Token::Equals,
            "==" => Token::DoubleEquals,
            "!=" => Token::NotEquals,
            ">" => Token::Greater,
            "<" => Token::Less,
            _ => return None,
        })
    }
}

struct Parser {
    tokens: Vec<(Token, String)>,
    at: usize,
}

impl Parser {
    fn new(text: &str) -> Parser {
        let mut tokens = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            let (token, length) = scan(rest);
            tokens.push((token, rest[..length].to_owned()));
            rest = &rest[length..];
            if token == Token::End {
                return Parser { tokens, at: 0 };
            }
        }
    }

    fn peek(&self) -> (Token, &str) {
        let (token, text) = &self.tokens[self.at.min(self.tokens.len() - 1)];
        (*token, text)
    }

    fn next(&mut self) -> (Token, String) {
        let (token, text) = self.peek();
        let found = (token, text.to_owned());
        self.at += 1;
        found
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut found = Vec::new();
        loop {
            match (self.peek().0.as_value(), self.peek().1) {
                (Token::Identifier | Token::Not, _) => {
                    let r = self.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?;
                    found.push(r);
                    match self.next() {
                        (Token::End, _) => return Ok(found),
                        (Token::Comma, _) => {
                            let (token, text) = self.peek();
                            if !matches!(token.as_value(), Token::Identifier | Token::Not) {
                                return Err(format!("found '{text}', expected: identifier after ','"));
                            }
                        }
                        (_, text) => return Err(format!("found '{text}', expected: ',' or 'end of string'")),
                    }
                }
                (Token::End, _) => return Ok(found),
                (_, text) => {
                    return Err(format!("found '{text}', expected: !, identifier, or 'end of string'"));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.next();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next();
        }
        if token.as_value() != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let mut errs = Errors::default();
        check_key(&key, &Path::root(), &mut errs);
        if !errs.is_empty() {
            return Err(aggregate(&errs).0);
        }
        let bare = matches!(self.peek().0, Token::End | Token::Comma);
        let (operator, values) = match (negated, bare) {
            (true, _) => (Operator::DoesNotExist, Vec::new()),
            (false, true) => (Operator::Exists, Vec::new()),
            (false, false) => {
                let operator = self.operator()?;
                let values = match operator {
                    Operator::In | Operator::NotIn => self.values()?,
                    _ => vec![self.exact_value()?],
                };
                (operator, values)
            }
        };
        Requirement::new(key, operator, values, &Path::root()).map_err(|e| e.0)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let (token, text) = self.next();
        Ok(match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn exact_value(&mut self) -> Result<String, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next() {
            (t, text) if t.as_value() == Token::Identifier => Ok(text),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let (token, text) = self.next();
        if token != Token::Open {
            return Err(format!("found '{text}' expected: '('"));
        }
        match (self.peek().0.as_value(), self.peek().1) {
            (Token::Identifier | Token::Comma, first) => {
                let first = first.to_owned();
                let values = self.list()?;
                match self.next().0 {
                    Token::Close => Ok(values),
                    _ => Err(format!("found '{first}', expected: ')'")),
                }
            }
            (Token::Close, _) => {
                self.at += 1;
                Ok(Vec::new())
            }
            (_, text) => Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
    }

    /// Values up to the closing parenthesis; nothing between two commas is the empty value.
    fn list(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        loop {
            let (token, text) = self.next();
            match token.as_value() {
                Token::Identifier => {
                    values.push(text);
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                Token::Comma => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.peek().0 {
                        Token::Close => {
                            values.push(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            self.at += 1;
                            values.push(String::new());
                        }
                        _ => {}
                    }
                }
                _ => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

/// The first token and its length in bytes.
fn scan(text: &str) -> (Token, usize) {
    let Some(first) = text.chars().next() else { return (Token::End, 0) };
    if is_special(first) {
        // The longest run of special characters that is a symbol, grown one by one as the reference's lexer does. No
        // further: looking for the end of the run at each of its characters would take the square of its length.
        let (mut best, mut run) = (None, 0);
        for c in text.chars().take_while(|c| is_special(*c)) {
            run += c.len_utf8();
            match Token::of(&text[..run]) {
                Some(token) => best = Some((token, run)),
                None if best.is_some() => break,
                None => {}
            }
        }
        return best.unwrap_or((Token::Error, run));
    }
    let end = |c: char| is_special(c) || matches!(c, ' ' | '\t' | '\r' | '\n');
    let length = text.find(end).unwrap_or(text.len());
    let token = match &text[..length] {
        "in" => Token::In,
        "notin" => Token::NotIn,
        _ => Token::Identifier,
    };
    (token, length)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_run_of_symbols_is_read_once() {
        for symbol in [",", "!", "(", "=", ">"] {
            // The square of this would be minutes.
            assert!(
                LabelSelector::parse(&format!("a in b{}", symbol.repeat(1_000_000))).is_err(),
                "{symbol}"
            );
        }
    }

    fn check(selector: &str, want: &[&str]) {
        let all = [
            ("i0", json!({"n": "0", "even": "yes", "opt": "x"})),
            ("i1", json!({"n": "1", "even": "no", "opt": "x"})),
            ("i2", json!({"n": "2", "even": "yes"})),
            ("i3", json!({"n": "3", "even": "no"})),
            ("kube-root-ca.crt", json!(null)),
        ];
        let s = LabelSelector::parse(selector).unwrap();
        let found: Vec<_> = all.iter().filter(|(_, l)| s.matches(l)).map(|(n, _)| *n).collect();
        assert_eq!(found, want, "{selector}");
    }

    #[test]
    fn selects_as_recorded() {
        check("", &["i0", "i1", "i2", "i3", "kube-root-ca.crt"]);
        check("even=yes", &["i0", "i2"]);
        check("even==yes", &["i0", "i2"]);
        check("even!=yes,n", &["i1", "i3"]);
        check("n in (1,2)", &["i1", "i2"]);
        check("n notin (1,2),n", &["i0", "i3"]);
        check("opt", &["i0", "i1"]);
        check("!opt,n", &["i2", "i3"]);
        check("n>2", &["i3"]);
        check("n<2", &["i0", "i1"]);
        check("n=", &[]);
        check(" even = yes ", &["i0", "i2"]);
        check("in=x", &[]);
    }

    #[test]
    fn refuses_as_recorded() {
        for (text, want) in [
            ("n in (1", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            ("n=a b", "found 'b', expected: ',' or 'end of string'"),
            ("a,,b", "found ',', expected: identifier after ','"),
            (
                "n>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            ("(", "found '(', expected: !, identifier, or 'end of string'"),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), want);
        }
        let said = LabelSelector::parse("-x=1").unwrap_err().to_string();
        assert!(
            said.starts_with(
                "unable to parse requirement: <nil>: Invalid value: \"-x\": name part must consist of"
            ),
            "{said}"
        );
    }

    #[test]
    fn prints_sorted_by_key() {
        let s = LabelSelector::parse("z in (b,a),!y,x==1,w!=2,v>3,u").unwrap();
        assert_eq!(s.to_string(), "u,v>3,w!=2,x==1,!y,z in (a,b)");
    }

    #[test]
    fn reads_the_object_form() {
        let of = |v: Value| {
            LabelSelector::from_object(&v).map(|s| s.to_string()).unwrap_or_else(|e| e.to_string())
        };
        let v = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["e", "d"]}]});
        assert_eq!(of(v), "a=b,c in (d,e)");
        let v = json!({"matchExpressions": [{"key": "c", "operator": "Frob"}]});
        assert_eq!(of(v), "\"Frob\" is not a valid label selector operator");
        assert!(!LabelSelector::from_object(&Value::Null).unwrap().matches(&json!({"a": "b"})));
        assert!(LabelSelector::from_object(&json!({})).unwrap().is_everything());
    }
}
