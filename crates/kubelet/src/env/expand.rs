//! The `$(VAR)` expansion of container commands, arguments and environment values.

/// Replaces `$(NAME)` by `lookup(NAME)`; a name that is not known stays as it is written, `$$` stands for one `$`.
pub(crate) fn expand(input: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        match after.chars().next() {
            Some('$') => {
                out.push('$');
                rest = &after[1..];
            }
            Some('(') => match after.find(')') {
                Some(close) => {
                    let name = &after[1..close];
                    match lookup(name) {
                        Some(value) => out.push_str(&value),
                        None => out.push_str(&rest[dollar..dollar + close + 2]),
                    }
                    rest = &after[close + 1..];
                }
                None => {
                    out.push_str("$(");
                    rest = &after[1..];
                }
            },
            _ => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion_follows_the_reference() {
        let lookup = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "B" => Some("$(A)".to_owned()),
            _ => None,
        };
        for (input, want) in [
            ("plain", "plain"),
            ("$(A)", "one"),
            ("x$(A)y$(A)", "xoneyone"),
            ("$(B)", "$(A)"),
            ("$(MISSING)", "$(MISSING)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$one"),
            ("$(A", "$(A"),
            ("$A", "$A"),
            ("end$", "end$"),
            ("$()", "$()"),
        ] {
            assert_eq!(expand(input, lookup), want, "{input}");
        }
    }
}
