//! Requests for certificates: only what its key has signed gets one, for the names and the key of the request, and
//! never one that can sign others.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_api::CertificateRequest;
use coracle_auth::Pki;
use coracle_auth::pki::ServingNames;
use coracle_clock::Clock;
use coracle_fuzz::stretched;
use libfuzzer_sys::fuzz_target;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};

const LIFE: Duration = Duration::from_secs(600);
/// `ecdsa-with-SHA256`, as an AlgorithmIdentifier.
const ALGORITHM: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 3;

static PKI: LazyLock<Pki> =
    LazyLock::new(|| Pki::memory(&ServingNames::default(), &Clock::system()).expect("a CA"));
static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().expect("a key"));

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    if data.starts_with(b"-----") {
        if let Ok(request) = CertificateRequest::of_pem(&data) {
            sign(&request);
        }
        return;
    }
    // A length, a subject so long, and attributes: as somebody may send them who has a key, and signs with it.
    let Some(([high, low], rest)) = data.split_first_chunk() else { return };
    let at = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (subject, attributes) = rest.split_at(at);
    let info = [&[2, 1, 0], subject, &KEY.subject_public_key_info(), attributes].concat();
    let info = tagged(SEQUENCE, &info);
    let Ok(signature) = KEY.sign(&info) else { return };
    let signature = tagged(BIT_STRING, &[&[0], signature.as_slice()].concat());
    let der = tagged(SEQUENCE, &[info.as_slice(), &ALGORITHM, &signature].concat());
    let pem = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(der)
    );
    if let Ok(request) = CertificateRequest::parse(&STANDARD.encode(pem)) {
        sign(&request);
    }
});

fn sign(request: &CertificateRequest) {
    let usages = ["digital signature", "client auth"].map(str::to_owned);
    let Ok(pem) = PKI.sign_request(&request.der, &usages, LIFE) else { return };
    let (_, pem) = parse_x509_pem(pem.as_bytes()).expect("PEM");
    let (_, made) = X509Certificate::from_der(&pem.contents).expect("a certificate");
    assert!(!made.is_ca());
    let names = made.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    assert_eq!(names.last().unwrap_or_default(), request.common_name);
    let groups: Vec<&str> =
        made.subject().iter_organization().filter_map(|name| name.as_str().ok()).collect();
    assert_eq!(groups, request.organizations);
    let asked = request.dns_names.len() + request.addresses.len() + request.emails.len() + request.uris.len();
    let alternative = made.subject_alternative_name().expect("at most one");
    assert_eq!(alternative.map_or(0, |names| names.value.general_names.len()), asked);
}

/// A DER value.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
    let zeros = length.iter().take_while(|b| **b == 0).count();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=127 => out.push(short as u8),
        _ => {
            out.push(0x80 | (4 - zeros) as u8);
            out.extend_from_slice(&length[zeros..]);
        }
    }
    out.extend_from_slice(content);
    out
}
