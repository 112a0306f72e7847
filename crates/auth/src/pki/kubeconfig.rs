//! The text of a kubeconfig.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Pair;

/// A plain YAML scalar is quoted as JSON, which YAML reads too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn text(context: &str, server: &str, ca_pem: &str, user: &str) -> String {
    let (name, server) = (quoted(context), quoted(server));
    let ca = STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: {server}\n    \
         certificate-authority-data: {ca}\nusers:\n- name: {name}\n  user:\n{user}contexts:\n- name: {name}\n  \
         context:\n    cluster: {name}\n    user: {name}\ncurrent-context: {name}\n"
    )
}

pub(super) fn with_certificate(context: &str, server: &str, ca_pem: &str, pair: &Pair) -> String {
    let (certificate, key) = (STANDARD.encode(&pair.certificate_pem), STANDARD.encode(&pair.key_pem));
    let user = format!("    client-certificate-data: {certificate}\n    client-key-data: {key}\n");
    text(context, server, ca_pem, &user)
}

pub(super) fn with_token(context: &str, server: &str, ca_pem: &str, token: &str) -> String {
    text(context, server, ca_pem, &format!("    token: {}\n", quoted(token)))
}
