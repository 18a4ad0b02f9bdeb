//! Why TLS gave a connection up.
//!
//! Rule: of those who fail one by one, by the thousand, only the last few are remembered.

use loopwork_tcp::reactor::Id;
use rustls::{AlertDescription, CertificateError, Error};
use std::collections::VecDeque;
use std::fmt;

/// How many failures are remembered: those of a turn, which their `on_close` asks for at once.
const REMEMBERED: usize = 64;

/// Why TLS gave a connection up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// What rustls says: of a certificate, of what could not be agreed on, of a breach of the
    /// protocol by the peer, or the alert that the peer sent.
    Tls(Error),
    /// The peer's first bytes are those of a request without TLS.
    Plain,
    /// The handshake took too long.
    Slow,
    /// The stream ended within the handshake.
    Ended,
    /// The stream ended without `close_notify`: what came may not be all.
    Truncated,
}

impl Failure {
    /// Whether it is the peer's certificate that is not good enough, so that trusting it, or not
    /// asking, would help.
    #[must_use]
    pub fn is_certificate(&self) -> bool {
        matches!(self, Failure::Tls(Error::InvalidCertificate(_) | Error::NoCertificatesPresented))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Tls(Error::InvalidCertificate(why)) => certificate(f, why),
            Failure::Tls(Error::AlertReceived(alert)) => told(f, *alert),
            Failure::Tls(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                f.write_str("what came is not TLS")
            }
            Failure::Tls(error) => error.fmt(f),
            Failure::Plain => f.write_str("the peer speaks HTTP without TLS"),
            Failure::Slow => f.write_str("the handshake took too long"),
            Failure::Ended => f.write_str("the peer hung up within the handshake"),
            Failure::Truncated => {
                f.write_str("the stream was cut off: it ended without close_notify")
            }
        }
    }
}

impl std::error::Error for Failure {}

fn certificate(f: &mut fmt::Formatter<'_>, why: &CertificateError) -> fmt::Result {
    let words = match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::UnknownIssuer => "was signed by nobody who is trusted here, or by itself",
        CertificateError::Revoked => "was revoked",
        CertificateError::BadSignature => "has a wrong signature",
        CertificateError::BadEncoding => "cannot be read",
        // rustls has no word of its own for it.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "is an authority's: it may sign others, but not be a server's (CA:TRUE)"
        }
        other => return write!(f, "the peer's certificate is not accepted: {other}"),
    };
    write!(f, "the peer's certificate {words}")
}

/// RFC 8446 §6.2, what a user can do something about.
fn told(f: &mut fmt::Formatter<'_>, alert: AlertDescription) -> fmt::Result {
    let words = match alert {
        AlertDescription::UnknownCA | AlertDescription::BadCertificate => {
            "it does not accept our certificate"
        }
        AlertDescription::CertificateRequired => "it wants a certificate of ours",
        AlertDescription::CertificateExpired => "our certificate has expired",
        AlertDescription::HandshakeFailure => "nothing could be agreed on",
        AlertDescription::ProtocolVersion => "it speaks no version of TLS that we do",
        AlertDescription::UnrecognisedName => "it does not know the name that it was asked for",
        AlertDescription::NoApplicationProtocol => "it speaks no protocol that we offered",
        other => return write!(f, "the peer gave up: alert {other:?}"),
    };
    write!(f, "the peer gave up: {words}")
}

/// The last failures of a loop; see [`failure`](crate::failure).
#[derive(Debug, Default)]
pub struct Failures(VecDeque<(Id, Failure)>);

impl Failures {
    pub(crate) fn note(&mut self, id: Id, why: Failure) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((id, why));
    }

    pub(crate) fn of(&self, id: Id) -> Option<&Failure> {
        self.0.iter().rev().find(|(of, _)| *of == id).map(|(_, why)| why)
    }

    /// The last one, whosever it was: for a client that has one connection.
    #[must_use]
    pub fn last(&self) -> Option<&Failure> {
        self.0.back().map(|(_, why)| why)
    }
}
