//! Every wait of the server in a simulated world, where time is exact: who is too late is told so
//! at its deadline, within 50 ms, and who is only stopped by us, or slow enough, is not.

mod peer;

use loopwork_http::core::Request;
use loopwork_http::tcp::reactor::{Env, Id, Instant, Loop};
use loopwork_http::tcp::{self, Close, Io, Protocol, listen, shutdown};
use loopwork_http::{Http, Late, NoUpgrade, Offer, Upgrade};
use loopwork_sim::{Faults, Sim};
use peer::{Log, Site};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How exact a deadline is.
const EXACT: Duration = Duration::from_millis(50);

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What a connection saw.
#[derive(Default, Debug)]
struct Seen {
    text: Vec<u8>,
    /// When the first byte came, and the server's end.
    first: Option<Duration>,
    ended: Option<Duration>,
    closed: Option<(Duration, Close)>,
}

/// Sends its script, so long after the beginning each (nothing is its end), and reads as fast as
/// `pace` says: so many bytes a second.
struct Script {
    steps: Vec<(Duration, Vec<u8>)>,
    pace: Option<usize>,
    next: usize,
    began: Instant,
    /// Bytes that may be read before the next second.
    room: usize,
}

struct Peers(Rc<RefCell<Seen>>);

impl Peers {
    fn step(conn: &mut Script, io: &mut Io<'_>) {
        let since = io.env.now.since(conn.began);
        while let Some((at, bytes)) = conn.steps.get(conn.next) {
            if *at > since {
                let id = io.id;
                io.env.after(*at - since, move |env| env.wake(id));
                break;
            }
            let _ = io.write(bytes);
            if bytes.is_empty() {
                io.end();
            }
            conn.next += 1;
        }
    }
}

impl Protocol for Peers {
    type Conn = Script;

    fn on_open(&mut self, conn: &mut Script, io: &mut Io<'_>) {
        conn.began = io.env.now;
        if let Some(pace) = conn.pace {
            conn.room = pace;
            io.set_deadline(Some(io.env.now.after(secs(1))));
        }
        Peers::step(conn, io);
    }

    fn on_wake(&mut self, conn: &mut Script, io: &mut Io<'_>) {
        Peers::step(conn, io);
    }

    fn on_data(&mut self, conn: &mut Script, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let n = if conn.pace.is_some() { bytes.len().min(conn.room) } else { bytes.len() };
        conn.room -= n.min(conn.room);
        if n < bytes.len() {
            io.pause();
        }
        let mut seen = self.0.borrow_mut();
        seen.first.get_or_insert(io.env.now.since(conn.began));
        seen.text.extend_from_slice(&bytes[..n]);
        n
    }

    fn on_timeout(&mut self, conn: &mut Script, io: &mut Io<'_>) {
        conn.room = conn.pace.unwrap_or(0);
        io.resume();
        io.set_deadline(Some(io.env.now.after(secs(1))));
    }

    fn on_end(&mut self, conn: &mut Script, io: &mut Io<'_>) {
        self.0.borrow_mut().ended = Some(io.env.now.since(conn.began));
        // Who has more to say goes on.
        if conn.next == conn.steps.len() {
            io.end();
        }
    }

    fn on_close(&mut self, conn: Script, _: Id, env: &mut Env, why: Close) {
        self.0.borrow_mut().closed = Some((env.now.since(conn.began), why));
    }
}

type Steps = Vec<(Duration, Vec<u8>)>;

/// One connection with a server that `set` sets up; what both saw.
fn run(set: impl Fn(&mut Http<Site>), steps: Steps, pace: Option<usize>) -> (Seen, Log) {
    run_with(NoUpgrade, set, steps, pace)
}

