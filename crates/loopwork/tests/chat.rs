//! The example `chat`, in the simulated world, with members that are clients of ours.

use loopwork::sim::{Faults, Sim};
use loopwork::ws::{App, CloseCode, End, Message, Open, Socket, Ws, dial};
use loopwork::{Env, Handle, Id, Loop, tcp};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

#[path = "../examples/chat.rs"]
#[allow(dead_code, reason = "of the example all but its `main` is used")]
mod chat;

/// What members saw: who, and a line.
type Log = Arc<Mutex<Vec<(usize, String)>>>;

/// Members: each joins, says what it has to say when another has joined, and leaves when it has
/// seen so many lines.
struct Members {
    log: Log,
}

struct Member {
    number: usize,
    says: &'static str,
    lines: usize,
}

impl App for Members {
    type Conn = Member;

    fn on_message(&mut self, member: &mut Member, socket: &mut Socket<'_>, message: Message<'_>) {
        let Message::Text(text) = message else { panic!("bytes") };
        self.log.lock().unwrap().push((member.number, text.to_owned()));
        if text == "guest 2 is here" {
            let _ = socket.send_text(member.says);
        }
        member.lines -= 1;
        if member.lines == 0 {
            socket.close(CloseCode::NORMAL, "");
        }
    }

    fn on_close(&mut self, member: Member, _: Id, _: &mut Env, end: &End<'_>) {
        assert!(end.clean, "{end:?}");
        self.log.lock().unwrap().push((member.number, "closed".to_owned()));
    }
}

fn join(lp: &mut Loop<Sim>, ws: Handle<tcp::Host<Ws<Members>>>, at: SocketAddr, member: Member) {
    let target = "/rooms/1";
    let open = Open { host: "here", target, protocols: &[], headers: &[], deflate: None };
    dial(&mut lp.env, ws, at, &open, member).unwrap();
}

/// Turns until a member has seen this.
fn until(lp: &mut Loop<Sim>, log: &Log, seen: (usize, &str)) {
    for _ in 0..100_000 {
        if log.lock().unwrap().iter().any(|(who, line)| (*who, &**line) == seen) {
            return;
        }
        lp.turn(None).unwrap();
    }
    panic!("{seen:?} is not in {:?}", log.lock().unwrap());
}

#[test]
fn members_see_what_is_said() {
    for seed in 0..50 {
        let mut lp = Loop::new(Sim::with_faults(seed, Faults::rough()));
        let here = "127.0.0.1:80".parse().unwrap();
        let (server, at) = tcp::listen(&mut lp, here, chat::chat()).unwrap();
        let log = Log::default();
        let ws = tcp::add(&mut lp, |_| Ws::new(Members { log: log.clone() }));
        join(&mut lp, ws, at, Member { number: 1, says: "hello", lines: 4 });
        until(&mut lp, &log, (1, "guest 1 is here"));
        join(&mut lp, ws, at, Member { number: 2, says: "good day", lines: 4 });
        until(&mut lp, &log, (1, "closed"));
        until(&mut lp, &log, (2, "closed"));
        tcp::unlisten(&mut lp.env, server);
        lp.run().unwrap();
        // Who of the two speaks first is the world's choice.
        let seen = |who: usize| -> BTreeSet<String> {
            let log = log.lock().unwrap();
            log.iter().filter(|(n, _)| *n == who).map(|(_, line)| line.clone()).collect()
        };
        let with = |line: &str| -> BTreeSet<String> {
            let both = ["guest 1: hello", "guest 2 is here", "guest 2: good day", "closed", line];
            both.map(str::to_owned).into()
        };
        assert_eq!(seen(1), with("guest 1 is here"));
        assert_eq!(seen(2), with("guest 1 has left"));
    }
}
