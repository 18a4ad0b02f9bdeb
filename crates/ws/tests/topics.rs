//! Topics on real sockets: who gets what, in which form, in how many writes, and what becomes of
//! those that do not keep up.

mod support;

use loopwork_ws::core::Terms;
use loopwork_ws::core::deflate::Inflater;
use loopwork_ws::core::frame::Opcode;
use loopwork_ws::http::Http;
use loopwork_ws::tcp::listen;
use loopwork_ws::tcp::reactor::{Id, Instant, Loop, Os, Trace, Tracer};
use loopwork_ws::{Failure, Message, Prepared, Socket, Ws, publish, subscribers};
use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;
use support::*;

/// Does what a text says: `+a` subscribes to "a", `-a` ends that, `?a` answers how many there are,
/// `a=text` publishes to others, `*a=text` to all, `m` answers what was missed.
fn obey(socket: &mut Socket<'_>, on: On<'_>) {
    let On::Message(Message::Text(text)) = on else { return };
    let answer = match text.split_at(1) {
        ("+", topic) => format!("{} {}", socket.subscribe(topic), socket.is_subscribed(topic)),
        ("-", topic) => format!("{} {}", socket.unsubscribe(topic), socket.is_subscribed(topic)),
        ("?", topic) => subscribers(socket.env, topic).to_string(),
        ("m", _) => socket.missed().to_string(),
        ("*", rest) => {
            let (topic, text) = rest.split_once('=').expect("a topic");
            publish(socket.env, topic, text).to_string()
        }
        _ => {
            let (topic, text) = text.split_once('=').expect("a topic");
            socket.publish(topic, text).to_string()
        }
    };
    let _ = socket.send_text(&answer);
}

fn server(deflate: Option<Terms>, behind: usize, close: bool) -> Server {
    serve(move || {
        let (play, ends) = Play::new(obey);
        let mut ws = Ws::new(play);
        (ws.config.deflate, ws.config.behind, ws.config.close_behind) = (deflate, behind, close);
        (ws, ends)
    })
}

trait Says {
    /// Says something, and gives the answer.
    fn says(&mut self, text: &str) -> String;
    fn hears(&mut self) -> String;
}

impl Says for Peer {
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
        self.frame(Opcode::Text, text.as_bytes());
        self.hears()
    }

    #[track_caller]
    fn hears(&mut self) -> String {
        let (first, _, payload) = self.next();
        assert_eq!(first, 0x81);
        String::from_utf8(payload).expect("text")
    }
}

#[test]
fn subscribers_hear_and_others_do_not() {
    let server = server(None, 1 << 20, false);
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::upgraded(server.at)).collect();
    let [a, b, c] = &mut peers[..] else { unreachable!() };
    assert_eq!(a.says("?x"), "0");
    assert_eq!(a.says("*x=nobody"), "0");
    for peer in [&mut *a, &mut *b] {
        assert_eq!(peer.says("+x"), "true true");
        assert_eq!(peer.says("+x"), "false true");
    }
    assert_eq!(b.says("+y"), "true true");
    assert_eq!(c.says("?x"), "2");
    // From without, from within without oneself, and with.
    assert_eq!(c.says("x=one"), "2");
    assert_eq!((a.hears(), b.hears()), ("one".into(), "one".into()));
    assert_eq!(a.says("x=two"), "1");
    assert_eq!(b.hears(), "two");
    assert_eq!(a.says("*x=three"), "2");
    assert_eq!((a.hears(), b.hears()), ("three".into(), "three".into()));
    // Nobody but oneself.
    assert_eq!(b.says("y=four"), "0");
    assert_eq!(b.says("-x"), "true false");
    assert_eq!(b.says("-x"), "false false");
    assert_eq!(b.says("-z"), "false false");
    assert_eq!(c.says("x=five"), "1");
    assert_eq!(a.hears(), "five");
    // An answer, and no message before it.
    assert_eq!((b.says("?y"), a.says("?x")), ("1".into(), "1".into()));
}

#[test]
fn an_end_of_any_kind_ends_subscriptions() {
    let server = server(None, 1 << 20, false);
    let mut watcher = Peer::upgraded(server.at);
    for end in 0..3 {
        let mut peer = Peer::upgraded(server.at);
        for topic in ["+x", "+y", "+z"] {
            peer.says(topic);
        }
        assert_eq!(watcher.says("?y"), "1");
        match end {
            0 => peer.frame(Opcode::Close, &1000u16.to_be_bytes()),
            1 => peer.send(b"\xff\xff"),
            _ => {}
        }
        drop(peer);
        server.ends.next();
        for topic in ["?x", "?y", "?z"] {
            assert_eq!(watcher.says(topic), "0");
        }
    }
}

