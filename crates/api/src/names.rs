//! What may be a name, a label, a port name: the checks of apimachinery's `validation` package, with its words.

use std::net::{IpAddr, Ipv4Addr};

use crate::cidr::Cidr;

/// The longest DNS label (RFC 1123, RFC 1035), and so the longest label value and name part of a key.
pub const DNS_LABEL_MAX: usize = 63;
/// The longest DNS subdomain that fits a hostname (RFC 1123).
pub const DNS_SUBDOMAIN_MAX: usize = 253;
/// The longest port name (RFC 6335, an IANA service name).
pub const PORT_NAME_MAX: usize = 15;

const LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FMT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const CONFIG_KEY_FMT: &str = "[-._a-zA-Z0-9]+";

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn pattern(words: &str, examples: &[&str], regex: &str) -> String {
    let mut out = words.to_owned();
    out.push_str(" (");
    for (i, example) in examples.iter().enumerate() {
        out.push_str(if i == 0 { "e.g. " } else { " or " });
        out.push_str(&format!("'{example}', "));
    }
    out.push_str(&format!("regex used for validation is '{regex}')"));
    out
}

/// A generated name gets a suffix, so a prefix may end with a dash.
fn masked(name: &str, prefix: bool) -> String {
    match name.strip_suffix('-') {
        Some(head) if prefix && !head.is_empty() => {
            let mut shorter = head.to_owned();
            shorter.pop();
            shorter.push('a');
            shorter
        }
        _ => name.to_owned(),
    }
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// `inner` may stand between, `edge` must stand at both ends.
fn shaped(s: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = s.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => edge(*first) && edge(*last) && bytes.iter().all(|b| inner(*b)),
        _ => false,
    }
}

fn is_label_shaped(s: &str) -> bool {
    shaped(s, lower_alnum, |b| lower_alnum(b) || b == b'-')
}

fn is_subdomain_shaped(s: &str) -> bool {
    s.split('.').all(is_label_shaped)
}

fn is_qualified_shaped(s: &str) -> bool {
    shaped(s, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A DNS-1123 label.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        out.push(too_long(DNS_LABEL_MAX));
    }
    if !is_label_shaped(value) {
        if is_subdomain_shaped(value) {
            out.push("must not contain dots".to_owned());
        } else {
            let words = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
            out.push(pattern(words, &["my-name", "123-abc"], LABEL_FMT));
        }
    }
    out
}

/// A DNS-1123 subdomain.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        out.push(too_long(DNS_SUBDOMAIN_MAX));
    }
    if !is_subdomain_shaped(value) {
        let words = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        out.push(pattern(words, &["example.com"], SUBDOMAIN_FMT));
    }
    out
}

/// A DNS-1123 subdomain whose labels may have underscores, as search domains do.
pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        out.push(too_long(DNS_SUBDOMAIN_MAX));
    }
    let label = |s: &str| {
        let s = s.strip_prefix('_').unwrap_or(s);
        shaped(s, lower_alnum, |b| lower_alnum(b) || b == b'-' || b == b'_')
    };
    if !value.split('.').all(label) {
        let words = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
        let regex = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
        out.push(pattern(words, &["example.com"], regex));
    }
    out
}

/// A DNS-1035 label: as a DNS-1123 label, but it starts with a letter.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        out.push(too_long(DNS_LABEL_MAX));
    }
    let starts_well = value.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !starts_well || !is_label_shaped(value) {
        let words = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        out.push(pattern(words, &["my-name", "abc-123"], "[a-z]([-a-z0-9]*[a-z0-9])?"));
    }
    out
}

/// `*.` and a DNS-1123 subdomain.
pub fn wildcard_subdomain(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        out.push(too_long(DNS_SUBDOMAIN_MAX));
    }
    if !value.strip_prefix("*.").is_some_and(is_subdomain_shaped) {
        let words = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        out.push(pattern(words, &["*.example.com"], &format!(r"\*\.{SUBDOMAIN_FMT}")));
    }
    out
}

/// An object's name that is a DNS-1123 subdomain; `prefix` where the name is a `generateName`.
pub fn dns_subdomain(name: &str, prefix: bool) -> Vec<String> {
    dns1123_subdomain(&masked(name, prefix))
}

