//! Keys, certificates and trust: what a server shows, and what a client believes.
//!
//! Rules of this file:
//! * What cannot be used is refused here, at the start, and the error names the file.
//! * Nothing that is made here trusts a peer without looking; [`client_without_checks`] has a name
//!   that says what it does.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig};
use rustls::{DistinguishedName, SignatureScheme};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// HTTP/1.1 as TLS names it (RFC 7301 §6).
pub const HTTP: &[u8] = b"http/1.1";

/// Why a configuration cannot be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused {
    /// A file cannot be read, or has nothing in it of what is looked for.
    File(PathBuf, String),
    /// What was given does not work together.
    Tls(Error),
    /// There is nothing to compute with: the feature `ring` is off and no provider is installed.
    NoProvider,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::File(path, why) => write!(f, "{}: {why}", path.display()),
            Refused::Tls(why) => why.fmt(f),
            Refused::NoProvider => f.write_str("TLS has no cryptography: none is installed"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Error> for Refused {
    fn from(why: Error) -> Self {
        Refused::Tls(why)
    }
}

fn provider() -> Result<Arc<CryptoProvider>, Refused> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(installed.clone());
    }
    #[cfg(feature = "ring")]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(feature = "ring"))]
    Err(Refused::NoProvider)
}

/// The certificates of a PEM file, in their order.
///
/// # Errors
/// It cannot be read, or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Refused> {
    let refused = |why: String| Refused::File(path.to_owned(), why);
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|why| refused(words(&why)))?.collect();
    match found {
        Ok(found) if found.is_empty() => Err(refused("there is no certificate in it".into())),
        Ok(found) => Ok(found),
        Err(why) => Err(refused(words(&why))),
    }
}

fn words(why: &rustls::pki_types::pem::Error) -> String {
    match why {
        rustls::pki_types::pem::Error::Io(why) => why.to_string(),
        rustls::pki_types::pem::Error::NoItemsFound => "there is no private key in it".into(),
        why => format!("it is no PEM: {why}"),
    }
}

/// What a server shows: a chain of certificates, its own first, and the key to it.
#[derive(Clone, Debug)]
pub struct Identity(Arc<CertifiedKey>);

/// An identity of two PEM files (both may be the same).
///
/// # Errors
/// One that cannot be read or has not what it should; a key that is not the certificate's.
pub fn identity(certificate: &Path, key: &Path) -> Result<Identity, Refused> {
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|why| Refused::File(key.to_owned(), words(&why)))?;
    identity_of(chain, secret).map_err(|why| {
        let words = match why {
            Refused::Tls(Error::InconsistentKeys(_)) => {
                format!("it is not the key to {}", certificate.display())
            }
            why => why.to_string(),
        };
        Refused::File(key.to_owned(), words)
    })
}

/// An identity of what is in memory.
///
/// # Errors
/// A key that is not the certificate's, or of a kind that is not known.
pub fn identity_of(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Identity, Refused> {
    let key = CertifiedKey::from_der(chain, key, &*provider()?)?;
    key.keys_match()?;
    Ok(Identity(Arc::new(key)))
}

/// An identity for these names that nobody has signed: for trying things out. `PEM` of the
/// certificate, for who is to trust it.
///
/// # Errors
/// A name that cannot stand in a certificate.
#[cfg(feature = "self-signed")]
pub fn self_signed(names: &[String]) -> Result<(Identity, String), Refused> {
    let refused = |why: rcgen::Error| Refused::Tls(Error::General(why.to_string()));
    let made = rcgen::generate_simple_self_signed(names).map_err(refused)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|why| Refused::Tls(Error::General(why.to_owned())))?;
    Ok((identity_of(vec![made.cert.der().clone()], key)?, made.cert.pem()))
}

