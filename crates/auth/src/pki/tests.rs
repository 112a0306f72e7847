//! What is kept, renewed and refused on disk, and what TLS makes of it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::Timestamp;

use super::*;

fn clock() -> Clock {
    Clock::stepped(Timestamp::from_second(1_800_000_000).unwrap())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_was_made_is_loaded_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("pki");
    let names = ServingNames::default();
    let first = Pki::open(&dir, &names, &clock()).unwrap();
    let kid = first.token_keys().jwks().unwrap();
    let second = Pki::open(&dir, &names, &clock()).unwrap();
    assert_eq!(first.ca_pem(), second.ca_pem());
    assert_eq!(first.admin(), second.admin());
    assert_eq!(first.0.serving, second.0.serving);
    assert_eq!(kid, second.token_keys().jwks().unwrap());
    assert_eq!(mode(&dir), 0o700);
    for key in ["ca.key", "apiserver.key", "admin.key", "sa.key"] {
        assert_eq!(mode(&dir.join(key)), 0o600, "{key}");
    }
}

#[test]
fn the_serving_certificate_is_renewed_for_new_names_and_old_age() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let first = Pki::open(dir.path(), &ServingNames::default(), &clock).unwrap();
    let wider = ServingNames { addresses: vec!["192.0.2.7".parse().unwrap()], ..ServingNames::default() };
    let second = Pki::open(dir.path(), &wider, &clock).unwrap();
    assert_ne!(first.0.serving, second.0.serving);
    let narrower = Pki::open(dir.path(), &ServingNames::default(), &clock).unwrap();
    assert_eq!(second.0.serving, narrower.0.serving, "a certificate that names more will do");
    clock.advance(Duration::from_secs(4 * 365 * 24 * 3600 + 3600));
    let later = Pki::open(dir.path(), &ServingNames::default(), &clock).unwrap();
    assert_ne!(narrower.0.serving, later.0.serving);
    assert_ne!(narrower.admin(), later.admin());
    assert_eq!(narrower.ca_pem(), later.ca_pem());
}

#[test]
fn a_damaged_file_is_named() {
    for (file, text) in [("ca.crt", "nonsense"), ("ca.key", ""), ("sa.key", "nonsense")] {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &ServingNames::default(), &clock()).unwrap();
        pki.token_keys().jwks().unwrap();
        std::fs::write(dir.path().join(file), text).unwrap();
        let error = Pki::open(dir.path(), &ServingNames::default(), &clock()).unwrap_err().to_string();
        let expected = if file == "ca.key" { "ca.key" } else { file };
        assert!(error.contains(expected) && error.contains("damaged"), "{file}: {error}");
    }
    let dir = tempfile::tempdir().unwrap();
    Pki::open(dir.path(), &ServingNames::default(), &clock()).unwrap();
    std::fs::remove_file(dir.path().join("ca.key")).unwrap();
    let error = Pki::open(dir.path(), &ServingNames::default(), &clock()).unwrap_err().to_string();
    assert!(error.contains("ca.key is damaged: it is missing"), "{error}");
}

#[test]
fn debug_shows_no_secret() {
    let pki = Pki::memory(&ServingNames::default(), &clock()).unwrap();
    pki.token_keys().jwks().unwrap();
    let shown = format!("{pki:?} {:?} {:?}", pki.admin(), pki.token_keys());
    assert!(!shown.contains("PRIVATE") && !shown.contains("BEGIN"), "{shown}");
}

#[test]
fn only_client_certificates_of_this_ca_pass() {
    let clock = clock();
    let ours = Pki::memory(&ServingNames::default(), &clock).unwrap();
    let theirs = Pki::memory(&ServingNames::default(), &clock).unwrap();
    let chains = ours.client_chains().unwrap();
    let chain = |pair: &Pair| tls_chain(pair);
    let now = clock.unix_seconds();
    assert!(chains.verify(&chain(ours.admin()), now));
    assert!(!chains.verify(&chain(theirs.admin()), now));
    assert!(!chains.verify(&chain(&ours.0.serving), now), "a serving certificate names no client");
    assert!(!chains.verify(&chain(ours.admin()), now + 6 * 365 * 24 * 3600));
    assert!(!chains.verify(&[], now));
    ours.server_config().unwrap();
    ours.kubelet_client_config().unwrap();
    ours.kubelet_server_config("node-1", &["127.0.0.1".parse().unwrap()]).unwrap();
}

