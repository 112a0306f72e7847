//! Parameters of a request's query.

/// The decoded pairs of a query, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Query {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let split = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        };
        Query(pairs.map(split).collect())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|it| !it.is_empty())
    }

    /// As the API reads booleans: present and not false.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.is_some_and(|(_, value)| !matches!(value.as_str(), "0" | "false"))
    }
}

/// Reads `%XX` and `+`.
pub(crate) fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let code = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                match code {
                    Some(code) => {
                        out.push(code);
                        at += 2;
                    }
                    None => out.push(b'%'),
                }
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_in_order() {
        let query = Query::parse("command=sh&command=-c&command=echo+a%20b%26&stdin=1&tty=false&x");
        assert_eq!(query.all("command"), ["sh", "-c", "echo a b&"]);
        assert!(query.is_set("stdin") && query.is_set("x"));
        assert!(!query.is_set("tty") && !query.is_set("stdout"));
        assert_eq!(query.first("x"), None);
    }
}
