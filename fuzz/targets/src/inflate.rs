//! Content codings: hostile bodies in any pieces, within caps that a small input reaches.

use crate::cuts::Cuts;
use loopwork_http::inflate::{Caps, Inflate, Undecodable};

/// What comes of a body in these pieces, `room` bytes at a time.
fn decode(
    field: &str,
    body: &[u8],
    cuts: Option<Cuts>,
    room: usize,
    caps: Caps,
) -> (Vec<u8>, Result<(), Undecodable>) {
    let mut inflate = match Inflate::new([field], caps) {
        Ok(Some(inflate)) => inflate,
        Ok(None) => return (body.to_vec(), Ok(())),
        Err(why) => return (Vec::new(), Err(why)),
    };
    let ends: Vec<usize> = match cuts {
        Some(cuts) => cuts.ends(body.len()).collect(),
        None => vec![body.len()],
    };
    let (mut out, mut piece, mut from) = (Vec::new(), vec![0; room], 0);
    for to in ends {
        inflate.push(&body[from..to]);
        from = to;
        loop {
            match inflate.pull(&mut piece) {
                Ok(0) => break,
                Ok(n) => out.extend_from_slice(&piece[..n]),
                Err(why) => return (out, Err(why)),
            }
        }
    }
    (out, inflate.end())
}

/// A line, the field `Content-Encoding`, and the body behind it.
pub fn http_inflate(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(field) = std::str::from_utf8(&data[..end]) else { return };
    let body = &data[end + 1..];
    let mut caps = Caps::default();
    (caps.bytes, caps.free, caps.ratio) = (1 << 20, u64::MAX, u32::MAX);
    let (out, end) = decode(field, body, None, 64 * 1024, caps);
    assert!(out.len() as u64 <= caps.bytes || field.trim().is_empty());
    for cuts in Cuts::ways(body) {
        let (cut, cut_end) = decode(field, body, Some(cuts), 777, caps);
        assert_eq!(cut_end, end, "the same verdict");
        // Of what is too long, up to a piece more or less came out before it was noticed.
        let same =
            if end == Err(Undecodable::TooLong) { out.len().min(cut.len()) } else { out.len() };
        assert!(cut.len() >= same && cut[..same] == out[..same]);
        assert!(cut.len() == out.len() || end == Err(Undecodable::TooLong));
    }
    // A bomb is stopped by its ratio: at most a piece more than that came out.
    let mut tight = Caps::default();
    (tight.free, tight.ratio) = (0, 50);
    let (out, _) = decode(field, body, None, 1024, tight);
    assert!(out.len() <= body.len() * 50 || field.trim().is_empty());
}
