//! The PROXY protocol, versions 1 and 2: what a trusted proxy says before the first request, and
//! on whose behalf it connects.
//!
//! Rules of this file:
//! * Only who is trusted is asked, and then it must say it: guessing would let any client choose
//!   its address.
//! * Strict, as the specification wants it: what is not a header is nobody's.
//! * A header has its bound, and nothing of it is kept but the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest line of version 1, its end included: two IPv6 addresses and two ports.
const LINE_MAX: usize = 107;
/// The longest header of version 2: addresses, and what proxies add (a certificate's name, an
/// id of the cloud's) is a few hundred bytes; 65,535 could be said.
const HEADER_MAX: usize = 4096;

const PREFIX: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;

/// It is no header of the PROXY protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoHeader;

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    /// The client; `None`: the proxy speaks for itself, or does not know for whom.
    pub(crate) client: Option<SocketAddr>,
    /// Bytes of the header.
    pub(crate) len: usize,
}

/// Reads the header at the start of `bytes`; `None`: it is not whole.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => line(bytes),
        Some(_) => binary(bytes),
    }
}

/// Do the bytes begin so, as far as they go?
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(a, b)| a == b)
}

/// ```text
/// line = "PROXY " ( "UNKNOWN" *any / "TCP4" 2( " " IPv4 ) 2( " " port )
///                 / "TCP6" 2( " " IPv6 ) 2( " " port ) ) CRLF
/// ```
fn line(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    if !begins(bytes, PREFIX) {
        return Err(NoHeader);
    }
    let room = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(at) = room.windows(2).position(|w| w == b"\r\n") else {
        return if room.len() < LINE_MAX { Ok(None) } else { Err(NoHeader) };
    };
    let text = std::str::from_utf8(&bytes[PREFIX.len().min(at)..at]).map_err(|_| NoHeader)?;
    let len = at + 2;
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Ok(Some(Header { client: None, len }));
    }
    let mut words = text.split(' ');
    let mut word = || words.next().ok_or(NoHeader);
    let client = match word()? {
        "TCP4" => pair::<Ipv4Addr>([word()?, word()?, word()?, word()?]),
        "TCP6" => pair::<Ipv6Addr>([word()?, word()?, word()?, word()?]),
        _ => Err(NoHeader),
    }?;
    if words.next().is_some() {
        return Err(NoHeader);
    }
    Ok(Some(Header { client: Some(client), len }))
}

/// Source and destination, and their ports: all are checked, the source is told.
fn pair<T: FromStr + Into<IpAddr>>(words: [&str; 4]) -> Result<SocketAddr, NoHeader> {
    let ip = |text: &str| T::from_str(text).map(Into::into).map_err(|_| NoHeader);
    let (source, _) = (ip(words[0])?, ip(words[1])?);
    let (port, _) = (port(words[2])?, port(words[3])?);
    Ok(SocketAddr::new(source, port))
}

/// `port`: decimal, without zeros in front.
fn port(text: &str) -> Result<u16, NoHeader> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(NoHeader)
}

/// ```text
/// header = signature version-command family length addresses *TLV
/// ```
///
/// The version is 2, in the upper half; the command `LOCAL` (0, a health check of the proxy's own)
/// or `PROXY` (1). The length counts what is behind it, addresses and TLVs, which are skipped.
fn binary(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    if !begins(bytes, SIGNATURE) {
        return Err(NoHeader);
    }
    let Some(fixed) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) || len > HEADER_MAX {
        return Err(NoHeader);
    }
    let Some(rest) = bytes.get(FIXED..len) else { return Ok(None) };
    let client = match (command, family) {
        // The address of a health check is the proxy's, whatever stands here.
        (0x20, _) => None,
        (_, 0x11) => Some(addresses::<4, 12, Ipv4Addr>(rest)?),
        (_, 0x21) => Some(addresses::<16, 36, Ipv6Addr>(rest)?),
        // Unspecified, Unix, datagrams: no address that we have a use for.
        (_, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Err(NoHeader),
    };
    Ok(Some(Header { client, len }))
}