/// An object's name that is a DNS-1123 label.
pub fn dns_label(name: &str, prefix: bool) -> Vec<String> {
    dns1123_label(&masked(name, prefix))
}

/// An object's name that only has to fit into a path (RBAC).
pub fn path_segment(name: &str, prefix: bool) -> Vec<String> {
    if !prefix && (name == "." || name == "..") {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|illegal| name.contains(**illegal))
        .map(|illegal| format!("may not contain '{illegal}'"))
        .collect()
}

/// `[prefix/]name`, as label keys, finalizers and resource names are.
pub fn qualified(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else {
                out.extend(dns1123_subdomain(prefix).into_iter().map(|w| format!("prefix part {w}")));
            }
            name
        }
        _ => {
            let words = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
            let said = pattern(words, &["MyName", "my.name", "123-abc"], QUALIFIED_FMT);
            return vec![format!(
                "{said} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > DNS_LABEL_MAX {
        out.push(format!("name part {}", too_long(DNS_LABEL_MAX)));
    }
    if !is_qualified_shaped(name) {
        let words = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        out.push(pattern(words, &["MyName", "my.name", "123-abc"], QUALIFIED_FMT));
    }
    out
}

/// A label's value.
pub fn label_value(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        out.push(too_long(DNS_LABEL_MAX));
    }
    if !value.is_empty() && !is_qualified_shaped(value) {
        let words = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        out.push(pattern(words, &["MyValue", "my_value", "12345"], &format!("({QUALIFIED_FMT})?")));
    }
    out
}

/// A key of a ConfigMap or Secret.
pub fn config_key(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        out.push(too_long(DNS_SUBDOMAIN_MAX));
    }
    let shaped = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !shaped {
        let words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        out.push(pattern(words, &["key.name", "KEY_NAME", "key-name"], CONFIG_KEY_FMT));
    }
    if value == "." {
        out.push("must not be '.'".to_owned());
    } else if value == ".." {
        out.push("must not be '..'".to_owned());
    } else if value.starts_with("..") {
        out.push("must not start with '..'".to_owned());
    }
    out
}

/// An environment variable's name.
pub fn env_var(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if value.bytes().any(|b| b == b'=' || !(0x20..0x7f).contains(&b)) {
        return vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()];
    }
    Vec::new()
}

/// A port's name.
pub fn port_name(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > PORT_NAME_MAX {
        out.push(too_long(PORT_NAME_MAX));
    }
    if value.is_empty() || !value.bytes().all(|b| lower_alnum(b) || b == b'-') {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

/// A port's number.
pub fn port_number(n: i64) -> Vec<String> {
    in_range(n, 1, 65535)
}

pub fn in_range(n: i64, min: i64, max: i64) -> Vec<String> {
    if (min..=max).contains(&n) {
        Vec::new()
    } else {
        vec![format!("must be between {min} and {max}, inclusive")]
    }
}

/// An HTTP header's name.
pub fn http_header(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    let words = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![pattern(words, &["X-Header-Name"], "[-A-Za-z0-9]+")]
}

/// `25%`.
pub fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or("");
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    let words = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![pattern(words, &["1%", "93%"], "[0-9]+%")]
}

/// An IP address in the words of the reference; older fields take leading zeros, we never do.
pub fn ip(value: &str) -> Vec<String> {
    if value.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// An address block such as `10.0.0.0/8`.
pub fn cidr(value: &str) -> Vec<String> {
    if value.parse::<Cidr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()]
}

/// An IP address in the one form that it is always written in, for the kinds that are newer than the older fields.
pub fn canonical_ip(value: &str) -> Vec<String> {
    let refused = match value.parse::<IpAddr>() {
        Err(_) if has_leading_zeros(value) => "must not have leading 0s".to_owned(),
        Err(_) => return ip(value),
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            "must not be an IPv4-mapped IPv6 address".to_owned()
        }
        Ok(address) if address.to_string() != value => format!("must be in canonical form (\"{address}\")"),
        Ok(_) => return Vec::new(),
    };
    vec![refused]
}

/// Whether it would be an IPv4 address but for zeros in front of its numbers.
fn has_leading_zeros(value: &str) -> bool {
    let bare = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    let parts: Vec<String> = value.split('.').map(bare).collect();
    parts.join(".").parse::<Ipv4Addr>().is_ok()
}

