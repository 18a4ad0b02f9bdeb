//! permessage-deflate: what the two sides agree on in the handshake (RFC 7692 §5, §7.1).
//!
//! Rules that hold here:
//!
//! * What is no list of extensions at all is an error, and ends the handshake (RFC 6455 §9.1). An
//!   offer that is well-formed, but means nothing to us, is declined: the next one is looked at.
//! * Linear in the input, and nothing is allocated.

use super::handshake::is_token;

/// The name of the extension (RFC 7692 §7).
const NAME: &str = "permessage-deflate";
const SERVER_ALONE: &str = "server_no_context_takeover";
const CLIENT_ALONE: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// The largest window: 2^15 bytes.
pub const WINDOW_MAX: u8 = 15;

/// What is wanted of permessage-deflate, and what was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The server's messages may refer to those before (`server_no_context_takeover` is absent).
    /// That takes a window on both sides for as long as the connection lasts: who compresses keeps
    /// some 320 KB, who inflates 50 KB.
    pub server_takeover: bool,
    /// The same of the client's messages.
    pub client_takeover: bool,
    /// The base-2 logarithm of the window of the server's messages, 8 to 15.
    pub server_bits: u8,
    /// The same of the client's messages.
    pub client_bits: u8,
}

impl Default for Terms {
    /// Nothing is kept from message to message, in windows of 32 KiB.
    fn default() -> Self {
        let bits = WINDOW_MAX;
        Terms {
            server_takeover: false,
            client_takeover: false,
            server_bits: bits,
            client_bits: bits,
        }
    }
}

/// The text is no list of extensions.
///
/// ```text
/// extension-list  = 1#extension
/// extension       = extension-token *( ";" extension-param )
/// extension-param = token [ "=" (token | quoted-string) ]
/// ; when quoted, the value after unquoting must be a token (RFC 6455 §9.1)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotExtensions;

impl Terms {
    /// Server: agrees to the first offer in these header values that can be agreed to, at most
    /// with what `self` allows. `None`: there is none, and the answer names no extension.
    ///
    /// # Errors
    /// One of the values is no list of extensions.
    pub fn accept<'a>(
        &self,
        offers: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Terms>, NotExtensions> {
        let mut agreed = None;
        each(offers, |offer| {
            agreed = agreed.or_else(|| offer.and_then(|offer| self.answer(offer)));
        })?;
        Ok(agreed)
    }

    /// What is answered to an offer.
    fn answer(&self, offer: Params) -> Option<Terms> {
        Some(Terms {
            server_takeover: self.server_takeover && !offer.server_alone,
            client_takeover: self.client_takeover && !offer.client_alone,
            server_bits: self.server_bits.min(offer.server_bits.unwrap_or(WINDOW_MAX)),
            // > If a received extension negotiation offer doesn't have the
            // > "client_max_window_bits" extension parameter, the corresponding [...] response
            // > [...] MUST NOT include [it] (§7.1.2.2).
            client_bits: match offer.client_bits {
                Some(most) => self.client_bits.min(most.unwrap_or(WINDOW_MAX)),
                None => WINDOW_MAX,
            },
        })
    }

    /// Client: what is offered.
    pub fn offer(&self, out: &mut Vec<u8>) {
        self.write(out);
        if self.client_bits == WINDOW_MAX {
            // Without a value: whatever the server says will do.
            out.extend_from_slice(b"; client_max_window_bits");
        }
    }

    /// Client: what the server has agreed to, of what `self` offered.
    ///
    /// # Errors
    /// Another extension, two of them, or what was not offered or is none of the parameters.
    pub fn check<'a>(
        &self,
        answer: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Terms>, NotExtensions> {
        let (mut agreed, mut sound) = (None, true);
        each(answer, |params| {
            let terms = params.and_then(|params| self.checked(params));
            sound &= terms.is_some() && agreed.is_none();
            agreed = terms;
        })?;
        if sound { Ok(agreed) } else { Err(NotExtensions) }
    }