/// `source destination source-port destination-port`, of `ALL` bytes together.
fn addresses<const IP: usize, const ALL: usize, T>(bytes: &[u8]) -> Result<SocketAddr, NoHeader>
where
    T: From<[u8; IP]> + Into<IpAddr>,
{
    let all = bytes.first_chunk::<ALL>().ok_or(NoHeader)?;
    let source = all.first_chunk::<IP>().ok_or(NoHeader)?;
    let port = u16::from_be_bytes([all[2 * IP], all[2 * IP + 1]]);
    Ok(SocketAddr::new(T::from(*source).into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whole, at every cut, and with bytes behind it: what comes of it must agree.
    fn check(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
        let whole = parse(bytes);
        for cut in 0..bytes.len() {
            match (parse(&bytes[..cut]), whole) {
                (Ok(None), _) => {}
                (Ok(Some(header)), _) => {
                    assert!(header.len <= cut);
                    assert_eq!(whole, Ok(Some(header)), "cut at {cut}");
                }
                (Err(NoHeader), _) => assert_eq!(whole, Err(NoHeader), "cut at {cut}"),
            }
        }
        if whole != Ok(None) {
            for tail in [&b"\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"\0"] {
                assert_eq!(parse(&[bytes, tail].concat()), whole, "{tail:?} behind");
            }
        }
        whole
    }

    fn told(bytes: &[u8]) -> Option<String> {
        let header = check(bytes).unwrap().unwrap();
        assert_eq!(header.len, bytes.len());
        header.client.map(|at| at.to_string())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    #[test]
    fn lines() {
        let v4 = told(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n");
        assert_eq!(v4.as_deref(), Some("192.0.2.1:56324"));
        let v6 = told(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
        assert_eq!(v6.as_deref(), Some("[2001:db8::1]:1"));
        assert_eq!(told(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(told(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), None);
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let line = format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n");
        assert_eq!(told(line.as_bytes()), Some(format!("[{longest}]:65535")));
    }

    #[test]
    fn no_lines() {
        for bad in [
            "GET / HTTP/1.1\r\n",
            "PROXY\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
            "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r\n",
            "PROXY TCP4 1.1.1.1\x002.2.2.2 1 2\r\n",
        ] {
            assert_eq!(check(bad.as_bytes()), Err(NoHeader), "{bad:?}");
        }
        let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
        assert_eq!(check(&long), Err(NoHeader));
        assert_eq!(check(b"PROXY TCP4 1.1"), Ok(None));
    }

    #[test]
    fn headers_of_version_2() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 1, 187];
        assert_eq!(told(&v2(0x21, 0x11, &v4)).as_deref(), Some("192.0.2.1:56324"));
        // TLVs behind the addresses.
        let more = [&v4[..], &[4, 0, 3, 1, 2, 3]].concat();
        assert_eq!(told(&v2(0x21, 0x11, &more)).as_deref(), Some("192.0.2.1:56324"));
        let mut v6 = [0; 36];
        (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 80, 90);
        assert_eq!(told(&v2(0x21, 0x21, &v6)).as_deref(), Some("[::1]:80"));
        assert_eq!(told(&v2(0x20, 0x11, &v4)), None);
        assert_eq!(told(&v2(0x20, 0x00, &[])), None);
        assert_eq!(told(&v2(0x21, 0x00, &[1, 2, 3])), None);
        assert_eq!(told(&v2(0x21, 0x31, &[0; 216])), None);
        for bad in [
            v2(0x21, 0x11, &v4[..11]),
            v2(0x21, 0x21, &v6[..35]),
            v2(0x11, 0x11, &v4),
            v2(0x22, 0x11, &v4),
            v2(0x21, 0x13, &v4),
            v2(0x21, 0x41, &v4),
            v2(0x21, 0x11, &[0; HEADER_MAX]),
            b"\r\n\r\nGET / HTTP/1.1".to_vec(),
        ] {
            assert_eq!(check(&bad), Err(NoHeader), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_said_is_understood(client: SocketAddr, to: SocketAddr) {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (ip, port) = (client.ip(), client.port());
            let other = if client.is_ipv4() == to.is_ipv4() { to } else { client };
            let line = format!("PROXY {family} {ip} {} {port} {}\r\n", other.ip(), other.port());
            let said = SocketAddr::new(ip, port).to_string();
            prop_assert_eq!(told(line.as_bytes()), Some(said));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>, line in "PROXY [A-Z0-9 .:\r\n]{0,120}", v in 0u8..64) {
            for bytes in [bytes.clone(), line.into_bytes(), v2(0x21, v, &bytes)] {
                let _ = check(&bytes);
            }
        }
    }
}