/// An address block in the one form that it is always written in.
pub fn canonical_cidr(value: &str) -> Vec<String> {
    let zeros = |bits: &str| bits.len() > 1 && bits.starts_with('0');
    let (address, bits) = value.split_once('/').unwrap_or((value, ""));
    if has_leading_zeros(address) && address.parse::<IpAddr>().is_err() || zeros(bits) {
        return vec!["must not have leading 0s in IP or prefix length".to_owned()];
    }
    let Ok(block) = value.parse::<Cidr>() else { return cidr(value) };
    let refused = if matches!(block.address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        "must not have an IPv4-mapped IPv6 address".to_owned()
    } else if block.masked() != block {
        "must not have bits set beyond the prefix length".to_owned()
    } else if block.to_string() != value {
        format!("must be in canonical form (\"{block}\")")
    } else {
        return Vec::new();
    };
    vec![refused]
}

/// A sysctl's name, with dots or slashes between its parts.
pub fn is_sysctl(name: &str) -> bool {
    let part = |s: &str| shaped(s, lower_alnum, |b| lower_alnum(b) || b == b'-' || b == b'_');
    name.len() <= DNS_SUBDOMAIN_MAX && name.split(['.', '/']).all(part)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(said: Vec<String>, expect: Expect) {
        expect.assert_eq(&said.join("\n"));
    }

    #[test]
    fn addresses_have_one_form() {
        check(canonical_ip("10.96.0.1"), expect![""]);
        check(canonical_ip("fd00::1"), expect![""]);
        check(canonical_ip("10.96.0.01"), expect!["must not have leading 0s"]);
        check(canonical_ip("FD00::1"), expect![[r#"must be in canonical form ("fd00::1")"#]]);
        check(canonical_ip("::ffff:10.0.0.1"), expect!["must not be an IPv4-mapped IPv6 address"]);
        check(canonical_ip("x"), expect!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]);
        check(canonical_cidr("10.96.0.0/12"), expect![""]);
        check(canonical_cidr("10.96.0.1/12"), expect!["must not have bits set beyond the prefix length"]);
        check(canonical_cidr("10.096.0.0/12"), expect!["must not have leading 0s in IP or prefix length"]);
        check(canonical_cidr("10.96.0.0/012"), expect!["must not have leading 0s in IP or prefix length"]);
        check(canonical_cidr("FD00::/64"), expect![[r#"must be in canonical form ("fd00::/64")"#]]);
        check(canonical_cidr("::ffff:10.0.0.0/104"), expect!["must not have an IPv4-mapped IPv6 address"]);
        check(
            canonical_cidr("10.0.0.0"),
            expect!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"],
        );
    }

    #[test]
    fn names_in_the_references_words() {
        check(dns_subdomain("a.b-c", false), expect![""]);
        check(dns_subdomain("gen-", true), expect![""]);
        check(dns_label("a.b", false), expect!["must not contain dots"]);
        check(
            dns_label("Bad.Name", false),
            expect![
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ],
        );
        check(
            dns_subdomain("Bad_Name", false),
            expect![[
                r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]],
        );
        check(dns_subdomain(&"a".repeat(254), false), expect!["must be no more than 253 characters"]);
        check(path_segment("a/b%", false), expect!["may not contain '/'\nmay not contain '%'"]);
        check(path_segment("..", false), expect!["may not be '..'"]);
    }

    #[test]
    fn labels_in_the_references_words() {
        check(qualified("example.com/MyName"), expect![""]);
        check(
            qualified("a b"),
            expect![
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            ],
        );
        check(
            label_value("not ok!"),
            expect![
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ],
        );
        check(label_value(""), expect![""]);
    }

    #[test]
    fn ports_keys_and_addresses() {
        check(port_name("http-1"), expect![""]);
        check(port_name("80"), expect!["must contain at least one letter (a-z)"]);
        check(
            config_key("a/b"),
            expect![
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
            ],
        );
        check(
            env_var("1=2"),
            expect![
                "a valid environment variable name must consist only of printable ASCII characters other than '='"
            ],
        );
        check(
            cidr("10.0.0.0/33"),
            expect!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"],
        );
        check(cidr("10.0.0.0/8"), expect![""]);
        check(ip("1.2.3"), expect!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]);
    }
}
