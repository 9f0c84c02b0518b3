//! Making a certificate, and making one ready to serve with.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::Error;

/// Short enough that a stolen key is of no use for long.
pub(super) const LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A month before its end: time to notice, and to mend, whatever hinders a renewal.
pub(super) const RENEWED_BEFORE_END: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Clocks of API servers may be behind ours.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// A certificate with the authority that signed it. The authority's key is thrown away: nobody can sign a second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub authority: String,
    pub certificate: String,
    pub key: String,
    pub ends: Timestamp,
}

impl Issued {
    /// Ready to serve with.
    pub fn serving(&self) -> Result<Arc<ServerConfig>, Error> {
        serving(self.certificate.as_bytes(), self.key.as_bytes(), "what was issued")
    }
}

/// Issues a certificate for `names`, the first of which it is called after.
pub fn issue(names: &[String], now: Timestamp) -> Result<Issued, Error> {
    let ends = now + LIFETIME;
    let mut authority = params(Vec::new(), "dragnet-operator webhook authority", now, ends)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority_key = KeyPair::generate().map_err(Error::Make)?;
    let authority_certificate = authority.self_signed(&authority_key).map_err(Error::Make)?;
    let issuer = Issuer::new(authority, authority_key);

    let common_name = names.first().map_or("dragnet-operator", String::as_str);
    let mut leaf = params(names.to_vec(), common_name, now, ends)?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(Error::Make)?;
    let certificate = leaf.signed_by(&key, &issuer).map_err(Error::Make)?;
    Ok(Issued {
        authority: authority_certificate.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        ends,
    })
}

fn params(names: Vec<String>, common_name: &str, now: Timestamp, ends: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(names).map_err(Error::Make)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let epoch = date_time_ymd(1970, 1, 1);
    let at = |moment: Timestamp| epoch + Duration::from_secs(u64::try_from(moment.as_second()).unwrap_or(0));
    (params.not_before, params.not_after) = (at(now - BACKDATED), at(ends));
    Ok(params)
}

/// `place` is where the two come from, for people.
pub(super) fn serving(certificate: &[u8], key: &[u8], place: &str) -> Result<Arc<ServerConfig>, Error> {
    let missing = |what| Error::Pem { place: place.to_owned(), what };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(|_| missing("certificate"))?;
    if chain.is_empty() {
        return Err(missing("certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| missing("key"))?;
    let unusable = |source| Error::Unusable { place: place.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_issued_can_be_served_with() {
        let now = "2027-01-01T00:00:00Z".parse().unwrap();
        let issued = issue(&["dragnet-operator.dragnet.svc".to_owned()], now).unwrap();
        serving(issued.certificate.as_bytes(), issued.key.as_bytes(), "here").unwrap();
        assert_eq!(issued.ends.to_string(), "2027-04-01T00:00:00Z");
        let other = issue(&["x".to_owned()], now).unwrap();
        let error = serving(issued.certificate.as_bytes(), other.key.as_bytes(), "the Secret").unwrap_err();
        assert!(error.to_string().contains("the Secret"), "{error}");
    }

    #[test]
    fn what_is_no_certificate_is_told_apart() {
        let error = serving(b"nothing", b"", "the Secret").unwrap_err();
        assert!(matches!(error, Error::Pem { what: "certificate", .. }), "{error}");
    }
}
