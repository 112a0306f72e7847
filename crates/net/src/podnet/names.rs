//! How what we make is called, so that it can be found again and nothing else is taken for ours.

/// Interface names have at most 15 bytes (IFNAMSIZ less the final NUL): in that of a veth, six for the cluster, seven
/// for the Pod, and two that mark it and keep them apart.
const CLUSTER_LEN: usize = 6;
const POD_LEN: usize = 7;
/// What the names of all our bridges start with.
pub(crate) const BRIDGE_PREFIX: &str = "cor-";

/// The names of one cluster's things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    cluster: String,
}

impl Names {
    /// Names for the cluster `id`; an id that does not fit stands in by its hash.
    pub(crate) fn new(id: &str) -> Names {
        let fits = !id.is_empty()
            && id.len() <= CLUSTER_LEN
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        Names { cluster: if fits { id.to_owned() } else { short_hash(id, CLUSTER_LEN) } }
    }

    pub(crate) fn bridge(&self) -> String {
        format!("{BRIDGE_PREFIX}{}", self.cluster)
    }

    pub(crate) fn table(&self) -> String {
        format!("coracle-{}", self.cluster)
    }

    /// The host's end of a Pod's veth pair.
    pub(crate) fn veth(&self, sandbox: &str) -> String {
        format!("{}{}", self.veth_prefix(), short_hash(sandbox, POD_LEN))
    }

    pub(crate) fn veth_prefix(&self) -> String {
        format!("v{}-", self.cluster)
    }
}

/// `len` characters (letters and digits) that stand for `text`: FNV-1a in base 36.
fn short_hash(text: &str, len: usize) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut out = String::new();
    for _ in 0..len {
        out.push(char::from(digits[(hash % 36) as usize]));
        hash /= 36;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let names = Names::new("dev");
        assert_eq!((names.bridge(), names.table()), ("cor-dev".to_owned(), "coracle-dev".to_owned()));
        for id in ["dev", "abcdef", "a-very-long-cluster-name", "", "Ü"] {
            let names = Names::new(id);
            assert!(names.bridge().len() <= 15 && names.veth("0f3a").len() <= 15, "{id}");
            assert!(names.veth("a").starts_with(&names.veth_prefix()));
        }
        assert_ne!(names.veth("a"), names.veth("b"));
        assert_ne!(Names::new("cluster-one").bridge(), Names::new("cluster-two").bridge());
    }
}
