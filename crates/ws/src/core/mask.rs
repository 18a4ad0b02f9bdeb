//! Masking (RFC 6455 §5.3): XOR with a key of four bytes, in place.
//!
//! The loop works on words of eight bytes in safe code, which compilers turn into vector
//! instructions; no alignment prologue is needed.

/// A masking key that knows how far it got: a payload may be (un)masked in parts.
///
/// > j = i MOD 4
/// > transformed-octet-i = original-octet-i XOR masking-key-octet-j
///
/// Masking and unmasking are the same. The key is held rotated to the next byte, so the offset
/// costs no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask([u8; 4]);

impl Mask {
    /// A mask at the first byte of a payload.
    #[must_use]
    pub const fn new(key: [u8; 4]) -> Mask {
        Mask(key)
    }

    /// Masks or unmasks the next part of the payload.
    pub fn apply(&mut self, part: &mut [u8]) {
        apply(self.0, part);
        self.0.rotate_left(part.len() % 4);
    }
}

/// Masks or unmasks a whole payload.
#[inline]
pub fn apply(key: [u8; 4], payload: &mut [u8]) {
    // The key twice, whatever the order of bytes in a word.
    let word = u64::from(u32::from_ne_bytes(key)) * 0x1_0000_0001;
    let (words, tail) = payload.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    // Words are multiples of four, so the tail begins at the first byte of the key.
    let (half, tail) = tail.as_chunks_mut::<4>();
    for chunk in half {
        *chunk = (u32::from_ne_bytes(*chunk) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}
