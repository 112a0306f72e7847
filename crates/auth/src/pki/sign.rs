//! Certificates for requests that somebody else made: the cluster's CA as the signer of CertificateSigningRequests.

use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    SubjectPublicKeyInfo, date_time_ymd,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::authority::{BACKDATE, ORGANIZATION, serial};
use super::{Error, Pki};

/// The end of a certificate that lives no longer than this is not put back together with its beginning.
const SHORT: Duration = Duration::from_secs(8 * 3600);

impl Pki {
    /// The PEM of a certificate for a request in DER: its subject, its key and its names, for `usages`.
    pub fn sign_request(&self, der: &[u8], usages: &[String], life: Duration) -> Result<String, Error> {
        let failed = Error::make("certificate");
        let (_, request) = X509CertificationRequest::from_der(der).map_err(|e| failed(&e))?;
        let unverified = |e| failed(&format!("unable to verify certificate request signature: {e}"));
        request.verify_signature().map_err(unverified)?;
        let info = &request.certification_request_info;
        let key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|e| failed(&e))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&info.subject)?;
        params.subject_alt_names = names(&request)?;
        params.serial_number = Some(serial());
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        set_usages(&mut params, usages)?;
        self.set_validity(&mut params, life)?;
        let certificate = params.signed_by(&key, self.0.authority.issuer()).map_err(|e| failed(&e))?;
        Ok(certificate.pem())
    }

    /// No certificate outlives the one that it is signed with.
    fn set_validity(&self, params: &mut CertificateParams, life: Duration) -> Result<(), Error> {
        let failed = Error::make("certificate");
        let (_, ca) = X509Certificate::from_der(self.0.authority.der()).map_err(|e| failed(&e))?;
        let now = self.0.clock.unix_seconds().max(0);
        let life = if life < SHORT { life } else { life - BACKDATE };
        let ends = now.saturating_add_unsigned(life.as_secs()).min(ca.validity().not_after.timestamp());
        if ends <= now {
            return Err(failed(&"the signer has expired"));
        }
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_secs(now.unsigned_abs()) - BACKDATE;
        params.not_after = epoch + Duration::from_secs(ends.unsigned_abs());
        Ok(())
    }
}

/// rcgen keeps one value for each spelling of an attribute: what would get lost is refused.
fn subject(name: &X509Name<'_>) -> Result<DistinguishedName, Error> {
    let failed = Error::make("certificate");
    let mut out = DistinguishedName::new();
    for attribute in name.iter_attributes() {
        let value = attribute.as_str().map_err(|e| failed(&e))?;
        let Some(oid) = arcs(attribute.attr_type().as_bytes()) else {
            return Err(failed(&"its subject has an attribute whose type is none"));
        };
        let spellings = [named(&oid), DnType::CustomDnType(oid)];
        let free = spellings.into_iter().find(|spelling| out.get(spelling).is_none());
        let Some(spelling) = free else {
            return Err(failed(&"its subject names an attribute more often than can be signed"));
        };
        out.push(spelling, value);
    }
    Ok(out)
}

/// The numbers of an object identifier. The first byte, or what goes on from it, stands for two: x509-parser takes all
/// that is above 79 for numbers that rcgen will not write, and panics.
fn arcs(der: &[u8]) -> Option<Vec<u64>> {
    let (mut arcs, mut arc, mut is_open) = (Vec::new(), 0u64, false);
    for byte in der {
        arc = arc.checked_mul(0x80)? | u64::from(byte & 0x7f);
        is_open = byte & 0x80 != 0;
        if !is_open {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    let first = *arcs.first().filter(|_| !is_open)?;
    let top = (first / 40).min(2);
    arcs.splice(..1, [top, first - 40 * top]);
    Some(arcs)
}

fn named(oid: &[u64]) -> DnType {
    match oid {
        [2, 5, 4, 3] => DnType::CommonName,
        oid if oid == ORGANIZATION => DnType::OrganizationName,
        other => DnType::CustomDnType(other.to_vec()),
    }
}

fn names(request: &X509CertificationRequest<'_>) -> Result<Vec<SanType>, Error> {
    let failed = Error::make("certificate");
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(said) = extension else { continue };
        for name in &said.general_names {
            names.push(match name {
                GeneralName::DNSName(name) => SanType::DnsName((*name).try_into().map_err(|e| failed(&e))?),
                GeneralName::RFC822Name(name) => {
                    SanType::Rfc822Name((*name).try_into().map_err(|e| failed(&e))?)
                }
                GeneralName::URI(uri) => SanType::URI((*uri).try_into().map_err(|e| failed(&e))?),
                GeneralName::IPAddress(bytes) => {
                    match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                        (Ok(v4), _) => SanType::IpAddress(v4.into()),
                        (_, Ok(v6)) => SanType::IpAddress(v6.into()),
                        _ => return Err(failed(&"it names an address of no known length")),
                    }
                }
                _ => continue,
            });
        }
    }
    Ok(names)
}

