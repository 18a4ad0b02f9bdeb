//! permessage-deflate: the examples of RFC 7692, what comes back, bombs and what is broken; and
//! what the two sides agree on.

#[allow(dead_code, reason = "only the dice are used")]
mod core_support;

use core_support::Random;
use loopwork_ws::core::deflate::{Deflater, Inflater};
use loopwork_ws::core::extension::NotExtensions;
use loopwork_ws::core::{Limits, Message, Opcode, Receiver, Role, Terms, Violation, frame};
use proptest::prelude::*;

const MOST: usize = 1 << 20;

fn inflated(payload: &[u8]) -> Result<Vec<u8>, Violation> {
    Inflater::new().message(payload, MOST, false).map(|bytes| bytes.to_vec())
}

#[test]
fn the_examples_of_the_rfc() {
    for (payload, text) in [
        // §7.2.3.1, §7.2.3.3, §7.2.3.4, §7.2.3.5, §7.2.3.6
        (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], "Hello"),
        (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"),
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"),
        (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"),
        (b"\x00", ""),
    ] {
        assert_eq!(inflated(payload).as_deref(), Ok(text.as_bytes()), "{payload:x?}");
    }
    // §7.2.3.2: the second refers to the first.
    let second = b"\xf2\x00\x11\x00\x00";
    let mut inflater = Inflater::new();
    for payload in [&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], second] {
        assert_eq!(inflater.message(payload, MOST, true).as_deref(), Ok(&b"Hello"[..]));
    }
    assert_eq!(inflated(second), Err(Violation::Compression));
    assert_eq!(Deflater::new(6, 15).message(b"Hello", false), b"\xf2\x48\xcd\xc9\xc9\x07\x00");
}

