//! Who may use the kubelet's server: holders of a client certificate with one of the allowed names.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The certificate itself has been verified by the TLS layer.
pub(crate) fn is_allowed(certificate: &CertificateDer<'_>, allowed: &[String]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let mut names = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    names.any(|name| allowed.iter().any(|it| it == name))
}