fn set_usages(params: &mut CertificateParams, usages: &[String]) -> Result<(), Error> {
    for usage in usages {
        if let Some(purpose) = key_usage(usage) {
            if !params.key_usages.contains(&purpose) {
                params.key_usages.push(purpose);
            }
        } else if let Some(purpose) = extended_usage(usage) {
            if !params.extended_key_usages.contains(&purpose) {
                params.extended_key_usages.push(purpose);
            }
        } else {
            return Err(Error::make("certificate")(&format!("unrecognized usage values: [{usage:?}]")));
        }
    }
    Ok(())
}

fn key_usage(usage: &str) -> Option<KeyUsagePurpose> {
    Some(match usage {
        "signing" | "digital signature" => KeyUsagePurpose::DigitalSignature,
        "content commitment" => KeyUsagePurpose::ContentCommitment,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        "data encipherment" => KeyUsagePurpose::DataEncipherment,
        "cert sign" => KeyUsagePurpose::KeyCertSign,
        "crl sign" => KeyUsagePurpose::CrlSign,
        "encipher only" => KeyUsagePurpose::EncipherOnly,
        "decipher only" => KeyUsagePurpose::DecipherOnly,
        _ => return None,
    })
}

fn extended_usage(usage: &str) -> Option<ExtendedKeyUsagePurpose> {
    let ipsec = |last: u64| ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, last]);
    Some(match usage {
        "any" => ExtendedKeyUsagePurpose::Any,
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "code signing" => ExtendedKeyUsagePurpose::CodeSigning,
        "email protection" | "s/mime" => ExtendedKeyUsagePurpose::EmailProtection,
        "ipsec end system" => ipsec(5),
        "ipsec tunnel" => ipsec(6),
        "ipsec user" => ipsec(7),
        "timestamping" => ExtendedKeyUsagePurpose::TimeStamping,
        "ocsp signing" => ExtendedKeyUsagePurpose::OcspSigning,
        "microsoft sgc" => ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
        "netscape sgc" => ExtendedKeyUsagePurpose::Other(vec![2, 16, 840, 1, 113_730, 4, 1]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use coracle_clock::Clock;
    use rcgen::KeyPair;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::pki::ServingNames;

    fn request(organizations: usize) -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["n.example".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "jane");
        let spellings = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION.to_vec())];
        for (n, spelling) in spellings.into_iter().take(organizations).enumerate() {
            params.distinguished_name.push(spelling, format!("group-{n}"));
        }
        let der = params.serialize_request(&key).unwrap().der().to_vec();
        (key, der)
    }

    fn pki() -> Pki {
        Pki::memory(&ServingNames::default(), &Clock::system()).unwrap()
    }

    #[test]
    fn a_certificate_is_for_whom_and_what_was_asked() {
        let (key, der) = request(2);
        let usages = ["digital signature", "client auth"].map(str::to_owned);
        let pem = pki().sign_request(&der, &usages, Duration::from_secs(600)).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, made) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(made.subject().iter_common_name().next().unwrap().as_str().unwrap(), "jane");
        let groups: Vec<_> = made.subject().iter_organization().map(|o| o.as_str().unwrap()).collect();
        assert_eq!(groups, ["group-0", "group-1"]);
        assert_eq!(made.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
        let usage = made.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !made.is_ca());
        let valid = made.validity();
        assert_eq!(valid.not_after.timestamp() - valid.not_before.timestamp(), 900);
        assert_eq!(made.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    }

    /// A request's subject is its sender's: rcgen panics at identifiers that are none.
    #[test]
    fn identifiers_are_read_as_they_are_written() {
        assert_eq!(arcs(&[0x55, 4, 3]).unwrap(), [2, 5, 4, 3]);
        assert_eq!(
            arcs(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]).unwrap(),
            [1, 2, 840, 113_549, 1, 9, 1]
        );
        assert_eq!(arcs(&[213]).as_deref(), None);
        assert_eq!(arcs(&[0x81, 0x55, 1]).unwrap(), [2, 133, 1]);
        assert_eq!(arcs(&[]), None);
        assert_eq!(arcs(&[0xff; 12]), None);
        let request = |arcs: &[u64]| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CustomDnType(arcs.to_vec()), "x");
            params.serialize_request(&key).unwrap().der().to_vec()
        };
        let usages = ["client auth".to_owned()];
        assert!(pki().sign_request(&request(&[2, 133, 1]), &usages, SHORT).is_ok());
    }

    #[test]
    fn what_cannot_be_signed_is_refused() {
        let (_, mut der) = request(1);
        let unknown = pki().sign_request(&der, &["nonsense".to_owned()], SHORT).unwrap_err().to_string();
        assert!(unknown.contains("unrecognized usage values"), "{unknown}");
        let last = der.len() - 1;
        der[last] ^= 1;
        let forged = pki().sign_request(&der, &["client auth".to_owned()], SHORT).unwrap_err().to_string();
        assert!(forged.contains("unable to verify certificate request signature"), "{forged}");
    }
}
