//! The client's connections: how many, which one next, how long they are kept, and what happens
//! when there are not enough of them, or an exchange takes too long.

mod asker;
mod hand;
mod peer;

use asker::{Asker, Job, ask, finish, until};
use hand::{Bench, Hand, always, hand};
use loopwork_http::client::Failure;
use loopwork_http::tcp::reactor::{Handle, Loop, Os};
use loopwork_sim::SplitMix;
use peer::{PATIENCE, Peer};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Answers each request with the number of its connection. None of the first `most` connections is
/// answered before all of them are there.
fn numbered(most: usize) -> Hand {
    let all = Barrier::new(most);
    hand(move |n, mut peer| {
        let mut first = n < most;
        while peer.heard() {
            if std::mem::take(&mut first) {
                all.wait();
            }
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}"));
        }
    })
}

/// Jobs that begin in one turn; what they were answered.
fn at_once(bench: &mut Bench, count: usize) -> Vec<String> {
    let jobs: Vec<usize> = (0..count).map(|_| bench.begin(Job::get("/"))).collect();
    finish(&mut bench.lp, bench.asker);
    jobs.into_iter().map(|n| bench.job(n).text().1.to_owned()).collect()
}

#[test]
fn the_last_free_connection_is_used_next_or_the_one_that_was_free_for_longest() {
    for oldest_first in [false, true] {
        let hand = numbered(3);
        let mut bench = Bench::new(hand.at, |c| c.oldest_first = oldest_first);
        let mut all = at_once(&mut bench, 3);
        all.sort();
        assert_eq!(all, ["0", "1", "2"]);
        let next: Vec<String> = (0..6).map(|_| at_once(&mut bench, 1).remove(0)).collect();
        if oldest_first {
            let mut first = next[..3].to_vec();
            first.sort();
            assert_eq!((first, &next[..3]), (all, &next[3..]), "each in its turn");
        } else {
            assert!(next.iter().all(|n| *n == next[0]), "{next:?}");
        }
    }
}

/// Counts connections that are open, as its server sees them.
fn gauge(open: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>) -> Hand {
    let (open, most) = (open.clone(), most.clone());
    hand(move |_, mut peer| {
        most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
        while peer.heard() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
        open.fetch_sub(1, SeqCst);
    })
}

