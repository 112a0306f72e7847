//! Paths in their one normal form: decoded once, no empty, `.` or `..` segments, encoded again where it must be.

/// The normal form of a request's path, decoded; `None` where it cannot be said what the path means.
pub(crate) fn normal(raw: &str) -> Option<String> {
    let decoded = decode(raw)?;
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            segment => segments.push(segment),
        }
    }
    Some(format!("/{}", segments.join("/")))
}

/// Percent-decoding that refuses what two readers could read in two ways: an encoded slash, percent sign or control
/// character, broken escapes, bytes that are no text.
fn decode(raw: &str) -> Option<String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        let value = u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?;
        if value == b'/' || value == b'%' || value == b'\\' || value < 0x20 || value == 0x7f {
            return None;
        }
        out.push(value);
    }
    String::from_utf8(out).ok().filter(|text| !text.contains('\\'))
}

/// A normal path as it goes over the wire.
pub(crate) fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        // RFC 3986: unreserved, sub-delims, ":" and "@" may stand in a path as they are.
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: Option<&str>) {
        assert_eq!(normal(raw).as_deref(), expected, "{raw}");
    }

    #[test]
    fn a_path_has_one_form() {
        check("/api/v1/pods", Some("/api/v1/pods"));
        check("//api/v1//pods/", Some("/api/v1/pods"));
        check("/./api/./v1", Some("/api/v1"));
        check("/api/x/../v1", Some("/api/v1"));
        check("/%61pi/v1", Some("/api/v1"));
        check("/", Some("/"));
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        check("/../etc", None);
        check("/api%2fv1", None);
        check("/api/%252e%252e", None);
        check("/a%00b", None);
        check("/a%0d%0aX: y", None);
        check("/a%zz", None);
        check("/%ff", None);
        check("/a\\b", None);
    }

    #[test]
    fn a_normal_path_survives_the_wire() {
        for path in ["/api/v1/namespaces/a b/x", "/é", "/a:b@c"] {
            assert_eq!(normal(&encode(path)).as_deref(), Some(path));
        }
    }
}
