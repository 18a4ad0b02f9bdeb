//! Where messages are compressed and inflated, once permessage-deflate was agreed on (RFC 7692).
//!
//! Rules of this file:
//! * Connections whose messages do not refer to those before share what works on them: it takes
//!   no memory for each. Who keeps a window has its own, from the first message on.
//! * What would not become shorter is sent as it is.
//! * A large message leaves nothing behind, neither in a connection nor in what all share.

use crate::Config;
use crate::core::deflate::{Deflater, Inflater, WINDOW_MIN};
use crate::core::extension::WINDOW_MAX;
use crate::core::{Opcode, Role, Terms, Violation};
use crate::{Message, core};

/// Bytes of buffer that what is shared keeps from message to message: one of each kind in a loop,
/// so that messages of usual sizes allocate nothing. What a connection has of its own keeps
/// [`Limits::keep`](core::Limits::keep).
const KEPT_SHARED: usize = 256 << 10;

/// What is kept of a buffer, with a window or without.
fn kept(takeover: bool, limits: &core::Limits) -> usize {
    if takeover { limits.keep } else { KEPT_SHARED }
}

/// Those that connections share, each made when it is first wanted.
#[derive(Default)]
pub(crate) struct Shared {
    /// By the size of their windows.
    deflaters: [Option<Box<Deflater>>; Shared::WINDOWS],
    pub(crate) inflater: Option<Box<Inflater>>,
}

impl Shared {
    /// The sizes of windows.
    pub(crate) const WINDOWS: usize = (WINDOW_MAX - WINDOW_MIN + 1) as usize;

    /// Where what makes such a window is, if anything does.
    pub(crate) fn slot(bits: u8) -> Option<usize> {
        let slot = usize::from(bits.checked_sub(WINDOW_MIN)?);
        (slot < Self::WINDOWS).then_some(slot)
    }

    /// Shows `send` what a message is compressed to that refers to none before, if it is to be;
    /// whether it was.
    pub(crate) fn compress(
        &mut self,
        slot: usize,
        config: &Config,
        payload: &[u8],
        send: impl FnOnce(&[u8]),
    ) -> bool {
        let Some(deflater) = self.deflaters.get_mut(slot) else { return false };
        if payload.len() < config.compress_from {
            return false;
        }
        let bits = WINDOW_MIN + slot as u8;
        let deflater = deflater.get_or_insert_with(|| Box::new(Deflater::new(config.level, bits)));
        let compressed = deflater.message(payload, false);
        let pays = compressed.len() < payload.len();
        if pays {
            send(compressed);
        }
        deflater.release(KEPT_SHARED);
        pays
    }
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

    /// Shows `send` the payload of a message of ours compressed, if it is to be; whether it was.
    pub(crate) fn compress(
        &mut self,
        shared: &mut Shared,
        role: Role,
        config: &Config,
        payload: &[u8],
        send: impl FnOnce(&[u8]),
    ) -> bool {
        let (takeover, bits) = self.of(role);
        // With a window too small to be made nothing is compressed: nothing has to be (§6.1).
        let Some(slot) = Shared::slot(bits) else { return false };
        if !takeover {
            return shared.compress(slot, config, payload, send);
        }
        if payload.len() < config.compress_from {
            return false;
        }
        let new = || Box::new(Deflater::new(config.level, bits));
        let deflater = self.deflater.get_or_insert_with(new);
        // Shorter or not: what our window has, the peer's must have, too.
        send(deflater.message(payload, true));
        deflater.release(config.limits.keep);
        true
    }

    /// Whether the messages of the other role refer to those before.
    pub(crate) fn inflates_on(&self, role: Role) -> bool {
        match role {
            Role::Server => self.terms.client_takeover,
            Role::Client => self.terms.server_takeover,
        }
    }
}

/// Shows `show` a message that came compressed as it was.
pub(crate) fn inflate(
    inflater: &mut Inflater,
    takeover: bool,
    limits: &core::Limits,
    opcode: Opcode,
    payload: &[u8],
    show: impl FnOnce(Message<'_>),
) -> Result<(), Violation> {
    let inflated = inflater.message(payload, limits.message, takeover);
    let shown = inflated.and_then(|bytes| match opcode {
        Opcode::Text => {
            let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Violation::InvalidUtf8)?;
            show(Message::Text(text));
            Ok(())
        }
        _ => {
            show(Message::Binary(bytes));
            Ok(())
        }
    });
    inflater.release(kept(takeover, limits));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_leaves_nothing_behind() {
        let (config, message) = (Config::default(), vec![b'x'; 4 << 20]);
        for takeover in [false, true] {
            let terms = Terms { server_takeover: takeover, ..Terms::default() };
            let (mut agreed, mut shared) = (Agreed::new(terms), Shared::default());
            // Level 0 stores: the payload is as long as the message.
            let (config, mut payload) = (Config { level: 0, ..config.clone() }, Vec::new());
            agreed.compress(&mut shared, Role::Server, &config, &message, |p| payload = p.to_vec());
            let slot = shared.deflaters.last().and_then(Option::as_ref);
            let deflater = if takeover { agreed.deflater.as_ref() } else { slot };
            let most = if takeover { config.limits.keep } else { KEPT_SHARED };
            assert!(deflater.is_some_and(|deflater| deflater.memory() <= most));
            // Stored it is no shorter, and only a window that is kept wants it all the same.
            if takeover {
                let (mut inflater, limits, mut len) = (Inflater::new(), &config.limits, 0);
                let binary = Opcode::Binary;
                inflate(&mut inflater, takeover, limits, binary, &payload, |shown| {
                    let Message::Binary(bytes) = shown else { panic!("a text") };
                    len = bytes.len();
                })
                .unwrap();
                assert!(len == message.len() && inflater.memory() <= most);
            }
        }
    }
}
