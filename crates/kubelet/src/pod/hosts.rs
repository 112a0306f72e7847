//! The `/etc/hosts` and the host name of a Pod. Pure.

use std::fmt::Write;

use k8s_openapi::api::core::v1::Pod;

use super::spec;

/// The longest host name of Linux.
const MAX_HOSTNAME: usize = 63;

const FIXED: &str = "# Kubernetes-managed hosts file.\n\
127.0.0.1\tlocalhost\n\
::1\tlocalhost ip6-localhost ip6-loopback\n\
fe00::0\tip6-localnet\n\
fe00::0\tip6-mcastprefix\n\
fe00::1\tip6-allnodes\n\
fe00::2\tip6-allrouters\n";

const HOST_NETWORK: &str = "# Kubernetes-managed hosts file (host network).\n";

/// The Pod's name in its own network, and its domain when it has a subdomain.
pub(crate) fn host_name(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let pod_spec = pod.spec.as_ref();
    let asked = pod_spec.and_then(|it| it.hostname.as_deref()).filter(|it| !it.is_empty());
    let mut name = asked.unwrap_or_else(|| spec::name(pod)).to_owned();
    name.truncate(MAX_HOSTNAME);
    let name = name.trim_end_matches(['-', '.']).to_owned();
    let subdomain = pod_spec.and_then(|it| it.subdomain.as_deref()).filter(|it| !it.is_empty());
    let domain = subdomain.map(|it| format!("{it}.{}.svc.{cluster_domain}", spec::namespace(pod)));
    (name, domain)
}

/// `node_file`: the node's own file, which a Pod on the host's network sees.
pub(crate) fn hosts_file(pod: &Pod, ips: &[String], cluster_domain: &str, node_file: &str) -> String {
    let mut text = String::new();
    if spec::is_host_network(pod) {
        text.push_str(HOST_NETWORK);
        text.push_str(node_file);
    } else {
        text.push_str(FIXED);
        let (name, domain) = host_name(pod, cluster_domain);
        for ip in ips {
            let _ = match &domain {
                Some(domain) => writeln!(text, "{ip}\t{name}.{domain}\t{name}"),
                None => writeln!(text, "{ip}\t{name}"),
            };
        }
    }
    let aliases = pod.spec.as_ref().and_then(|it| it.host_aliases.as_deref()).unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.clone().unwrap_or_default().join("\t");
            let _ = writeln!(text, "{}\t{names}", alias.ip);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_file_of_a_pod_with_a_subdomain_and_aliases() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"hostname": "h", "subdomain": "sub", "containers": [],
                     "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]},
        }))
        .unwrap();
        expect![[r#"
            # Kubernetes-managed hosts file.
            127.0.0.1	localhost
            ::1	localhost ip6-localhost ip6-loopback
            fe00::0	ip6-localnet
            fe00::0	ip6-mcastprefix
            fe00::1	ip6-allnodes
            fe00::2	ip6-allrouters
            10.244.0.5	h.sub.n.svc.cluster.local	h

            # Entries added by HostAliases.
            1.2.3.4	a	b
        "#]]
        .assert_eq(&hosts_file(&pod, &["10.244.0.5".into()], "cluster.local", ""));
    }

    #[test]
    fn long_names_are_cut() {
        let name = format!("{}-tail", "x".repeat(62));
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"containers": []}})).unwrap();
        assert_eq!(host_name(&pod, "c").0, "x".repeat(62));
    }
}