fn run_with<U: Upgrade>(
    next: U,
    set: impl Fn(&mut Http<Site, U>),
    steps: Steps,
    pace: Option<usize>,
) -> (Seen, Log) {
    let faults = Faults { window: 4096..=4096, ..Faults::none() };
    let mut lp = Loop::new(Sim::with_faults(1, faults));
    let log = Arc::<Mutex<Log>>::default();
    let mut http = Http::with_upgrade(Site { log: log.clone() }, next);
    set(&mut http);
    let at = "127.0.0.1:80".parse().unwrap();
    let (server, _) = listen(&mut lp, at, http).unwrap();
    let seen = Rc::<RefCell<Seen>>::default();
    let peers = tcp::add(&mut lp, |_| Peers(seen.clone()));
    let (began, next, room) = (Instant::default(), 0, 0);
    tcp::dial(&mut lp.env, peers, at, Script { steps, pace, next, began, room });
    for _ in 0..1_000_000 {
        lp.turn(None).unwrap();
        if seen.borrow().closed.is_some() {
            break;
        }
    }
    shutdown(&mut lp.env, server);
    loopwork_sim::run_to_rest(&mut lp, 10_000).unwrap();
    assert_eq!(lp.world.open(), 0, "sockets are left");
    let seen = std::mem::take(&mut *seen.borrow_mut());
    let log = std::mem::take(&mut *log.lock().unwrap());
    assert!(seen.closed.is_some(), "it goes on: {log:?}");
    (seen, log)
}

/// It was so long after the beginning, and not before.
#[track_caller]
fn at(when: Option<Duration>, expected: Duration) {
    let when = when.expect("it has not come");
    assert!(when >= expected && when < expected + EXACT, "{when:?}, not {expected:?}");
}

fn text(seen: &Seen) -> &str {
    std::str::from_utf8(&seen.text).unwrap()
}

const HEAD: &str = "PUT /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";

/// `bytes` every `every`, `count` times, from `from` on.
fn drip(from: Duration, every: Duration, bytes: &[u8], count: u32) -> Steps {
    (0..count).map(|n| (from + every * n, bytes.to_vec())).collect()
}

#[test]
fn an_idle_connection_ends_at_its_time() {
    let (seen, log) = run(|_| {}, vec![], None);
    at(seen.ended, secs(60));
    assert_eq!((text(&seen), log.late), ("", vec![]));
    let get = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let (seen, log) = run(|_| {}, vec![(secs(50), get.clone()), (secs(70), get)], None);
    at(seen.ended, secs(130));
    assert_eq!((text(&seen).matches("200 OK").count(), log.late), (2, vec![]));
}

#[test]
fn a_head_that_drips_is_answered_at_its_time() {
    let steps = drip(secs(3), secs(1), b"GET /hello HTTP/1.1\r\nX: ", 1);
    let more = drip(secs(4), secs(1), b"y", 100);
    let (seen, log) = run(|_| {}, [steps, more].concat(), None);
    at(seen.first, secs(13));
    assert!(text(&seen).starts_with("HTTP/1.1 408 "), "{}", text(&seen));
    assert!(text(&seen).contains("Connection: close\r\n"));
    assert_eq!((log.late, log.begun.len()), (vec![Late::Head], 0));
    // The empty line that may come before a request is a beginning, too.
    let (seen, _) = run(|_| {}, vec![(secs(1), b"\r\n".to_vec())], None);
    at(seen.first, secs(11));
}

#[test]
fn the_second_head_has_as_much_time() {
    let both = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /hel".to_vec();
    let (seen, log) = run(|_| {}, vec![(secs(7), both)], None);
    at(seen.ended, secs(17));
    assert!(text(&seen).contains("HTTP/1.1 408 "), "{}", text(&seen));
    assert_eq!((log.late, log.begun.len()), (vec![Late::Head], 1));
}

#[test]
fn each_head_has_its_own_time() {
    let halves = ["GET /hello HTTP/1.1\r\nHo", "st: a\r\n\r\n"];
    let steps = (0..8).map(|n| (secs(1 + 8 * n), halves[n as usize % 2].into())).collect();
    let (seen, log) = run(|_| {}, steps, None);
    at(seen.ended, secs(57 + 60));
    assert_eq!((log.late, log.begun.len()), (vec![], 4));
}

#[test]
fn an_answer_that_takes_longer_than_an_idle_connection_is_awaited() {
    let get = b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let set = |http: &mut Http<Site>| http.config.keep_alive = Duration::from_millis(30);
    let (seen, _) = run(set, vec![(secs(0), get.repeat(2))], None);
    assert_eq!(text(&seen).matches("at last").count(), 2);
    at(seen.ended, Duration::from_millis(130));
}

