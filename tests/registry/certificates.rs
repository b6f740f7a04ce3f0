//! An authority and its certificates, created for every test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// A private certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    Expired,
    NotYet,
    OtherName,
    /// It declares itself an authority, as `openssl req -x509 -CA …` does.
    IsAuthority,
}

/// The files of a certificate and its key.
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    /// Writes a self-signed certificate for `host`, and its key. Docker's own recipe (`openssl req
    /// -x509`) creates one that declares itself an authority.
    pub fn self_signed(directory: &Path, host: Option<&str>, is_authority: bool) -> Files {
        let names = host.map(str::to_owned).into_iter().collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        write(directory, "server", &certificate.pem(), &key)
    }

    /// Writes the authority's own certificate.
    pub fn write(&self, path: &Path) {
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, self.issuer.pem()).expect("a file");
    }

    /// Writes a certificate for `127.0.0.1` and its key, as `NAME.cert` and `NAME.key`.
    pub fn issue(&self, directory: &Path, name: &str, flaw: Flaw) -> Files {
        let host = if flaw == Flaw::OtherName { "elsewhere.example" } else { "127.0.0.1" };
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        match flaw {
            Flaw::Expired => params.not_after = date_time_ymd(2001, 1, 1),
            Flaw::NotYet => params.not_before = date_time_ymd(3000, 1, 1),
            Flaw::IsAuthority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Flaw::None | Flaw::OtherName => {}
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        write(directory, name, &certificate.pem(), &key)
    }
}

fn write(directory: &Path, name: &str, certificate: &str, key: &KeyPair) -> Files {
    fs::create_dir_all(directory).expect("a directory");
    let files = Files {
        certificate: directory.join(format!("{name}.cert")),
        key: directory.join(format!("{name}.key")),
    };
    fs::write(&files.certificate, certificate).expect("a file");
    fs::write(&files.key, key.serialize_pem()).expect("a file");
    files
}
