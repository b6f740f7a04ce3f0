//! An authority, its certificates and its revocation list, created for every test.

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};

/// What is wrong with the certificate of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    Expired,
    NotYet,
}

/// A private certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// Writes `NAME.crt`, the certificate of the authority.
    pub fn write(&self, directory: &Path, name: &str) {
        write(directory.join(format!("{name}.crt")), self.0.pem()).expect("a file");
    }

    /// Writes `NAME.crt` and `NAME.key` of a server on loopback.
    pub fn server(&self, directory: &Path, name: &str) {
        let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        self.sign(directory, name, &CertificateParams::new(hosts).expect("names"));
    }

    /// Writes `NAME.crt` and `NAME.key` of a client with `uri:pilotfish://push/NAME`.
    pub fn client(&self, directory: &Path, name: &str, serial: u64, flaw: Flaw) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("pilotfish://push/{name}");
        params.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI")));
        params.serial_number = Some(SerialNumber::from(serial));
        match flaw {
            Flaw::None => {}
            Flaw::Expired => params.not_after = date_time_ymd(2001, 1, 1),
            Flaw::NotYet => params.not_before = date_time_ymd(3000, 1, 1),
        }
        self.sign(directory, name, &params);
    }

    fn sign(&self, directory: &Path, name: &str, params: &CertificateParams) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        write(directory.join(format!("{name}.crt")), certificate.pem()).expect("a file");
        let path = directory.join(format!("{name}.key"));
        write(&path, key.serialize_pem()).expect("a file");
        set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    }

    /// Writes `crl.pem`, a list of these serial numbers that is valid until that year.
    pub fn revoke(&self, directory: &Path, serials: &[u64], until: i32) {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.0).expect("a list").pem().expect("PEM");
        // As a person should: the file is never half a list.
        let new = directory.join("crl.pem.new");
        write(&new, list).expect("a file");
        std::fs::rename(new, directory.join("crl.pem")).expect("a file");
    }
}
