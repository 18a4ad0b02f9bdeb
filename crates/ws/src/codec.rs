//! Where messages are compressed and inflated, once permessage-deflate was agreed on (RFC 7692).
//!
//! Rules of this file:
//! * Connections whose messages do not refer to those before share what works on them: it takes
//!   no memory for each. Who keeps a window has its own, from the first message on.
//! * What would not become shorter is sent as it is.

use crate::Config;
use crate::core::deflate::{Deflater, Inflater, WINDOW_MIN};
use crate::core::extension::WINDOW_MAX;
use crate::core::{Opcode, Role, Terms, Violation};
use crate::{Message, core};

/// Those that connections share, each made when it is first wanted.
#[derive(Default)]
pub(crate) struct Shared {
    /// By the size of their windows.
    deflaters: [Option<Box<Deflater>>; (WINDOW_MAX - WINDOW_MIN + 1) as usize],
    pub(crate) inflater: Option<Box<Inflater>>,
}

/// What was agreed on, and the windows that are kept.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) terms: Terms,
    deflater: Option<Box<Deflater>>,
    pub(crate) inflater: Option<Box<Inflater>>,
}

impl Agreed {
    pub(crate) fn new(terms: Terms) -> Box<Agreed> {
        Box::new(Agreed { terms, deflater: None, inflater: None })
    }

    /// Of the messages of this role: whether a window is kept, and its size.
    fn of(&self, role: Role) -> (bool, u8) {
        match role {
            Role::Server => (self.terms.server_takeover, self.terms.server_bits),
            Role::Client => (self.terms.client_takeover, self.terms.client_bits),
        }
    }

    /// The payload of a message of ours, compressed, if it is to be.
    pub(crate) fn compress<'a>(
        &'a mut self,
        shared: &'a mut Shared,
        role: Role,
        config: &Config,
        payload: &[u8],
    ) -> Option<&'a [u8]> {
        let (takeover, bits) = self.of(role);
        if payload.len() < config.compress_from {
            return None;
        }
        // With a window too small to be made nothing is compressed: nothing has to be (§6.1).
        let slot = shared.deflaters.get_mut(usize::from(bits.checked_sub(WINDOW_MIN)?))?;
        let slot = if takeover { &mut self.deflater } else { slot };
        let deflater = slot.get_or_insert_with(|| Box::new(Deflater::new(config.level, bits)));
        let compressed = deflater.message(payload, takeover);
        // What our window has, the peer's must have, too.
        (takeover || compressed.len() < payload.len()).then_some(compressed)
    }

    /// Whether the messages of the other role refer to those before.
    pub(crate) fn inflates_on(&self, role: Role) -> bool {
        match role {
            Role::Server => self.terms.client_takeover,
            Role::Client => self.terms.server_takeover,
        }
    }
}

/// A message that came compressed, as it was.
pub(crate) fn inflate<'a>(
    inflater: &'a mut Inflater,
    takeover: bool,
    limits: &core::Limits,
    opcode: Opcode,
    payload: &[u8],
) -> Result<Message<'a>, Violation> {
    let bytes = inflater.message(payload, limits.message, takeover)?;
    match opcode {
        Opcode::Text => {
            let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Violation::InvalidUtf8)?;
            Ok(Message::Text(text))
        }
        _ => Ok(Message::Binary(bytes)),
    }
}
