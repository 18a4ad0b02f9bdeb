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

/// A body that is decoded, or cannot be.
pub(super) struct Decoding(Result<Inflate, Undecodable>);

impl Decoding {
    /// `None`: it comes as it is.
    pub(super) fn of(head: &Head) -> Option<Decoding> {
        let mut caps = Caps::default();
        (caps.bytes, caps.ratio) = (u64::MAX, u32::MAX);
        Inflate::new(head.all("content-encoding"), caps).transpose().map(Decoding)
    }

    /// Takes what came.
    ///
    /// # Errors
    /// Its coding is not known.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Undecodable> {
        self.0.as_mut().map(|inflate| inflate.push(bytes)).map_err(|why| *why)
    }

    /// Whether what was pushed has not gone out yet.
    pub(super) fn more(&self) -> bool {
        self.0.as_ref().is_ok_and(Inflate::more)
    }

    /// Writes what comes out, as long as it is taken.
    pub(super) fn write(&mut self, output: &Output) -> Result<(), Undecodable> {
        let Ok(inflate) = &mut self.0 else { return Ok(()) };
        let mut piece = vec![0; if inflate.more() { PIECE } else { 0 }];
        while inflate.more() && output.flow() == Flow::Open {
            let n = inflate.pull(&mut piece)?;
            let _ = output.push(&piece[..n]);
        }
        Ok(())
    }

    /// The body has ended.
    pub(super) fn end(&self) -> Result<(), Undecodable> {
        self.0.as_ref().map_or(Ok(()), Inflate::end)
    }
}
