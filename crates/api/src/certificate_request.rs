//! What a request for a certificate (PKCS #10) asks for, as the rules of signers look at it.

use std::net::IpAddr;

use base64::Engine;
use jiff::Timestamp;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateRequest {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
    pub der: Vec<u8>,
}

/// The first block of this type.
fn der_of(pem: &[u8], block: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once(&format!("-----BEGIN {block}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {block}-----"))?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(body).ok()
}

/// When a certificate ends.
pub fn certificate_ends(pem: &[u8]) -> Option<Timestamp> {
    let der = der_of(pem, "CERTIFICATE")?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}

impl CertificateRequest {
    /// From `spec.request`: base64 of PEM.
    pub fn parse(encoded: &str) -> Result<CertificateRequest, String> {
        let base64 = base64::engine::general_purpose::STANDARD;
        CertificateRequest::of_pem(&base64.decode(encoded.trim()).unwrap_or_default())
    }

    pub fn of_pem(pem: &[u8]) -> Result<CertificateRequest, String> {
        match der_of(pem, "CERTIFICATE REQUEST") {
            Some(der) => CertificateRequest::of_der(der),
            None => Err("PEM block type must be CERTIFICATE REQUEST".to_owned()),
        }
    }

    fn of_der(der: Vec<u8>) -> Result<CertificateRequest, String> {
        let mut out = CertificateRequest::default();
        let (rest, parsed) =
            X509CertificationRequest::from_der(&der).map_err(|e| format!("asn1: structure error: {e}"))?;
        if !rest.is_empty() {
            return Err("x509: trailing data".to_owned());
        }
        let subject = &parsed.certification_request_info.subject;
        let strings =
            |found: &x509_parser::x509::AttributeTypeAndValue<'_>| found.as_str().map(str::to_owned).ok();
        // The last one is in force, as in Go.
        out.common_name = subject.iter_common_name().filter_map(strings).last().unwrap_or_default();
        out.organizations = subject.iter_organization().filter_map(strings).collect();
        for extension in parsed.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| out.note(name));
            }
        }
        Ok(CertificateRequest { der, ..out })
    }

    fn note(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                self.addresses.extend(v4.or_else(|_| v6()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_request() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let cases = [
            ("", "PEM block type must be CERTIFICATE REQUEST"),
            (&encode("hello"), "PEM block type must be CERTIFICATE REQUEST"),
            (
                &encode("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
                "PEM block type must be CERTIFICATE REQUEST",
            ),
        ];
        for (text, why) in cases {
            assert_eq!(CertificateRequest::parse(text).unwrap_err(), why);
        }
        let garbage =
            encode("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
        assert!(CertificateRequest::parse(&garbage).unwrap_err().starts_with("asn1: "));
    }
}
