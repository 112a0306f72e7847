//! The certificate authority and what it signs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use coracle_clock::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Error, Pair, ServingNames};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// As kubeadm's CA: ten years.
const CA_LIFE: Duration = DAY.saturating_mul(3650);
/// Nothing renews certificates while a cluster runs, so that they must outlast any one run of it.
const LEAF_LIFE: Duration = DAY.saturating_mul(5 * 365);
/// At start a stored certificate with less than this left is replaced.
const RENEW_BEFORE: Duration = DAY.saturating_mul(365);
/// Certificates start this much in the past, for peers whose clock is behind. The reference allows 5 minutes.
pub(super) const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// Random bytes of a serial number; CAs must use at least 64 bits (CA/Browser Forum 7.1).
const SERIAL_BYTES: usize = 16;

pub(super) enum Purpose {
    Client,
    Server { names: Vec<String>, addresses: Vec<IpAddr> },
}

pub(super) struct Authority {
    pair: Pair,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// The period of validity, by the cluster's clock.
fn stamp(params: &mut CertificateParams, clock: &Clock, life: Duration) {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(clock.unix_seconds().max(0).unsigned_abs());
    params.not_before = now - BACKDATE;
    params.not_after = now + life;
}

/// The OID of organizationName, for which rcgen's own name is a second spelling.
pub(super) const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// rcgen keeps one value for each spelling of an attribute, so that two groups are what a certificate can name.
fn distinguished(name: &str, groups: &[&str]) -> Result<DistinguishedName, Error> {
    let mut out = DistinguishedName::new();
    let mut spellings = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION.to_vec())].into_iter();
    for group in groups {
        let Some(spelling) = spellings.next() else {
            return Err(Error::make("certificate")(&"it can name no more than two groups"));
        };
        out.push(spelling, *group);
    }
    out.push(DnType::CommonName, name);
    Ok(out)
}

pub(super) fn serial() -> SerialNumber {
    let mut bytes: [u8; SERIAL_BYTES] = rand::random();
    // Positive and of full length in DER.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

impl Authority {
    pub(super) fn make(clock: &Clock) -> Result<Authority, Error> {
        let failed = Error::make("certificate authority");
        let key = KeyPair::generate().map_err(|e| failed(&e))?;
        let mut params = CertificateParams::default();
        stamp(&mut params, clock, CA_LIFE);
        params.serial_number = Some(serial());
        params.distinguished_name = distinguished("kubernetes", &[])?;
        params.subject_alt_names = vec![SanType::DnsName("kubernetes".try_into().map_err(|e| failed(&e))?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        let certificate = params.self_signed(&key).map_err(|e| failed(&e))?;
        let pair = Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() };
        Ok(Authority { pair, der: certificate.der().clone(), issuer: Issuer::new(params, key) })
    }

    /// The error is why the files are of no use.
    pub(super) fn load(pair: Pair) -> Result<Authority, String> {
        let key = KeyPair::from_pem(&pair.key_pem).map_err(|e| format!("its key: {e}"))?;
        let der =
            CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).map_err(|e| e.to_string())?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| e.to_string())?;
        if !parsed.is_ca() {
            return Err("it is no certificate authority".into());
        }
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err("it does not belong to its key".into());
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|e| e.to_string())?;
        Ok(Authority { pair, der, issuer })
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub(super) fn pair(&self) -> &Pair {
        &self.pair
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn client(&self, name: &str, groups: &[&str], clock: &Clock) -> Result<Pair, Error> {
        self.issue(name, groups, Purpose::Client, clock)
    }

    pub(super) fn serving(&self, wanted: &ServingNames, clock: &Clock) -> Result<Pair, Error> {
        let purpose = Purpose::Server { names: wanted.all_names(), addresses: wanted.all_addresses() };
        self.issue("kube-apiserver", &[], purpose, clock)
    }

    pub(super) fn issue(
        &self,
        name: &str,
        groups: &[&str],
        purpose: Purpose,
        clock: &Clock,
    ) -> Result<Pair, Error> {
        let failed = Error::make("certificate");
        let key = KeyPair::generate().map_err(|e| failed(&e))?;
        let mut params = CertificateParams::default();
        stamp(&mut params, clock, LEAF_LIFE);
        params.serial_number = Some(serial());
        params.distinguished_name = distinguished(name, groups)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        match purpose {
            Purpose::Client => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Purpose::Server { names, addresses } => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                for name in names {
                    let name = name.as_str().try_into().map_err(|e| failed(&e))?;
                    params.subject_alt_names.push(SanType::DnsName(name));
                }
                params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
            }
        }
        let certificate = params.signed_by(&key, &self.issuer).map_err(|e| failed(&e))?;
        Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Whether a stored serving certificate is ours, fresh, and names all that is asked for.
    pub(super) fn still_serves(&self, pair: &Pair, wanted: &ServingNames, clock: &Clock) -> bool {
        let Ok(der) = CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()) else { return false };
        let Ok((_, parsed)) = X509Certificate::from_der(&der) else { return false };
        let (names, addresses) = subject_alternatives(&parsed);
        self.still_good(pair, clock)
            && wanted.all_names().iter().all(|n| names.contains(n))
            && wanted.all_addresses().iter().all(|a| addresses.contains(a))
    }

    /// Whether a stored certificate is of this CA, has its key and enough time left.
    pub(super) fn still_good(&self, pair: &Pair, clock: &Clock) -> bool {
        let Ok(der) = CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()) else { return false };
        let Ok((_, parsed)) = X509Certificate::from_der(&der) else { return false };
        let Ok((_, ca)) = X509Certificate::from_der(&self.der) else { return false };
        let left = parsed.validity().not_after.timestamp() - clock.unix_seconds();
        let keeps = KeyPair::from_pem(&pair.key_pem)
            .is_ok_and(|key| key.public_key_raw() == parsed.public_key().subject_public_key.data.as_ref());
        keeps
            && PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).is_ok()
            && left > i64::try_from(RENEW_BEFORE.as_secs()).unwrap_or(i64::MAX)
            && parsed.issuer() == ca.subject()
            && authority_key(&parsed).is_some_and(|id| Some(id) == subject_key(&ca))
    }
}

fn authority_key<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|k| k.0),
        _ => None,
    })
}

fn subject_key<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    })
}

fn subject_alternatives(certificate: &X509Certificate<'_>) -> (BTreeSet<String>, BTreeSet<IpAddr>) {
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return (names, addresses) };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => {
                names.insert((*name).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                    addresses.insert(IpAddr::from(v4));
                } else if let Ok(v6) = <[u8; 16]>::try_from(*bytes) {
                    addresses.insert(IpAddr::from(v6));
                }
            }
            _ => {}
        }
    }
    (names, addresses)
}
