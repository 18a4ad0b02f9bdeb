//! `--compressed`: a body is shown as what it was made from.
//!
//! Rules of this file:
//! * A coding is refused when the first byte of its body comes, as curl does: a head alone shows
//!   what it shows.
//! * What comes out is written as it comes, so it may be of any length.
//! * A body that ends before its coding does is an error. curl takes it for whole, and so loses
//!   what was behind without a word.

use super::head::Head;
use crate::stdio::Output;
use loopwork::Flow;
use loopwork::http::inflate::{Caps, Inflate, Undecodable};

/// Decoded at a time.
const PIECE: usize = 64 * 1024;

/// A body that is decoded.
pub(super) struct Decoding {
    inflate: Result<Inflate, Undecodable>,
    /// More can be had of what was pushed.
    more: bool,
}

impl Decoding {
    /// `None`: it comes as it is.
    pub(super) fn of(head: &Head) -> Option<Decoding> {
        let mut caps = Caps::default();
        (caps.bytes, caps.ratio) = (u64::MAX, u32::MAX);
        let inflate = Inflate::new(head.all("content-encoding"), caps).transpose()?;
        Some(Decoding { inflate, more: false })
    }

    /// Takes what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Ok(inflate) = &mut self.inflate {
            inflate.push(bytes);
        }
        self.more = true;
    }

    /// Whether what was pushed has not gone out yet.
    pub(super) fn more(&self) -> bool {
        self.more
    }

    /// Writes what comes out, as long as it is taken.
    pub(super) fn write(&mut self, output: &Output) -> Result<(), Undecodable> {
        let mut piece = vec![0; if self.more { PIECE } else { 0 }];
        while self.more && output.flow() == Flow::Open {
            match self.inflate.as_mut().map_err(|why| *why)?.pull(&mut piece)? {
                0 => self.more = false,
                n => _ = output.push(&piece[..n]),
            }
        }
        Ok(())
    }

    /// The body has ended.
    pub(super) fn end(&self) -> Result<(), Undecodable> {
        self.inflate.as_ref().map_or(Ok(()), Inflate::end)
    }
}