/// Text with repetitions near and far.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = Random(seed);
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let far = dice.below(bytes.len().max(1));
        match dice.below(3) {
            0 => bytes.extend((0..dice.below(40)).map(|n| (n * 7) as u8)),
            1 => bytes.extend_from_within(far..(far + 50).min(bytes.len())),
            _ => bytes.push(dice.below(256) as u8),
        }
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn messages_come_back_with_and_without_a_window_that_is_kept() {
    for takeover in [false, true] {
        for bits in 9..=15 {
            for level in [0, 1, 6, 9] {
                let (mut deflater, mut inflater) = (Deflater::new(level, bits), Inflater::new());
                for (n, len) in
                    [0, 1, 0, 5, 300, 0, 70_000, 300, 600_000, 0, 7].into_iter().enumerate()
                {
                    let message = text(n as u64 % 3, len);
                    let payload = deflater.message(&message, takeover).to_vec();
                    let back = inflater.message(&payload, len, takeover);
                    assert!(
                        back.is_ok_and(|back| *back == message),
                        "{takeover} {bits} {level} {n}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_window_that_is_kept_makes_repetitions_small() {
    let (message, mut kept, mut alone) = (text(1, 400), Deflater::new(6, 15), Deflater::new(6, 15));
    let first = kept.message(&message, true).len();
    assert_eq!(alone.message(&message, false).len(), first);
    assert!(kept.message(&message, true).len() * 4 < first);
    assert_eq!(alone.message(&message, false).len(), first);
}

#[test]
fn a_large_message_leaves_nothing_behind() {
    let (mut deflater, mut inflater) = (Deflater::new(0, 15), Inflater::new());
    let message = text(3, 5 << 20);
    for takeover in [true, false] {
        let payload = deflater.message(&message, takeover).to_vec();
        assert_eq!(
            inflater.message(&payload, message.len(), takeover).map(|b| b.len()),
            Ok(5 << 20)
        );
        assert!(deflater.memory() >= 5 << 20 && inflater.memory() >= 5 << 20);
        deflater.release(1000);
        inflater.release(0);
        assert!(deflater.memory() <= 1000 && inflater.memory() == 0);
    }
}

#[test]
fn hostile_63_bombs_end_at_the_limit() {
    let bomb = Deflater::new(9, 15).message(&vec![0; 64 << 20], false).to_vec();
    assert!(bomb.len() < 70_000);
    for (most, fits) in [(0, false), (1 << 20, false), ((64 << 20) - 1, false), (64 << 20, true)] {
        let mut inflater = Inflater::new();
        let told = inflater.message(&bomb, most, false).map(|bytes| bytes.len());
        let wanted = if fits { Ok(64 << 20) } else { Err(Violation::MessageTooBig) };
        assert_eq!(told, wanted);
        // And it goes on with the next.
        let next = inflater.message(b"\xf2\x48\xcd\xc9\xc9\x07\x00", MOST, false);
        assert_eq!(next.as_deref(), Ok(&b"Hello"[..]));
    }
}

#[test]
fn hostile_63_what_is_broken_is_refused() {
    for payload in [
        // Nothing; a block of the kind that is none; a distance before the beginning.
        &b""[..],
        b"\x07",
        b"\x03\x02\x00",
        // Behind the last block there is more than an empty one.
        b"\xf3\x48\xcd\xc9\xc9\x07\x00",
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\xff",
        // A stored block whose length is not what it says twice, and one that is cut.
        b"\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00",
        b"\x00\x05\x00\xfa\xff\x48\x65",
    ] {
        assert_eq!(inflated(payload), Err(Violation::Compression), "{payload:x?}");
    }
    // Cut anywhere it is not taken for the whole, and nearly anywhere for nothing: but where a
    // block ends, or where what is added makes up for stored bytes that are missing.
    for len in [20, 1000, 50_000] {
        for level in [0, 1, 6] {
            let message = text(7, len);
            let payload = Deflater::new(level, 15).message(&message, false).to_vec();
            let ends = payload.len().saturating_sub(400)..payload.len();
            let told: Vec<_> = ends.map(|end| inflated(&payload[..end])).collect();
            assert!(told.iter().all(|told| told.as_deref() != Ok(&message)), "{len} {level}");
            let refused = told.iter().filter(|told| told.is_err()).count();
            assert!(refused * 10 > told.len() * 8, "{len} {level}: {refused} of {}", told.len());
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_do_harm(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        most in 0usize..500,
    ) {
        let mut inflater = Inflater::new();
        for takeover in [true, true, false] {
            if let Ok(bytes) = inflater.message(&payload, most, takeover) {
                prop_assert!(bytes.len() <= most);
            }
        }
        let hello = inflater.message(b"\xf2\x48\xcd\xc9\xc9\x07\x00", MOST, false);
        prop_assert_eq!(hello.as_deref(), Ok(&b"Hello"[..]));
    }

    #[test]
    fn all_bytes_come_back(
        messages in prop::collection::vec(prop::collection::vec(0u8..4, 0..600), 1..8),
        takeover: bool,
    ) {
        let (mut deflater, mut inflater) = (Deflater::new(1, 9), Inflater::new());
        for message in messages {
            let payload = deflater.message(&message, takeover).to_vec();
            let back = inflater.message(&payload, message.len(), takeover);
            prop_assert_eq!(back.as_deref(), Ok(&message[..]));
        }
    }
}

/// What a receiver says of frames, whole and byte by byte.
fn received(inflates: bool, frames: &[u8]) -> Result<Vec<(Opcode, Vec<u8>)>, Violation> {
    let run = |piece: usize| {
        let (mut receiver, limits) = (Receiver::new(Role::Client), Limits::default());
        receiver.inflates(inflates);
        let (mut carry, mut got) = (Vec::new(), Vec::new());
        for part in frames.chunks(piece) {
            carry.extend_from_slice(part);
            loop {
                let (used, message) = receiver.next(&mut carry, &limits)?;
                let more = match message {
                    Some(Message::Compressed(opcode, bytes)) => {
                        got.push((opcode, bytes.to_vec()));
                        true
                    }
                    other => other.is_some(),
                };
                carry.drain(..used);
                if !more {
                    break;
                }
            }
        }
        Ok(got)
    };
    let whole = run(usize::MAX);
    assert_eq!(run(1), whole);
    assert_eq!(run(3), whole);
    whole
}

#[test]
fn rsv1_means_compressed_where_that_was_agreed_on() {
    let mut one = Vec::new();
    frame::encode_compressed(&mut one, Opcode::Text, b"abc", None);
    assert_eq!(one, b"\xc1\x03abc");
    assert_eq!(received(true, &one), Ok(vec![(Opcode::Text, b"abc".to_vec())]));
    assert_eq!(received(false, &one), Err(Violation::ReservedBits));
    // In frames, with a Ping between them: RSV1 stands on the first alone.
    let parts = b"\x42\x02ab\x89\x00\x80\x01c\xc2\x00";
    let both = vec![(Opcode::Binary, b"abc".to_vec()), (Opcode::Binary, Vec::new())];
    assert_eq!(received(true, parts), Ok(both));
    for bad in [&b"\x42\x01a\xc0\x01b"[..], b"\xc9\x00", b"\xc8\x00", b"\xa1\x00", b"\xd1\x00"] {
        assert_eq!(received(true, bad), Err(Violation::ReservedBits), "{bad:x?}");
    }
}

fn agreed(ours: Terms, offers: &[&str]) -> Result<Option<String>, NotExtensions> {
    let terms = ours.accept(offers.iter().map(|offer| offer.as_bytes()))?;
    Ok(terms.map(|terms| {
        let mut out = Vec::new();
        terms.write(&mut out);
        String::from_utf8(out).unwrap()
    }))
}

const ALONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn offers_are_answered_by_the_first_that_will_do() {
    let open = Terms { server_takeover: true, client_takeover: true, ..Terms::default() };
    for (offer, by_default, by_all) in [
        ("permessage-deflate", ALONE, "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", ALONE, "permessage-deflate"),
        ("x-other, permessage-deflate", ALONE, "permessage-deflate"),
        (" ,permessage-deflate,, ", ALONE, "permessage-deflate"),
        (
            "permessage-deflate;server_no_context_takeover",
            ALONE,
            "permessage-deflate; server_no_context_takeover",
        ),
        (
            "permessage-deflate; what; x=1, permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=10",
        ),
        (
            "permessage-deflate; client_max_window_bits=\"9\"",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             client_max_window_bits=9",
            "permessage-deflate; client_max_window_bits=9",
        ),
    ] {
        assert_eq!(agreed(Terms::default(), &[offer]), Ok(Some(by_default.into())), "{offer}");
        assert_eq!(agreed(open, &[offer]), Ok(Some(by_all.into())), "{offer}");
    }
    let small = Terms { server_bits: 11, client_bits: 12, ..open };
    let answer = "permessage-deflate; server_max_window_bits=11; client_max_window_bits=12";
    let offers = ["x", "permessage-deflate; client_max_window_bits; server_max_window_bits=15"];
    assert_eq!(agreed(small, &offers), Ok(Some(answer.into())));
    // Who does not offer it is not told how large its window may be.
    let answer = "permessage-deflate; server_max_window_bits=11";
    assert_eq!(agreed(small, &["permessage-deflate"]), Ok(Some(answer.into())));
}

#[test]
fn hostile_64_offers_that_mean_nothing_are_declined() {
    for offer in [
        "",
        "permessage-bzip2",
        "Permessage-Deflate",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=+9",
        "permessage-deflate; client_max_window_bits=\"1\\0\"",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits=10; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; unheard_of",
    ] {
        assert_eq!(agreed(Terms::default(), &[offer]), Ok(None), "{offer}");
    }
    let many = "permessage-deflate; unheard_of, ".repeat(100_000);
    assert_eq!(agreed(Terms::default(), &[&many]), Ok(None));
    let last = format!("{many}permessage-deflate");
    assert_eq!(agreed(Terms::default(), &[&last]), Ok(Some(ALONE.into())));
}

#[test]
fn hostile_64_what_is_no_list_is_refused() {
    for offer in [
        "permessage-deflate;",
        "permessage-deflate; =1",
        "permessage-deflate; a=",
        "permessage-deflate; a=\"",
        "permessage-deflate; a=\"\"",
        "permessage-deflate; a=\"b\\",
        "permessage-deflate; a=\"b c\"",
        "permessage deflate",
        "permessage-deflate; a b",
        "permessage-deflate, x y",
        "a/b",
        ";a",
        "\u{e9}",
    ] {
        assert_eq!(agreed(Terms::default(), &[offer]), Err(NotExtensions), "{offer}");
    }
    assert_eq!(Terms::default().accept([&b"\xff"[..]]), Err(NotExtensions));
}

#[test]
fn what_a_client_offers_and_takes() {
    let offer = |terms: Terms| {
        let mut out = Vec::new();
        terms.offer(&mut out);
        String::from_utf8(out).unwrap()
    };
    let open = Terms { server_takeover: true, client_takeover: true, ..Terms::default() };
    let small = Terms { server_bits: 9, client_bits: 10, ..open };
    assert_eq!(offer(open), "permessage-deflate; client_max_window_bits");
    assert_eq!(offer(Terms::default()), format!("{ALONE}; client_max_window_bits"));
    assert_eq!(
        offer(small),
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10"
    );
    let check = |terms: Terms, answer: &str| terms.check([answer.as_bytes()]);
    assert_eq!(check(open, ""), Ok(None));
    assert_eq!(check(open, "permessage-deflate"), Ok(Some(open)));
    assert_eq!(check(open, ALONE), Ok(Some(Terms::default())));
    let bits = "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8";
    let eight = Terms { server_bits: 9, client_bits: 8, ..open };
    assert_eq!(check(small, bits), Ok(Some(eight)));
    for (terms, answer) in [
        (open, "permessage-deflate, permessage-deflate"),
        (open, "x-other"),
        (open, "permessage-deflate; client_max_window_bits"),
        (open, "permessage-deflate; a=1"),
        (open, "permessage-deflate;;"),
        // Asked for, and not said.
        (Terms::default(), "permessage-deflate; client_no_context_takeover"),
        (small, "permessage-deflate"),
        (small, "permessage-deflate; server_max_window_bits=10"),
    ] {
        assert_eq!(check(terms, answer), Err(NotExtensions), "{answer}");
    }
}

proptest! {
    /// Whatever a server answers to what a client offers, the client takes; and both mean the same.
    #[test]
    fn both_sides_mean_the_same(
        client in (any::<bool>(), any::<bool>(), 9u8..=15, 9u8..=15),
        server in (any::<bool>(), any::<bool>(), 9u8..=15, 9u8..=15),
    ) {
        let terms = |(server_takeover, client_takeover, server_bits, client_bits)| {
            Terms { server_takeover, client_takeover, server_bits, client_bits }
        };
        let (client, server): (Terms, Terms) = (terms(client), terms(server));
        let (mut offer, mut answer) = (Vec::new(), Vec::new());
        client.offer(&mut offer);
        let there = server.accept([&offer[..]]).unwrap().unwrap();
        there.write(&mut answer);
        prop_assert_eq!(client.check([&answer[..]]), Ok(Some(there)));
    }
}