#[test]
fn so_many_free_connections_are_kept() {
    let (open, all) = (Arc::<AtomicUsize>::default(), Barrier::new(7));
    let o = open.clone();
    let hand = hand(move |_, mut peer| {
        o.fetch_add(1, SeqCst);
        if peer.heard() {
            all.wait();
            peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
        while peer.heard() {
            peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
        o.fetch_sub(1, SeqCst);
    });
    let mut bench = Bench::new(hand.at, |c| {
        (c.free_per_address, c.keep) = (2, Duration::from_secs(60));
    });
    at_once(&mut bench, 7);
    until(&mut bench.lp, "five are closed", |_| open.load(SeqCst) == 2);
    at_once(&mut bench, 1);
    at_once(&mut bench, 1);
    assert_eq!(hand.accepted.load(SeqCst), 7, "those that were kept serve");
}

#[test]
fn what_is_free_ends_on_request_and_what_is_not_behind_its_exchange() {
    let (open, most) = (Arc::default(), Arc::default());
    let hand = gauge(&open, &most);
    let mut bench = Bench::new(hand.at, |c| c.keep = Duration::from_secs(3600));
    at_once(&mut bench, 3);
    assert_eq!(open.load(SeqCst), 3);
    let client = bench.lp.get(bench.asker).client;
    client.close(&mut bench.lp.env);
    until(&mut bench.lp, "all are closed", |_| open.load(SeqCst) == 0);
    assert_eq!(at_once(&mut bench, 2), ["hi", "hi"]);
    until(&mut bench.lp, "all are closed", |_| open.load(SeqCst) == 0);
}

#[test]
fn all_addresses_share_the_places() {
    let (open, most) = (Arc::default(), Arc::<AtomicUsize>::default());
    let hands = [gauge(&open, &most), gauge(&open, &most), gauge(&open, &most)];
    let mut bench = Bench::new(hands[0].at.clone(), |c| {
        (c.connections, c.keep) = (2, Duration::from_secs(60));
    });
    for round in 0..10 {
        let jobs: Vec<usize> = (0..30)
            .map(|n| ask(&mut bench.lp, bench.asker, &hands[(n + round) % 3].at, Job::get("/")))
            .collect();
        finish(&mut bench.lp, bench.asker);
        for n in jobs {
            assert_eq!(bench.job(n).text(), (200, "hi"));
        }
    }
    // One that ends may still be on its way out in its thread, and there are three of those.
    assert!(most.load(SeqCst) <= 5, "{}", most.load(SeqCst));
    assert!(hands.iter().all(|hand| hand.accepted.load(SeqCst) > 0));
}

#[test]
fn a_free_connection_elsewhere_makes_place() {
    let hands = [numbered(3), numbered(1)];
    let mut bench = Bench::new(hands[0].at.clone(), |c| {
        (c.connections, c.keep) = (3, Duration::from_secs(60));
    });
    at_once(&mut bench, 3);
    // All places are taken by connections that nobody needs.
    let n = ask(&mut bench.lp, bench.asker, &hands[1].at, Job::get("/"));
    finish(&mut bench.lp, bench.asker);
    assert_eq!(bench.job(n).text(), (200, "0"));
    assert_eq!(hands[0].accepted.load(SeqCst), 3);
    // The other two are there still.
    at_once(&mut bench, 2);
    assert_eq!(hands[0].accepted.load(SeqCst), 3);
}

#[test]
fn nobody_waits_for_a_place_as_long_as_others_ask() {
    let slow = hand(|_, mut peer| {
        while peer.heard() {
            std::thread::sleep(Duration::from_millis(2));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    });
    let other = numbered(1);
    let mut bench = Bench::new(slow.at, |c| c.connections = 2);
    let all: Vec<usize> = (0..500).map(|_| bench.begin(Job::get("/"))).collect();
    let one = ask(&mut bench.lp, bench.asker, &other.at, Job::get("/"));
    until(&mut bench.lp, "the other", |lp| lp.get(bench.asker).jobs[one].outcome.is_some());
    assert_eq!(bench.job(one).text(), (200, "0"));
    let left = all.iter().filter(|n| bench.job(**n).outcome.is_none()).count();
    assert!(left > 0, "it was asked when nobody else wanted anything");
    finish(&mut bench.lp, bench.asker);
}

#[test]
fn a_server_says_how_long_it_keeps_a_connection() {
    let hinted = |hint: &'static str| {
        hand(move |_, mut peer| {
            let head = format!("HTTP/1.1 200 OK\r\nKeep-Alive: {hint}\r\nContent-Length: 2");
            while peer.heard() {
                peer.send(format!("{head}\r\n\r\nhi"));
            }
        })
    };
    // A second of what it says is never used.
    for (hint, connections) in
        [("timeout=0", 3), ("timeout=1", 3), ("max=5, timeout=1", 3), ("timeout=60", 1)]
    {
        let hand = hinted(hint);
        let mut bench = Bench::new(hand.at, |_| {});
        for _ in 0..3 {
            assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"));
        }
        assert_eq!(hand.accepted.load(SeqCst), connections, "{hint}");
    }
    let (tell, told) = mpsc::channel();
    let hand = hand(move |_, mut peer| {
        assert!(peer.heard());
        peer.send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n");
        tell.send((Instant::now(), peer.cut())).unwrap();
    });
    let mut bench = Bench::new(hand.at, |c| c.keep = Duration::from_secs(3600));
    bench.run(Job::get("/"));
    let mut seen = None;
    until(&mut bench.lp, "closed a second before its server's time", |_| {
        seen = told.try_recv().ok();
        seen.is_some()
    });
    let (answered, end) = seen.unwrap();
    assert_eq!(end, Ok(Vec::new()));
    assert!(answered.elapsed() >= Duration::from_millis(900), "{:?}", answered.elapsed());
}

#[test]
fn a_loop_does_not_run_for_free_connections() {
    let hand = numbered(3);
    let mut bench = Bench::new(hand.at, |c| c.keep = PATIENCE);
    at_once(&mut bench, 3);
    let begun = Instant::now();
    bench.lp.run().unwrap();
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    // They are there still, for who goes on.
    at_once(&mut bench, 3);
    assert_eq!(hand.accepted.load(SeqCst), 3);
}

#[test]
fn so_many_may_wait() {
    let hand = always(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let mut bench = Bench::new(hand.at, |c| (c.per_address, c.waiting) = (1, 3));
    let jobs: Vec<usize> = (0..5).map(|_| bench.begin(Job::get("/"))).collect();
    finish(&mut bench.lp, bench.asker);
    for (n, job) in jobs.into_iter().enumerate() {
        match n {
            0..3 => assert_eq!(bench.job(job).text(), (200, "hi")),
            _ => assert_eq!(bench.job(job).failure(), Failure::Crowded),
        }
    }
    assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"), "there is room again");
}

/// Sends `first`, then a byte now and then, until the connection is gone.
fn drip(first: &'static str) -> Hand {
    hand(move |_, mut peer| {
        if peer.heard() {
            peer.send(first);
            while peer.push(b"x") {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    })
}

#[test]
fn a_head_that_drips_is_late() {
    let slow = drip("HTTP/1.1 200 OK\r\nX-Long: ");
    let mut bench = Bench::new(slow.at, |c| c.head = Some(Duration::from_secs(1)));
    assert_eq!(bench.run(Job::get("/")).failure(), Failure::HeadTimedOut);
    // A body may take longer.
    let slow = hand(|_, mut peer| {
        peer.heard();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh");
        std::thread::sleep(Duration::from_millis(1500));
        peer.send("i");
    });
    bench.to = slow.at;
    assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"));
}

#[test]
fn what_is_waited_for_is_over_with_the_head() {
    // The answer comes instead of `100 Continue`, and its body long after the wait for that.
    let slow = hand(|_, mut peer| {
        peer.heard();
        peer.send("HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\n");
        std::thread::sleep(Duration::from_millis(1500));
        peer.send("no");
    });
    let mut bench = Bench::new(slow.at, |c| c.expect = Duration::from_secs(1));
    let headers = vec![("Expect".to_owned(), "100-continue".to_owned())];
    let job = Job { headers, ..Job::put("/", vec![b'u'; 1000], false) };
    assert_eq!(bench.run(job).text(), (417, "no"));
}

#[test]
fn an_upload_takes_its_time_before_the_head_is_late() {
    let slow = hand(|_, mut peer| {
        peer.until(b"\r\n\r\n");
        std::thread::sleep(Duration::from_millis(2500));
        let (mut left, mut piece) = (30_000_000, vec![0; 65536]);
        while left > 0 {
            left -= peer.read(&mut piece);
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    });
    let mut bench = Bench::new(slow.at, |c| c.head = Some(Duration::from_secs(2)));
    let job = Job::put("/", vec![b'u'; 30_000_000], false);
    assert_eq!(bench.run(job).text(), (200, "hi"));
}

#[test]
fn an_exchange_that_takes_too_long_ends_wherever_it_is() {
    let time = Duration::from_millis(200);
    let slow = drip("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    let mut bench = Bench::new(slow.at, |c| (c.exchange, c.per_address) = (Some(time), 1));
    // The second waits for the first one's connection, and neither is asked twice.
    let jobs = [bench.begin(Job::get("/")), bench.begin(Job::get("/"))];
    finish(&mut bench.lp, bench.asker);
    for n in jobs {
        assert_eq!(bench.job(n).failure(), Failure::ExchangeTimedOut);
    }
    assert!(slow.accepted.load(SeqCst) <= 2);
    // A tunnel is past it.
    let hand = hand(|_, mut peer| {
        if peer.heard() {
            peer.send("HTTP/1.1 200 OK\r\n\r\n");
            std::thread::sleep(Duration::from_millis(600));
            peer.send("late");
            peer.end();
        }
    });
    bench.to = hand.at;
    let tunnel = Job { method: "CONNECT", upload: Some(Vec::new()), ..Job::get("a:1") };
    assert_eq!(bench.run(tunnel).text(), (200, "late"));
}

/// What a server has served, request by request.
type Served = Arc<Mutex<Vec<u32>>>;

/// Serves requests for `/N`, and closes a connection that is free for some milliseconds.
fn hasty(served: &Served) -> Hand {
    let served = served.clone();
    hand(move |n, mut peer| {
        let mut dice = SplitMix::new(n as u64);
        let mut patience = PATIENCE;
        while let Some(path) = path(&mut peer, patience) {
            patience = Duration::from_micros(1 + dice.next_u64() % 8000);
            served.lock().unwrap()[path] += 1;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    })
}

/// The number that is asked for; `None` if nothing is asked for in this time.
fn path(peer: &mut Peer, time: Duration) -> Option<usize> {
    peer.stream.set_read_timeout(Some(time)).unwrap();
    let begun = peer.stream.peek(&mut [0]).is_ok_and(|n| n > 0);
    peer.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = begun.then(|| peer.until(b"\r\n\r\n"))?;
    Some(head.split([' ', '/']).nth(2)?.parse().unwrap())
}

#[test]
fn of_ten_thousand_requests_none_is_lost_and_none_served_twice() {
    const REQUESTS: usize = 10_000;
    let served: Served = Arc::new(Mutex::new(vec![0; REQUESTS]));
    let hand = hasty(&served);
    let mut bench = Bench::new(hand.at, |c| c.per_address = 64);
    let (mut dice, mut jobs) = (SplitMix::new(1), Vec::new());
    while jobs.len() < REQUESTS {
        // As many at once as there are connections, or fewer; then a while of nothing.
        let burst = (1 + dice.next_u64() as usize % 64).min(REQUESTS - jobs.len());
        for _ in 0..burst {
            let method = if dice.next_u64().is_multiple_of(5) { "POST" } else { "GET" };
            let upload = (method == "POST").then(Vec::new);
            let target = format!("/{}", jobs.len());
            jobs.push(bench.begin(Job { method, upload, ..Job::get(&target) }));
        }
        finish_of(&mut bench.lp, bench.asker, &jobs[jobs.len() - burst..]);
        let pause = Duration::from_micros(dice.next_u64() % 4000);
        let until = Instant::now() + pause;
        while Instant::now() < until {
            bench.lp.turn(Some(Duration::ZERO)).unwrap();
        }
    }
    let (mut failed, served) = (0, served.lock().unwrap());
    for (n, job) in jobs.into_iter().enumerate() {
        let job = bench.job(job);
        if job.method == "POST" && job.outcome != Some(Ok(())) {
            assert_eq!((job.failure(), served[n]), (Failure::Closed, 0), "POST /{n}");
            failed += 1;
        } else {
            assert_eq!((job.text(), served[n]), ((200, "hi"), 1), "{} /{n}", job.method);
        }
    }
    let accepted = hand.accepted.load(SeqCst);
    println!("{accepted} connections, {failed} POSTs were not taken");
    assert!(accepted > 64, "none was closed while it was free");
}

fn finish_of(lp: &mut Loop<Os>, asker: Handle<Asker>, jobs: &[usize]) {
    until(lp, "all jobs", |lp| {
        let asker = lp.get(asker);
        jobs.iter().all(|n| asker.jobs[*n].outcome.is_some())
    });
}
