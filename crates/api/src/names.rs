//! What may be a name, a label, a port name: the checks of apimachinery's `validation` package, with its words.

/// A DNS-1123 subdomain; `prefix` where the name is a `generateName`.
pub fn dns_subdomain(_name: &str, _prefix: bool) -> Vec<String> {
    Vec::new()
}
