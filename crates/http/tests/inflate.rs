//! Content codings: vectors, bodies of every kind in pieces of every size, hostile ones.

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use loopwork_http::inflate::{CODINGS_MAX, Caps, Inflate, Undecodable};
use proptest::prelude::*;
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Decodes what comes in pieces of these sizes, again and again, `room` bytes at a time.
fn decode(
    coding: &str,
    coded: &[u8],
    sizes: &[usize],
    room: usize,
    caps: Caps,
) -> Result<Vec<u8>, Undecodable> {
    let mut out = Vec::new();
    decode_into(&mut out, coding, coded, sizes, room, caps).map(|()| out)
}

/// The same; what came out before it failed is there, too.
fn decode_into(
    out: &mut Vec<u8>,
    coding: &str,
    coded: &[u8],
    sizes: &[usize],
    room: usize,
    caps: Caps,
) -> Result<(), Undecodable> {
    let mut body = Inflate::new([coding], caps)?.expect("a coding");
    let (mut piece, mut rest) = (vec![0; room], coded);
    for size in sizes.iter().cycle() {
        let (now, later) = rest.split_at(rest.len().min(*size));
        body.push(now);
        loop {
            match body.pull(&mut piece)? {
                0 => break,
                n => out.extend_from_slice(&piece[..n]),
            }
        }
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    body.end()
}

/// Whole, byte by byte, and cut otherwise; into much room and little: always the same.
fn check(coding: &str, coded: &[u8], expected: Result<&[u8], Undecodable>) {
    for sizes in [&[usize::MAX][..], &[1], &[3, 1, 7], &[4096]] {
        for room in [1, 100, 65_536] {
            let seen = decode(coding, coded, sizes, room, Caps::default());
            assert!(seen.as_deref() == expected.as_ref().copied(), "{coding} {sizes:?} {room}");
        }
    }
}

fn text() -> Vec<u8> {
    (0..2000u32)
        .flat_map(|n| format!("line {n} {}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

#[test]
fn bodies_of_each_coding() {
    for body in [&b""[..], b"x", b"hello, hello, hello", &text(), &[0; 100_000]] {
        check("gzip", &gzip(body), Ok(body));
        check("x-gzip", &gzip(body), Ok(body));
        check("GZip", &gzip(body), Ok(body));
        check("deflate", &zlib(body), Ok(body));
        for level in [0, 1, 9] {
            check("deflate", &raw(body, level), Ok(body));
        }
        check("deflate, gzip", &gzip(&zlib(body)), Ok(body));
        check(" gzip ,, identity, gzip", &gzip(&gzip(body)), Ok(body));
    }
    // What has no byte at all is no body.
    check("gzip", b"", Ok(b""));
    check("deflate", b"", Ok(b""));
}

#[test]
fn vectors_that_others_made() {
    // python3 -c "import gzip; print(gzip.compress(b'hello', mtime=0))", zlib.compress, -15.
    let gz = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";
    check("gzip", gz, Ok(b"hello"));
    check("deflate", b"x\x9c\xcbH\xcd\xc9\xc9\x07\0\x06,\x02\x15", Ok(b"hello"));
    check("deflate", b"\xcbH\xcd\xc9\xc9\x07\0", Ok(b"hello"));
    // A stored block (RFC 1951 §3.2.4).
    check("deflate", b"\x01\x05\0\xfa\xffhello", Ok(b"hello"));
    // A name, a comment and more in the head (RFC 1952 §2.3).
    let head = GzBuilder::new().filename("a").comment("b").extra(vec![1, 2, 3]);
    let mut encoder = head.write(Vec::new(), Compression::best());
    encoder.write_all(b"hello").unwrap();
    check("gzip", &encoder.finish().unwrap(), Ok(b"hello"));
}

#[test]
fn members_follow_each_other_and_nothing_else_does() {
    let both = [gzip(b"one, "), gzip(b""), gzip(b"two")].concat();
    check("gzip", &both, Ok(b"one, two"));
    let behind = Err(Undecodable::Corrupt);
    check("gzip", &[&gzip(b"one")[..], b"\0"].concat(), behind);
    check("gzip", &[&gzip(b"one")[..], b"\x1f\x8b garbage"].concat(), behind);
    check("deflate", &[&zlib(b"one")[..], b"garbage"].concat(), behind);
    check("deflate, gzip", &[&gzip(&zlib(b"one"))[..], b"x"].concat(), behind);
    check("gzip", &[&gzip(b"one")[..], b"\x1f"].concat(), Err(Undecodable::Short));
}

#[test]
fn hostile_54_what_is_cut_or_damaged_is_noticed() {
    let (gz, zl) = (gzip(&text()), zlib(&text()));
    for (coding, coded) in [("gzip", &gz), ("deflate", &zl)] {
        for end in (1..coded.len()).step_by(97).chain([coded.len() - 1]) {
            let seen = decode(coding, &coded[..end], &[1000], 1000, Caps::default());
            assert_eq!(seen, Err(Undecodable::Short), "{coding} up to {end}");
        }
    }
    // Its sums are wrong: of the text, and of the length.
    for behind in [8, 4] {
        let mut bad = gz.clone();
        let at = bad.len() - behind;
        bad[at] ^= 1;
        check("gzip", &bad, Err(Undecodable::Corrupt));
    }
    let mut bad = zl.clone();
    *bad.last_mut().unwrap() ^= 1;
    check("deflate", &bad, Err(Undecodable::Corrupt));
    for garbage in
        [&b"hello, I am no archive"[..], b"\x1f\x8c\x08\0", b"\x1f\x8b\x09\0\0\0\0\0\0\0"]
    {
        check("gzip", garbage, Err(Undecodable::Corrupt));
    }
    // What came out before is right.
    let mut out = Vec::new();
    let _ = decode_into(&mut out, "deflate", &bad, &[usize::MAX], 1 << 20, Caps::default());
    assert!(out == text());
    // A preset dictionary, which nobody has agreed upon (RFC 1950 §2.2).
    check("deflate", b"\x78\xbb\0\0\0\x01\x01\0\0\xff\xff", Err(Undecodable::Corrupt));
}

#[test]
fn what_is_not_known_is_not_guessed() {
    for coding in ["br", "zstd", "compress", "gzip, br", "gzip;q=1", "g zip"] {
        assert_eq!(Inflate::new([coding], Caps::default()).err(), Some(Undecodable::Unknown));
    }
    for none in ["", "identity", " , Identity ,"] {
        assert!(Inflate::new([none], Caps::default()).unwrap().is_none(), "{none}");
    }
    let many = vec!["gzip"; CODINGS_MAX];
    assert!(Inflate::new(many.clone(), Caps::default()).is_ok());
    let more = many.into_iter().chain(["deflate"]);
    assert_eq!(Inflate::new(more, Caps::default()).err(), Some(Undecodable::Unknown));
}

#[test]
fn hostile_54_bombs_are_stopped() {
    let mut caps = Caps::default();
    let zeros = vec![0; 20 << 20];
    let bomb = gzip(&zeros);
    assert!(bomb.len() < 32 << 10);
    let mut body = Inflate::new(["gzip"], caps).unwrap().unwrap();
    body.push(&bomb);
    let (mut piece, mut out) = (vec![0; 65_536], 0);
    let why = loop {
        match body.pull(&mut piece) {
            Ok(n) => out += n as u64,
            Err(why) => break why,
        }
        assert_ne!(out, zeros.len() as u64, "all of it came out");
    };
    assert_eq!(why, Undecodable::Bomb);
    assert!(out <= caps.free.max(bomb.len() as u64 * u64::from(caps.ratio)));
    // In two layers it is smaller, and ends as early.
    let twice = gzip(&bomb);
    assert!(twice.len() < 1024);
    assert_eq!(decode("gzip, gzip", &twice, &[1], 4096, caps), Err(Undecodable::Bomb));
    // The number holds for any ratio.
    caps.bytes = 10_000;
    assert_eq!(decode("gzip", &gzip(&text()), &[100], 4096, caps), Err(Undecodable::TooLong));
    let few = &text()[..10_000];
    assert_eq!(decode("gzip", &gzip(few), &[100], 4096, caps).as_deref(), Ok(few));
}

proptest! {
    #[test]
    fn any_body_in_any_pieces(
        body in prop::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..5000),
        sizes in prop::collection::vec(1usize..2000, 1..5),
        room in 1usize..3000,
    ) {
        for (coding, coded) in
            [("gzip", gzip(&body)), ("deflate", zlib(&body)), ("deflate", raw(&body, 6))]
        {
            let seen = decode(coding, &coded, &sizes, room, Caps::default());
            prop_assert!(seen.as_deref() == Ok(&body[..]), "{}", coding);
        }
    }

    /// The same comes of it however it is cut, and what came out before an error is the same, too.
    #[test]
    fn any_bytes_in_any_pieces(
        head in prop::sample::select(vec![&b""[..], b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x78\x9c"]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        sizes in prop::collection::vec(1usize..50, 1..5),
        deflate in any::<bool>(),
    ) {
        let coding = if deflate { "deflate" } else { "gzip" };
        let coded = [head, &bytes].concat();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let caps = Caps::default();
        let whole = decode_into(&mut one, coding, &coded, &[usize::MAX], 65_536, caps);
        let pieces = decode_into(&mut other, coding, &coded, &sizes, 7, caps);
        prop_assert_eq!((whole, one), (pieces, other));
    }
}
