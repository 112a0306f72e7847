//! What each of the cluster's signers signs, as the reference words its refusals.

use std::collections::BTreeSet;

use coracle_api::CertificateRequest;
use coracle_api::user::{NODE_PREFIX, NODES};

pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
pub(super) const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// Whether the signer is one of ours, and then what it has against the request.
pub(super) fn check(
    signer: &str,
    asked: &CertificateRequest,
    usages: &[String],
) -> Option<Result<(), String>> {
    match signer {
        CLIENT => Some(client(usages)),
        KUBELET_CLIENT => Some(kubelet_client(asked, usages)),
        KUBELET_SERVING => Some(kubelet_serving(asked, usages)),
        LEGACY => Some(Ok(())),
        _ => None,
    }
}

fn client(usages: &[String]) -> Result<(), String> {
    let optional = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|u| !optional.contains(&u.as_str())) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    if !usages.iter().any(|u| u == "client auth") {
        return Err("missing required usage for client certificate: client auth".into());
    }
    Ok(())
}

pub(super) fn kubelet_client(asked: &CertificateRequest, usages: &[String]) -> Result<(), String> {
    let has = |some: bool, what: &str| {
        if some { Err(format!("{what} subjectAltNames are not allowed")) } else { Ok(()) }
    };
    of_nodes(asked)?;
    has(!asked.dns_names.is_empty(), "DNS")?;
    has(!asked.emails.is_empty(), "Email")?;
    has(!asked.addresses.is_empty(), "IP")?;
    has(!asked.uris.is_empty(), "URI")?;
    of_node(asked)?;
    just(usages, "client auth")
}

fn kubelet_serving(asked: &CertificateRequest, usages: &[String]) -> Result<(), String> {
    of_nodes(asked)?;
    if asked.dns_names.is_empty() && asked.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".into());
    }
    if !asked.emails.is_empty() {
        return Err("Email subjectAltNames are not allowed".into());
    }
    if !asked.uris.is_empty() {
        return Err("URI subjectAltNames are not allowed".into());
    }
    just(usages, "server auth")?;
    of_node(asked)
}

fn of_nodes(asked: &CertificateRequest) -> Result<(), String> {
    if asked.organizations == [NODES] {
        Ok(())
    } else {
        Err("subject organization is not system:nodes".into())
    }
}

fn of_node(asked: &CertificateRequest) -> Result<(), String> {
    if asked.common_name.starts_with(NODE_PREFIX) {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".into())
}

/// The digital signature and `auth`, and what RSA keys need beside.
fn just(usages: &[String], auth: &str) -> Result<(), String> {
    let said: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let least = BTreeSet::from(["digital signature", auth]);
    let most = BTreeSet::from(["digital signature", "key encipherment", auth]);
    if said == least || said == most {
        return Ok(());
    }
    let wanted: Vec<&str> = most.into_iter().collect();
    Err(format!("usages did not match [{}]", wanted.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_signer_says() {
        let node = || CertificateRequest {
            common_name: "system:node:n".into(),
            organizations: vec![NODES.into()],
            ..CertificateRequest::default()
        };
        let named = || CertificateRequest { dns_names: vec!["n".into()], ..node() };
        let of = |more: &[&str]| more.iter().map(|u| (*u).to_owned()).collect::<Vec<_>>();
        let (client, server) = (["digital signature", "client auth"], ["digital signature", "server auth"]);
        let cases = [
            (CLIENT, node(), of(&client), ""),
            (CLIENT, node(), of(&["server auth"]), "invalid usage for client certificate: server auth"),
            (
                CLIENT,
                node(),
                of(&["digital signature"]),
                "missing required usage for client certificate: client auth",
            ),
            (KUBELET_CLIENT, node(), of(&client), ""),
            (KUBELET_CLIENT, named(), of(&client), "DNS subjectAltNames are not allowed"),
            (
                KUBELET_CLIENT,
                node(),
                of(&server),
                "usages did not match [client auth digital signature key encipherment]",
            ),
            (
                KUBELET_CLIENT,
                CertificateRequest::default(),
                of(&client),
                "subject organization is not system:nodes",
            ),
            (
                KUBELET_CLIENT,
                CertificateRequest { common_name: "jane".into(), ..node() },
                of(&client),
                "subject common name does not begin with system:node:",
            ),
            (KUBELET_SERVING, named(), of(&server), ""),
            (KUBELET_SERVING, node(), of(&server), "DNS or IP subjectAltName is required"),
            (LEGACY, CertificateRequest::default(), of(&["any"]), ""),
        ];
        for (signer, asked, usages, want) in cases {
            let said = check(signer, &asked, &usages).unwrap().err().unwrap_or_default();
            assert_eq!(said, want, "{signer}");
        }
        assert_eq!(check("example.com/own", &node(), &[]), None);
    }
}