/// Shows whoever asks for a name the identity that has it, and the first to all others.
#[derive(Debug)]
struct ByName(Vec<Identity>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |identity: &&Identity| {
            let own = identity.0.end_entity_cert().ok();
            let own = own.and_then(|own| rustls::server::ParsedCertificate::try_from(own).ok());
            name.as_ref()
                .zip(own)
                .is_some_and(|(name, own)| rustls::client::verify_server_name(&own, name).is_ok())
        };
        let one = if self.0.len() > 1 { self.0.iter().find(fits) } else { None };
        one.or(self.0.first()).map(|identity| identity.0.clone())
    }
}

/// Of whom a server wants a certificate.
#[derive(Clone, Debug)]
pub enum Clients {
    /// Of nobody.
    Anyone,
    /// Of whoever has one; it must have been signed by one of these.
    Known(Vec<CertificateDer<'static>>),
    /// Of everybody, likewise.
    KnownOnly(Vec<CertificateDer<'static>>),
}

/// A server for HTTP and what it is upgraded to, which asks no client for a certificate. If there
/// are several identities, the client's name for us chooses.
///
/// # Errors
/// No identity; nothing to compute with.
pub fn server(identities: Vec<Identity>) -> Result<Arc<ServerConfig>, Refused> {
    server_for(identities, &Clients::Anyone, &[HTTP])
}

/// A server with everything said: `protocols` are those of ALPN, none is that nothing is agreed
/// on. Sessions are resumed by tickets, whose keys live as long as the configuration.
///
/// # Errors
/// As [`server`]; certificates that cannot be trusted.
pub fn server_for(
    identities: Vec<Identity>,
    clients: &Clients,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, Refused> {
    if identities.is_empty() {
        return Err(Refused::Tls(Error::NoCertificatesPresented));
    }
    let provider = provider()?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let verifier = |roots: &[CertificateDer<'static>]| {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone())?;
        }
        Ok::<_, Refused>(WebPkiClientVerifier::builder_with_provider(
            Arc::new(store),
            provider.clone(),
        ))
    };
    let general =
        |why: rustls::server::VerifierBuilderError| Refused::Tls(Error::General(why.to_string()));
    let builder = match clients {
        Clients::Anyone => builder.with_no_client_auth(),
        Clients::Known(roots) => builder.with_client_cert_verifier(
            verifier(roots)?.allow_unauthenticated().build().map_err(general)?,
        ),
        Clients::KnownOnly(roots) => {
            builder.with_client_cert_verifier(verifier(roots)?.build().map_err(general)?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName(identities)));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    #[cfg(feature = "ring")]
    {
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    }
    Ok(Arc::new(config))
}

/// Whom a client believes.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Whom this machine believes; Mozilla's list where it says nothing.
    #[cfg(feature = "roots")]
    Machine,
    /// Whoever was signed by one of these.
    Roots(Vec<CertificateDer<'static>>),
}

/// A client that speaks HTTP and believes these; `own` is what it shows a server that asks.
///
/// # Errors
/// Certificates that cannot be used; nothing to compute with.
pub fn client(trust: &Trust, own: Option<Identity>) -> Result<Arc<ClientConfig>, Refused> {
    let mut store = RootCertStore::empty();
    match trust {
        #[cfg(feature = "roots")]
        Trust::Machine => {
            // One that cannot be read is not believed; that is no reason to believe nobody.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
        Trust::Roots(roots) => {
            for root in roots {
                store.add(root.clone())?;
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store);
    Ok(finish(builder, own))
}

/// A client that believes anybody: what is said to such a server, or comes from it, anyone on the
/// way may read and change. For trying things out, as curl's `-k`.
///
/// # Errors
/// Nothing to compute with.
pub fn client_without_checks(own: Option<Identity>) -> Result<Arc<ClientConfig>, Refused> {
    let provider = provider()?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    Ok(finish(builder, own))
}

fn finish(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    own: Option<Identity>,
) -> Arc<ClientConfig> {
    let mut config = match own {
        Some(Identity(key)) => builder.with_client_cert_resolver(Arc::new(Own(key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP.to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Believes any certificate, but not a wrong signature by it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}