    fn checked(&self, params: Params) -> Option<Terms> {
        let server_bits = params.server_bits.unwrap_or(WINDOW_MAX);
        let client_bits = match params.client_bits {
            None => self.client_bits,
            // In an answer it has a value (§7.1.2.2).
            Some(bits) => bits?.min(self.client_bits),
        };
        // What was asked for has to be there: "server_no_context_takeover" (§7.1.1.1), and a
        // window that is not larger (§7.1.2.1).
        let kept = self.server_takeover || params.server_alone;
        (kept && server_bits <= self.server_bits).then_some(Terms {
            server_takeover: !params.server_alone,
            client_takeover: self.client_takeover && !params.client_alone,
            server_bits,
            client_bits,
        })
    }

    /// The extension with its parameters, as it stands in `Sec-WebSocket-Extensions`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME.as_bytes());
        for (kept, alone) in
            [(self.server_takeover, SERVER_ALONE), (self.client_takeover, CLIENT_ALONE)]
        {
            if !kept {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(alone.as_bytes());
            }
        }
        for (bits, name) in [(self.server_bits, SERVER_BITS), (self.client_bits, CLIENT_BITS)] {
            if bits < WINDOW_MAX {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(name.as_bytes());
                out.push(b'=');
                if bits > 9 {
                    out.push(b'1');
                }
                out.push(b'0' + bits % 10);
            }
        }
    }
}

/// The parameters of one permessage-deflate.
#[derive(Clone, Copy, Default)]
struct Params {
    server_alone: bool,
    client_alone: bool,
    server_bits: Option<u8>,
    client_bits: Option<Option<u8>>,
}

impl Params {
    /// Takes a parameter in: whether it is one, with a value that it can have, for the first time
    /// (§7.1).
    fn set(&mut self, name: &str, value: Option<&str>) -> bool {
        let alone = |flag: &mut bool| !std::mem::replace(flag, true) && value.is_none();
        match name {
            SERVER_ALONE => alone(&mut self.server_alone),
            CLIENT_ALONE => alone(&mut self.client_alone),
            SERVER_BITS => {
                let bits = value.and_then(window_bits);
                bits.is_some() && self.server_bits.replace(bits.unwrap_or_default()).is_none()
            }
            CLIENT_BITS => {
                let bits = value.map(window_bits);
                bits != Some(None) && self.client_bits.replace(bits.flatten()).is_none()
            }
            _ => false,
        }
    }
}

/// > a decimal integer value without leading zeroes between 8 to 15, inclusive (§7.1.2.1)
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

/// Shows the extensions of a list, one after the other: the parameters of a permessage-deflate, or
/// `None` for another, or one with parameters that none has.
fn each<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    mut show: impl FnMut(Option<Params>),
) -> Result<(), NotExtensions> {
    for value in values {
        let mut text = Text(std::str::from_utf8(value).map_err(|_| NotExtensions)?);
        loop {
            // Empty elements are taken (RFC 9110 §5.6.1.2).
            while text.takes(',') {}
            if text.0.is_empty() {
                break;
            }
            let mut ours = text.token()? == NAME;
            let mut params = Params::default();
            while text.takes(';') {
                let name = text.token()?;
                let value = if text.takes('=') { Some(text.value()?) } else { None };
                ours = ours && params.set(name, value);
            }
            if !text.0.is_empty() && !text.takes(',') {
                return Err(NotExtensions);
            }
            show(ours.then_some(params));
        }
    }
    Ok(())
}

/// What is left of a header's value.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// Takes this character, and the blanks around it, if it comes next.
    fn takes(&mut self, char: char) -> bool {
        self.skip_blanks();
        let rest = self.0.strip_prefix(char);
        self.0 = rest.unwrap_or(self.0);
        self.skip_blanks();
        rest.is_some()
    }

    fn token(&mut self) -> Result<&'a str, NotExtensions> {
        let end = self.0.find([',', ';', '=', ' ', '\t', '"']).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if is_token(token) { Ok(token) } else { Err(NotExtensions) }
    }

    /// A token, in quotes or not. With a `\` in it, which may stand in quotes, it is a value that
    /// no parameter of ours has.
    fn value(&mut self) -> Result<&'a str, NotExtensions> {
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token() };
        let mut escaped = false;
        let end = quoted.find(|char| {
            let ends = char == '"' && !escaped;
            escaped = char == '\\' && !escaped;
            ends
        });
        let (value, rest) = quoted.split_at(end.ok_or(NotExtensions)?);
        self.0 = &rest[1..];
        let plain = value.contains('\\') || is_token(value);
        if plain { Ok(value) } else { Err(NotExtensions) }
    }
}