#[test]
fn what_was_published_before_one_left_still_comes() {
    let server = server(None, 1 << 20, false);
    let (mut a, mut b) = (Peer::upgraded(server.at), Peer::upgraded(server.at));
    a.says("+x");
    b.says("+x");
    // In one read: publishing, leaving, and publishing again.
    let say = |text: &str| masked(Opcode::Text, text.as_bytes());
    a.send(&[say("*x=old"), say("-x"), say("*x=new")].concat());
    let heard: Vec<String> = (0..4).map(|_| a.hears()).collect();
    assert_eq!(heard, ["2", "true false", "1", "old"]);
    assert_eq!((b.hears(), b.hears()), ("old".into(), "new".into()));
    assert_eq!(a.says("?x"), "1");
}

/// A subscriber to "x" that has offered this.
fn offering(server: &Server, offer: &str) -> Peer {
    let mut peer = Peer::connect(server.at);
    let end = format!("\r\nSec-WebSocket-Extensions: permessage-deflate{offer}\r\n\r\n");
    peer.send(REQUEST.replace("\r\n\r\n", &end).as_bytes());
    assert!(peer.head().contains("permessage-deflate"));
    peer.frame(Opcode::Text, b"+x");
    assert_eq!(peer.hears(), "true true");
    peer
}

#[test]
fn each_gets_the_form_that_it_has_agreed_to() {
    let takeover = Terms { server_takeover: true, ..Terms::default() };
    let server = server(Some(takeover), 1 << 20, false);
    let alone = "; server_no_context_takeover";
    let mut plain = Peer::upgraded(server.at);
    plain.says("+x");
    let mut whole = offering(&server, alone);
    let mut other = offering(&server, alone);
    let mut small = offering(&server, &format!("{alone}; server_max_window_bits=9"));
    let mut least = offering(&server, &format!("{alone}; server_max_window_bits=8"));
    let mut keeps = offering(&server, "");
    let mut window = Inflater::new();
    let short = "to and fro ".repeat(20);
    let texts = [&short, &short, "short", &"far and wide, ".repeat(90), &short];
    for (n, text) in texts.into_iter().enumerate() {
        plain.frame(Opcode::Text, format!("*x={text}").as_bytes());
        let told = plain.hears();
        assert_eq!((told.as_str(), plain.hears().as_str()), ("6", text));
        let frame = whole.next();
        assert_eq!(other.next(), frame);
        if text == "short" {
            assert_eq!(frame, (0x81, false, b"short".to_vec()));
        } else {
            let inflated = Inflater::new().message(&frame.2, 1 << 20, false).map(|b| b.to_vec());
            assert_eq!((frame.0, inflated.as_deref()), (0xc1, Ok(text.as_bytes())));
        }
        // What reaches back less than a window of 512 bytes is the same for the small one.
        let in_nine = small.next();
        assert!(in_nine.0 == frame.0 && (text.len() > 512 || in_nine == frame));
        let inflated = Inflater::new().message(&in_nine.2, 1 << 20, false).map(|b| b.to_vec());
        assert!(text == "short" || inflated.as_deref() == Ok(text.as_bytes()));
        // Nothing is compressed in a window of 256 bytes, but what fits it.
        let (first, _, payload) = least.next();
        assert!(if text.len() > 256 { payload == text.as_bytes() } else { first == frame.0 });
        // A window that goes on has made each frame itself, and sees the second as the first.
        let (first, _, payload) = keeps.next();
        if first == 0xc1 {
            let inflated = window.message(&payload, 1 << 20, true).map(|b| b.to_vec());
            assert_eq!(inflated.as_deref(), Ok(text.as_bytes()));
        }
        assert!(n != 1 || payload.len() < frame.2.len());
    }
}

/// Counts writes by connection.
#[derive(Default)]
struct Writes(BTreeMap<Id, usize>);

