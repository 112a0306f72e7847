//! A certificate authority of a test's own, and what it signs for servers.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, both PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// As `caBundle` has it.
    pub(crate) fn bundle(&self) -> String {
        STANDARD.encode(&self.pem)
    }

    /// For a server of these names and addresses.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        self.sign(names, (2020, 2100))
    }

    /// One whose time is over.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Pair {
        self.sign(names, (2020, 2021))
    }

    fn sign(&self, names: &[&str], (from, until): (i32, i32)) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names and addresses");
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

impl Pair {
    /// `tls.crt` and `tls.key`, as in the mount of a Secret.
    pub(crate) fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir).expect("the directory can be made");
        for (name, pem) in [("tls.crt", &self.certificate), ("tls.key", &self.key)] {
            std::fs::write(dir.join(name), pem).expect("the directory can be written");
        }
    }
}
