//! rustls configurations, and the check of client certificates.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::authority::Authority;
use super::{Error, Pair};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// A server takes AES-128 first, as Go's does: no known attack tells it from AES-256, which costs a third more to send.
fn server_provider() -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn roots(authority: &Authority) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).map_err(|e| Error::make("root store")(&e))?;
    Ok(Arc::new(roots))
}

fn verifier(authority: &Authority) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    WebPkiClientVerifier::builder_with_provider(roots(authority)?, provider())
        .build()
        .map_err(|e| Error::make("client verifier")(&e))
}

fn chain_and_key(pair: &Pair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let failed = Error::make("TLS identity");
    let chain = CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| failed(&e))?;
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).map_err(|e| failed(&e))?;
    Ok((chain, key))
}

fn server(
    verifier: Arc<dyn ClientCertVerifier>,
    pair: &Pair,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let failed = Error::make("TLS server configuration");
    let (chain, key) = chain_and_key(pair)?;
    let mut config = ServerConfig::builder_with_provider(server_provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| failed(&e))?;
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

pub(super) fn api_server(authority: &Authority, pair: &Pair) -> Result<Arc<ServerConfig>, Error> {
    let deferred = Arc::new(Deferred(verifier(authority)?));
    server(deferred, pair, &[b"h2", b"http/1.1"])
}

pub(super) fn kubelet_server(authority: &Authority, pair: &Pair) -> Result<Arc<ServerConfig>, Error> {
    // Exec and port-forward upgrade the connection, which HTTP/2 has no way to do here.
    server(verifier(authority)?, pair, &[b"http/1.1"])
}

pub(super) fn client(authority: &Authority, pair: &Pair) -> Result<Arc<ClientConfig>, Error> {
    let failed = Error::make("TLS client configuration");
    let (chain, key) = chain_and_key(pair)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?
        .with_root_certificates(roots(authority)?)
        .with_client_auth_cert(chain, key)
        .map_err(|e| failed(&e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Checks that a client's chain leads to the CA and is meant for clients.
pub(crate) struct ClientChains(Arc<dyn ClientCertVerifier>);

impl ClientChains {
    pub(super) fn new(authority: &Authority) -> Result<ClientChains, Error> {
        Ok(ClientChains(verifier(authority)?))
    }

    pub(crate) fn verify(&self, chain: &[CertificateDer<'static>], unix_seconds: i64) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else { return false };
        let now =
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(unix_seconds.max(0).unsigned_abs()));
        self.0.verify_client_cert(leaf, intermediates, now).is_ok()
    }
}

/// Proves in the handshake that the client has the certificate's key, and leaves the certificate's worth to the
/// authenticator: the reference, too, answers a foreign certificate with 401.
#[derive(Debug)]
struct Deferred(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Deferred {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