impl Tracer for Writes {
    fn note(&mut self, _: Instant, id: Id, what: Trace) {
        if matches!(what, Trace::Wrote(_)) {
            *self.0.entry(id).or_default() += 1;
        }
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[test]
fn what_is_published_in_a_turn_is_one_write_a_subscriber() {
    const PEERS: usize = 20;
    let (play, _ends) = Play::new(|socket, on| {
        if matches!(on, On::Open) {
            assert!(socket.subscribe("x"));
        }
    });
    let mut lp = Loop::new(Os::new().unwrap());
    let here = "127.0.0.1:0".parse().unwrap();
    let (_, at) = listen(&mut lp, here, Http::with_upgrade(Site, Ws::new(play))).unwrap();
    let asking = std::thread::spawn(move || -> Vec<Peer> {
        (0..PEERS).map(|_| Peer::upgraded(at)).collect()
    });
    while subscribers(&mut lp.env, "x") < PEERS || !asking.is_finished() {
        lp.turn(Some(Duration::from_millis(5))).unwrap();
    }
    let mut peers = asking.join().unwrap();
    lp.trace(Some(Box::new(Writes::default())));
    for n in 0..50 {
        assert_eq!(publish(&mut lp.env, "x", &*n.to_string()), PEERS);
    }
    lp.turn(Some(Duration::ZERO)).unwrap();
    let writes = lp.trace(None).unwrap().into_any().downcast::<Writes>().unwrap();
    assert_eq!(writes.0.into_values().collect::<Vec<_>>(), [1; PEERS]);
    for peer in &mut peers {
        for n in 0..50 {
            assert_eq!(peer.hears(), n.to_string());
        }
    }
}

/// Publishes texts of 64 KiB while one subscriber reads nothing, until it has missed some, and
/// gives the two and how many texts they were.
fn publish_to_a_sleeper(server: &Server) -> (Peer, Peer, usize) {
    /// More than any kernel holds for a socket.
    const MOST: usize = 20_000;
    let mut sleeper = Peer::upgraded(server.at);
    let (mut awake, mut speaker) = (Peer::upgraded(server.at), Peer::upgraded(server.at));
    sleeper.says("+x");
    awake.says("+x");
    let (text, mut missed) = ("a".repeat(1 << 16), 0);
    for n in 0..MOST {
        missed += usize::from(speaker.says(&format!("x={n:05} {text}")) == "1");
        assert!(awake.hears().starts_with(&format!("{n:05} ")), "nobody else is delayed");
        if missed == 5 {
            return (sleeper, awake, n + 1);
        }
    }
    panic!("there is no limit");
}

#[test]
fn a_slow_subscriber_misses_messages() {
    let server = server(None, 1 << 18, false);
    let (mut sleeper, _awake, all) = publish_to_a_sleeper(&server);
    sleeper.frame(Opcode::Text, b"m");
    let (mut heard, mut last, mut missed) = (0, None, None);
    while missed.is_none_or(|missed: usize| heard + missed < all) {
        let text = sleeper.hears();
        match text.split_once(' ') {
            Some((n, _)) => {
                assert!(last < Some(n.to_owned()), "in order");
                (heard, last) = (heard + 1, Some(n.to_owned()));
            }
            None => missed = text.parse().ok(),
        }
    }
    assert_eq!((heard + 5, missed), (all, Some(5)));
    assert_eq!(sleeper.says("?x"), "2");
}

#[test]
fn a_slow_subscriber_is_closed_where_that_is_asked_for() {
    let server = server(None, 1 << 18, true);
    let (mut sleeper, _awake, _) = publish_to_a_sleeper(&server);
    loop {
        let (first, _, payload) = sleeper.next();
        if first == 0x88 {
            assert_eq!(payload, close_bytes(1013, "too slow")[2..]);
            break;
        }
    }
    sleeper.frame(Opcode::Close, &1013u16.to_be_bytes());
    assert_eq!(sleeper.rest(), b"");
    drop(sleeper);
    while server.ends.next().failure != Some(Failure::Behind) {}
}

#[test]
fn a_message_is_prepared_once() {
    let message = Prepared::from("text");
    assert_eq!(message.payload(), b"text");
    assert_eq!(message.clone().payload().as_ptr(), message.payload().as_ptr());
    let server = serve(|| {
        let prepared = Prepared::from(&[7u8; 5000][..]);
        let (play, ends) = Play::new(move |socket, on| {
            if matches!(on, On::Open) {
                let _ = socket.send_prepared(&prepared);
            }
        });
        (Ws::new(play), ends)
    });
    for _ in 0..2 {
        let mut peer = Peer::upgraded(server.at);
        assert_eq!(peer.next(), (0x82, false, vec![7; 5000]));
    }
}
