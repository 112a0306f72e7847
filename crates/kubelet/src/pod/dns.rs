//! The `resolv.conf` of a Pod. Pure.

use coracle_runtime::Dns;
use k8s_openapi::api::core::v1::Pod;

use super::spec;

/// What the C library reads at most.
const MAX_SERVERS: usize = 3;
/// What the API accepts and glibc 2.26 and later can use.
const MAX_SEARCHES: usize = 32;
/// All search domains together, in characters.
const MAX_SEARCH_LENGTH: usize = 2048;

/// How Pods of this node find names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cluster {
    pub(crate) servers: Vec<String>,
    pub(crate) domain: String,
}

/// A Pod's resolver configuration, and what had to be left out of it, in the words of the event `DNSConfigForming`.
pub(crate) fn pod_dns(pod: &Pod, cluster: &Cluster, node_file: &str) -> (Dns, Vec<String>) {
    let node = parse(node_file);
    let pod_spec = pod.spec.as_ref();
    let policy = pod_spec.and_then(|it| it.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let in_cluster = match policy {
        "ClusterFirst" => !spec::is_host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut dns = match policy {
        "None" => Dns::default(),
        _ if in_cluster && !cluster.servers.is_empty() => {
            let (namespace, domain) = (spec::namespace(pod), &cluster.domain);
            let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
            let searches = own.into_iter().chain(node.searches).collect();
            Dns { servers: cluster.servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
        }
        _ => node,
    };
    if let Some(config) = pod_spec.and_then(|it| it.dns_config.as_ref()) {
        dns.servers.extend(config.nameservers.iter().flatten().cloned());
        dns.searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            dns.options.retain(|it| it.split(':').next() != Some(name.as_str()));
            dns.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    deduplicate(&mut dns.servers);
    deduplicate(&mut dns.searches);
    let warnings = limit(&mut dns);
    (dns, warnings)
}

fn deduplicate(list: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|it| seen.insert(it.clone()));
}

fn limit(dns: &mut Dns) -> Vec<String> {
    let mut warnings = Vec::new();
    if dns.servers.len() > MAX_SERVERS {
        dns.servers.truncate(MAX_SERVERS);
        warnings.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            dns.servers.join(" ")
        ));
    }
    let before = dns.searches.len();
    dns.searches.truncate(MAX_SEARCHES);
    while dns.searches.join(" ").len() > MAX_SEARCH_LENGTH {
        dns.searches.pop();
    }
    if dns.searches.len() < before {
        warnings.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            dns.searches.join(" ")
        ));
    }
    warnings
}

/// Reads a `resolv.conf`; as in the C library, the last `search` line counts.
fn parse(file: &str) -> Dns {
    let mut dns = Dns::default();
    for line in file.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => {
                dns.searches =
                    words.filter(|it| *it != ".").map(|it| it.trim_end_matches('.').to_owned()).collect();
            }
            Some("options") => dns.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(mut spec: Value, want: Expect) {
        spec["containers"] = json!([]);
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "n"}, "spec": spec})).unwrap();
        let cluster = Cluster { servers: vec!["10.96.0.10".into()], domain: "cluster.local".into() };
        let (dns, warnings) =
            pod_dns(&pod, &cluster, "# node\nnameserver 9.9.9.9\nsearch corp.example.\noptions edns0\n");
        want.assert_eq(&format!(
            "search {}\nservers {}\noptions {}\n{} warnings\n",
            dns.searches.join(" "),
            dns.servers.join(" "),
            dns.options.join(" "),
            warnings.len()
        ));
    }

    #[test]
    fn policies() {
        check(
            json!({}),
            expect![[r#"
            search n.svc.cluster.local svc.cluster.local cluster.local corp.example
            servers 10.96.0.10
            options ndots:5
            0 warnings
        "#]],
        );
        let node = expect![[r#"
            search corp.example
            servers 9.9.9.9
            options edns0
            0 warnings
        "#]];
        check(json!({"dnsPolicy": "Default"}), node);
        check(
            json!({"hostNetwork": true, "dnsPolicy": "ClusterFirst"}),
            expect![[r#"
            search corp.example
            servers 9.9.9.9
            options edns0
            0 warnings
        "#]],
        );
        let none = json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1", "2.2.2.2", "1.1.1.1", "3.3.3.3", "4.4.4.4"],
            "searches": ["x.y"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}});
        check(
            none,
            expect![[r#"
            search x.y
            servers 1.1.1.1 2.2.2.2 3.3.3.3
            options ndots:2 edns0
            1 warnings
        "#]],
        );
        check(
            json!({"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
            expect![[r#"
            search n.svc.cluster.local svc.cluster.local cluster.local corp.example
            servers 10.96.0.10
            options ndots:1
            0 warnings
        "#]],
        );
    }
}
