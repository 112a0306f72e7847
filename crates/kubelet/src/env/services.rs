//! The environment variables that tell a container which Services exist.

use k8s_openapi::api::core::v1::Service;

/// Variables of every Service in `namespace` that has a cluster address (only when `links` is on) and always those of
/// `default/kubernetes`; a Service of the Pod's own namespace wins over the master Service of the same name.
pub(crate) fn service_env(services: &[Service], namespace: &str, links: bool) -> Vec<(String, String)> {
    let mut chosen: Vec<&Service> = Vec::new();
    for service in services.iter().filter(|service| has_address(service)) {
        let own = service.metadata.namespace.as_deref() == Some(namespace);
        let master = is_master(service);
        if (own && links) || master {
            chosen.push(service);
        }
    }
    let shadowed = links
        && namespace != "default"
        && chosen.iter().any(|service| name(service) == "kubernetes" && !is_master(service));
    chosen.retain(|service| !(shadowed && is_master(service)));
    chosen.sort_by(|a, b| name(a).cmp(name(b)));
    chosen.into_iter().flat_map(variables).collect()
}

fn name(service: &Service) -> &str {
    service.metadata.name.as_deref().unwrap_or_default()
}

fn is_master(service: &Service) -> bool {
    name(service) == "kubernetes" && service.metadata.namespace.as_deref() == Some("default")
}

fn address(service: &Service) -> &str {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default()
}

fn has_address(service: &Service) -> bool {
    !matches!(address(service), "" | "None")
}

fn variables(service: &Service) -> Vec<(String, String)> {
    let prefix = name(service).to_uppercase().replace('-', "_");
    let ip = address(service);
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let Some(first) = ports.first() else { return Vec::new() };
    let mut out = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let port_name = port_name.to_uppercase().replace('-', "_");
            out.push((format!("{prefix}_SERVICE_PORT_{port_name}"), port.port.to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().filter(|it| !it.is_empty()).unwrap_or("TCP");
        let number = port.port;
        let url = format!("{}://{}", protocol.to_lowercase(), join_host_port(ip, number));
        if index == 0 {
            out.push((format!("{prefix}_PORT"), url.clone()));
        }
        let port_prefix = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
        out.push((port_prefix.clone(), url));
        out.push((format!("{port_prefix}_PROTO"), protocol.to_lowercase()));
        out.push((format!("{port_prefix}_PORT"), number.to_string()));
        out.push((format!("{port_prefix}_ADDR"), ip.to_owned()));
    }
    out
}

fn join_host_port(ip: &str, port: i32) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn services() -> Vec<Service> {
        serde_json::from_value(json!([
            {"metadata": {"name": "kubernetes", "namespace": "default"},
             "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}},
            {"metadata": {"name": "my-db", "namespace": "shop"},
             "spec": {"clusterIP": "10.96.3.4", "ports": [{"port": 53, "protocol": "UDP"}]}},
            {"metadata": {"name": "headless", "namespace": "shop"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
            {"metadata": {"name": "other", "namespace": "elsewhere"}, "spec": {"clusterIP": "10.96.9.9", "ports": [{"port": 1}]}},
        ]))
        .unwrap()
    }

    fn check(links: bool, want: Expect) {
        let text: String =
            service_env(&services(), "shop", links).iter().map(|(k, v)| format!("{k}={v}\n")).collect();
        want.assert_eq(&text);
    }

    #[test]
    fn the_master_service_is_always_there() {
        check(
            false,
            expect![[r#"
                KUBERNETES_SERVICE_HOST=10.96.0.1
                KUBERNETES_SERVICE_PORT=443
                KUBERNETES_SERVICE_PORT_HTTPS=443
                KUBERNETES_PORT=tcp://10.96.0.1:443
                KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443
                KUBERNETES_PORT_443_TCP_PROTO=tcp
                KUBERNETES_PORT_443_TCP_PORT=443
                KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1
            "#]],
        );
    }

    #[test]
    fn links_add_the_services_of_the_namespace() {
        let env = service_env(&services(), "shop", true);
        assert_eq!(env.len(), 8 + 7);
        assert!(env.contains(&("MY_DB_PORT_53_UDP".into(), "udp://10.96.3.4:53".into())));
        assert!(!env.iter().any(|(k, _)| k.starts_with("HEADLESS") || k.starts_with("OTHER")));
    }
}