/// Has nothing to say.
struct Silent;

impl Protocol for Silent {
    type Conn = ();
    fn on_data(&mut self, _: &mut (), _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        bytes.len()
    }
}

impl Upgrade for Silent {
    fn offer(&mut self, _: &Request<'_>, io: &mut Io<'_>) -> Offer<()> {
        let _ = io.write(b"HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        Offer::Accept(())
    }
}

#[test]
fn what_follows_an_upgrade_has_its_own_time() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_vec();
    let steps = vec![(secs(1), get), (secs(1000), vec![])];
    let (seen, log) = run_with(Silent, |_| {}, steps, None);
    at(seen.ended, secs(1000));
    assert!(text(&seen).starts_with("HTTP/1.1 101 "), "{}", text(&seen));
    assert_eq!((log.late, seen.closed.unwrap().1), (vec![], Close::Finished));
}

#[test]
fn a_body_that_drips_is_answered_when_its_window_ends() {
    // 200 bytes a second are too few, and so is a body that stops.
    for drops in [drip(secs(1), secs(1), &[b'x'; 200], 90), vec![]] {
        let steps = [vec![(secs(1), HEAD.into())], drops].concat();
        let (seen, log) = run(|_| {}, steps, None);
        at(seen.first, secs(11));
        assert!(text(&seen).starts_with("HTTP/1.1 408 "), "{}", text(&seen));
        assert_eq!(log.late, [Late::Upload]);
        assert_eq!(log.done, [("/sum".to_owned(), Some(Close::Aborted))]);
    }
}

#[test]
fn a_body_that_is_fast_enough_has_its_whole_time() {
    // 300 bytes a second, in bursts: 100,000 of them would take longer than there is.
    let drops = drip(secs(1), secs(4), &[b'x'; 1200], 90);
    let steps = [vec![(secs(1), HEAD.into())], drops].concat();
    let (seen, log) = run(|_| {}, steps.clone(), None);
    at(seen.first, secs(301));
    assert_eq!(log.late, [Late::Body]);
    // Without a rate only the whole counts.
    let few = drip(secs(1), secs(20), b"x", 30);
    let steps = [vec![(secs(1), HEAD.into())], few].concat();
    let (seen, log) = run(|http| http.config.upload_rate = 0, steps, None);
    at(seen.first, secs(301));
    assert_eq!(log.late, [Late::Body]);
}

#[test]
fn who_is_not_read_is_not_slow() {
    // The application does not take it: nobody else is to blame.
    let expect =
        "PUT /deaf HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    for head in [expect, "PUT /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"] {
        let (seen, log) = run(|_| {}, vec![(secs(0), head.into())], None);
        at(seen.first, secs(300));
        assert_eq!(log.late, [Late::Body]);
    }
    // An echo whose reader is slow is not read as fast as it sends.
    let put = format!("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{:060000}", 0);
    let (seen, log) = run(|_| {}, vec![(secs(0), put.into())], Some(3_000));
    assert_eq!((log.late, log.done), (vec![], vec![("/echo".to_owned(), None)]));
    assert!(text(&seen).ends_with("0\r\n\r\n"));
}

#[test]
fn who_reads_too_slowly_is_cut_off() {
    let get =
        |path: &str| vec![(secs(0), format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into())];
    for path in ["/sized?10000000", "/big?10000000", "/blob?10000000"] {
        for pace in [0, 100] {
            let (seen, log) = run(|_| {}, get(path), Some(pace));
            let (when, why) = seen.closed.unwrap();
            assert_eq!((log.late, why), (vec![Late::Download], Close::Reset), "{path} {pace}");
            // The window of the first bytes, and then at most one more.
            assert!(when >= secs(30) && when < secs(61) + EXACT, "{path} {pace}: {when:?}");
        }
    }
    // Fast enough is fast enough, also in the last response and in one that is given at once.
    for path in ["/sized?100000", "/big?100000", "/blob?100000"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let (seen, log) = run(|_| {}, vec![(secs(0), head.into())], Some(400));
        let count = seen.text.iter().filter(|b| **b == b'x').count();
        assert_eq!((count, log.late, seen.closed.unwrap().1), (100_000, vec![], Close::Finished));
    }
    // And one byte now and then is, where nobody asks for more.
    let (seen, log) = run(|_| {}, get("/sized?150000"), Some(400));
    assert_eq!((log.late, log.done), (vec![], vec![("/sized".to_owned(), None)]));
    assert!(seen.ended.unwrap() > secs(300));
    let (_, log) = run(|http| http.config.download_rate = 0, get("/sized?100000"), Some(200));
    assert_eq!(log.late, []);
}

