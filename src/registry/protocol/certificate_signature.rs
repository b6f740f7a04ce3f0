//! Whether an authority signed a certificate that is marked as an authority itself.
//!
//! webpki does not accept such a certificate as a server's own; Go, and so Docker, does (`openssl
//! req -x509 -CA …` creates them). So this one signature is checked here, over the few fields of a
//! certificate that it needs (RFC 5280, 4.1). Everything else was checked before.

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;

/// Tags of DER (X.690, 8.1.2).
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;

/// The needed fields of a certificate, as bytes of it.
struct Fields<'a> {
    /// The signed part.
    signed: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    /// The algorithm and the bits of the certificate's own key.
    key: (&'a [u8], &'a [u8]),
    /// The algorithm and the bits of the signature.
    signature: (&'a [u8], &'a [u8]),
}

/// Whether `authority` issued `certificate`, by name and signature.
pub(in crate::registry) fn is_issued_by(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
) -> bool {
    let (Some(one), Some(by)) = (fields(certificate), fields(authority)) else { return false };
    let (algorithm, signature) = one.signature;
    let (key_algorithm, key) = by.key;
    let known = ring::default_provider().signature_verification_algorithms.all;
    let fitting = known.iter().filter(|it| {
        it.signature_alg_id().as_ref() == algorithm
            && it.public_key_alg_id().as_ref() == key_algorithm
    });
    let mut signed = fitting.map(|it| it.verify_signature(key, one.signed, signature).is_ok());
    one.issuer == by.subject && signed.any(|is_good| is_good)
}

fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    let mut outer = DerReader(DerReader(certificate).value(SEQUENCE)?);
    let signed = outer.whole(SEQUENCE)?;
    let signature = (outer.value(SEQUENCE)?, outer.bits()?);
    let mut inner = DerReader(DerReader(signed).value(SEQUENCE)?);
    if inner.0.first() == Some(&VERSION) {
        inner.value(VERSION)?;
    }
    inner.any()?; // The serial number.
    inner.any()?; // The algorithm of the signature, once more.
    let issuer = inner.whole(SEQUENCE)?;
    inner.any()?; // The times of validity.
    let subject = inner.whole(SEQUENCE)?;
    let mut key = DerReader(inner.value(SEQUENCE)?);
    Some(Fields { signed, issuer, subject, key: (key.value(SEQUENCE)?, key.bits()?), signature })
}

/// Reads DER elements one after the other.
struct DerReader<'a>(&'a [u8]);

impl<'a> DerReader<'a> {
    /// The next element: its tag, its content, and the whole element with its header.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let bytes = self.0;
        let (tag, first) = (*bytes.first()?, usize::from(*bytes.get(1)?));
        // The length itself, or how many bytes of length follow; no certificate needs more than
        // four.
        let (length, start) = match first {
            0..=0x7f => (first, 2),
            0x81..=0x84 => {
                let count = first & 0x7f;
                let digits = bytes.get(2..2 + count)?;
                let add = |sum: usize, digit: &u8| (sum << 8) | usize::from(*digit);
                (digits.iter().fold(0, add), 2 + count)
            }
            _ => return None,
        };
        let end = start.checked_add(length)?;
        let (content, whole) = (bytes.get(start..end)?, bytes.get(..end)?);
        self.0 = bytes.get(end..)?;
        Some((tag, content, whole))
    }

    fn any(&mut self) -> Option<&'a [u8]> {
        self.next().map(|(_, content, _)| content)
    }

    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, ..)| *found == tag).map(|(_, content, _)| content)
    }

    fn whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, ..)| *found == tag).map(|(.., whole)| whole)
    }

    /// A bit string that fills its bytes: the first byte says how many bits of the last one are
    /// unused.
    fn bits(&mut self) -> Option<&'a [u8]> {
        self.value(BIT_STRING)?.strip_prefix(&[0])
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
    }

    #[test]
    fn an_authority_signed_what_it_signed() {
        let (one, other, namesake) = (authority("one"), authority("other"), authority("one"));
        let params = CertificateParams::new(vec!["registry".to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let issued = params.signed_by(&key, &one).expect("a certificate");
        assert!(is_issued_by(issued.der(), one.der()));
        assert!(is_issued_by(one.der(), one.der()));
        assert!(!is_issued_by(issued.der(), other.der()), "another name");
        assert!(!is_issued_by(issued.der(), namesake.der()), "another key");
        for at in 0..issued.der().len() {
            let mut changed = issued.der().to_vec();
            changed[at] ^= 1;
            assert!(!is_issued_by(&changed.into(), one.der()), "byte {at}");
        }
        for end in 0..issued.der().len() {
            let cut = CertificateDer::from(issued.der()[..end].to_vec());
            assert!(!is_issued_by(&cut, one.der()), "cut at {end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(0_u8.., 0..200)) {
            let _ = fields(&bytes);
        }
    }
}