fn tls_chain(pair: &Pair) -> Vec<CertificateDer<'static>> {
    use rustls_pki_types::pem::PemObject;
    CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_kubeconfig_is_yaml_with_everything_inline() {
    let pki = Pki::memory(&ServingNames::default(), &clock()).unwrap();
    let text = pki.kubeconfig("coracle", "https://127.0.0.1:6443", pki.admin());
    for line in
        ["current-context: \"coracle\"", "    server: \"https://127.0.0.1:6443\"", "    client-key-data: "]
    {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn retired_keys_still_verify() {
    let dir = tempfile::tempdir().unwrap();
    let old = Pki::open(dir.path(), &ServingNames::default(), &clock()).unwrap();
    let token = old.token_keys().sign(&serde_json::json!({"sub": "x"})).unwrap();
    std::fs::rename(dir.path().join("sa.pub"), dir.path().join("sa-2026.pub")).unwrap();
    std::fs::remove_file(dir.path().join("sa.key")).unwrap();
    let new = Pki::open(dir.path(), &ServingNames::default(), &clock()).unwrap();
    let keys = new.token_keys();
    assert_eq!(keys.jwks().unwrap()["keys"].as_array().unwrap().len(), 2);
    let (message, signature) = token.rsplit_once('.').unwrap();
    assert!(keys.candidates(None).any(|k| k.verifies(message.as_bytes(), signature)));
}

/// Shakes hands over memory and tells what the server saw of the client, and the protocol they agreed on.
fn handshake(
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
    name: &str,
) -> Result<(usize, Vec<u8>), rustls::Error> {
    let name = name.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(client, name).unwrap();
    let mut server = rustls::ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut up).unwrap();
        }
        let mut up = up.as_slice();
        while !up.is_empty() {
            server.read_tls(&mut up).unwrap();
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut down).unwrap();
        }
        let mut down = down.as_slice();
        while !down.is_empty() {
            client.read_tls(&mut down).unwrap();
            client.process_new_packets()?;
        }
    }
    let chain = server.peer_certificates().map_or(0, <[_]>::len);
    Ok((chain, server.alpn_protocol().unwrap_or_default().to_vec()))
}

fn plain_client(pki: &Pki) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.ca_der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

#[test]
fn hands_are_shaken() {
    // rustls looks at the system's clock.
    let clock = Clock::system();
    let names = ServingNames { names: vec!["node-1".into()], ..ServingNames::default() };
    let pki = Pki::memory(&names, &clock).unwrap();
    let other = Pki::memory(&names, &clock).unwrap();
    let server = || pki.server_config().unwrap();
    for name in [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "::1",
        "10.96.0.1",
        "node-1",
    ] {
        assert_eq!(handshake(server(), plain_client(&pki), name).unwrap(), (0, b"h2".to_vec()), "{name}");
    }
    assert!(handshake(server(), plain_client(&pki), "example.com").is_err());
    assert!(handshake(server(), plain_client(&other), "localhost").is_err());
    let with_certificate = pki.kubelet_client_config().unwrap();
    assert_eq!(handshake(server(), with_certificate.clone(), "localhost").unwrap().0, 1);

    let kubelet = || pki.kubelet_server_config("node-1", &["127.0.0.1".parse().unwrap()]).unwrap();
    assert_eq!(handshake(kubelet(), with_certificate, "127.0.0.1").unwrap(), (1, b"http/1.1".to_vec()));
    assert!(handshake(kubelet(), plain_client(&pki), "127.0.0.1").is_err(), "no certificate");
}