#[test]
fn a_last_answer_is_not_waited_for_without_end() {
    let last = b"GET /blob?150000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec();
    // What the kernels do not hold is taken too slowly, all of it behind the last response's end.
    let set = |http: &mut Http<Site>| http.config.download_rate = 1000;
    let (seen, log) = run(set, vec![(secs(0), last.clone())], Some(100));
    let (when, why) = seen.closed.unwrap();
    assert_eq!((why, log.late), (Close::Reset, vec![]));
    assert!(when >= secs(30) && when < secs(61) + EXACT, "{when:?}");
    // Who has all of it, and drips on, is heard for five seconds.
    let drops = drip(secs(1), secs(1), b"x", 100);
    let (seen, log) = run(|_| {}, [vec![(secs(0), last)], drops].concat(), None);
    let (when, _) = seen.closed.unwrap();
    assert!(when >= secs(5) && when < secs(7) && log.late.is_empty(), "{when:?}");
}

#[test]
fn a_window_in_which_there_was_nothing_to_read_accuses_nobody() {
    // The answer comes just before the first window ends: little of it is taken by then.
    let get = b"GET /much-later?29990 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec();
    let get_and_stay = b"GET /much-later?29990 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    // More than the kernels hold.
    let set = |http: &mut Http<Site>| http.config.download_rate = 1000;
    for request in [get, get_and_stay] {
        let (seen, log) = run(set, vec![(secs(0), request)], Some(3_000));
        assert_eq!((log.late, log.done), (vec![], vec![("/much-later".to_owned(), None)]));
        assert!(seen.text.ends_with(&[b'x'; 100_000]));
    }
}

#[test]
fn an_answer_that_is_not_there_yet_is_awaited() {
    let steps = vec![(secs(0), b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n".to_vec())];
    // The peer does not wait for ever, the server does: nobody is to blame but the application.
    let ended = [steps, vec![(secs(500), b"\r\n".to_vec())]].concat();
    let log = {
        let mut lp = Loop::new(Sim::with_faults(1, Faults::none()));
        let log = Arc::<Mutex<Log>>::default();
        let at = "127.0.0.1:80".parse().unwrap();
        listen(&mut lp, at, Http::new(Site { log: log.clone() })).unwrap();
        let peers = tcp::add(&mut lp, |_| Peers(Rc::default()));
        let (began, next, room, pace) = (Instant::default(), 0, 0, None);
        tcp::dial(&mut lp.env, peers, at, Script { steps: ended, pace, next, began, room });
        let end = lp.env.now.after(secs(600));
        while lp.env.now < end {
            lp.turn(None).unwrap();
        }
        std::mem::take(&mut *log.lock().unwrap())
    };
    assert_eq!((log.begun.len(), log.late.len(), log.done.len()), (1, 0, 0));
}

#[test]
fn a_proxy_that_is_silent_is_cut_off() {
    let all = |http: &mut Http<Site>| {
        http.config.proxies.add("127.0.0.1".parse().unwrap());
    };
    for script in [vec![], vec![(secs(4), b"PROXY TCP4 1.2.3.4 ".to_vec())]] {
        let (seen, log) = run(all, script, None);
        let (when, why) = seen.closed.unwrap();
        at(Some(when), secs(10));
        assert_eq!((why, log.late), (Close::Reset, vec![Late::Head]));
    }
    // Behind it the time of an idle connection begins.
    let (seen, log) = run(all, vec![(secs(4), b"PROXY UNKNOWN\r\n".to_vec())], None);
    at(seen.ended, secs(64));
    assert_eq!(log.late, []);
}
