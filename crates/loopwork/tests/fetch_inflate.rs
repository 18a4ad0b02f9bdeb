//! Fetches that ask for compressed answers.

mod fetch_support;

use fetch_support::{A, Noting, Stage};
use loopwork::Fetch;
use loopwork::fetch::Error;
use loopwork::http::inflate::{Caps, Undecodable};
use std::time::Duration;

fn coded(how: &str) -> Fetch {
    Fetch::get(&format!("http://{A}/coded?{how}")).inflate(Caps::default())
}

#[test]
fn what_was_compressed_is_handed_over_as_it_was() {
    for seed in 0..6 {
        let mut stage = Stage::new(seed, &[]);
        for n in [0, 1, 100_000, 3_000_000] {
            let page = stage.fetch(coded(&format!("gzip&{n}"))).unwrap();
            assert!(page.body == vec![0; n]);
            assert_eq!(stage.last().header("Accept-Encoding"), Some("gzip, deflate"));
            assert_eq!(page.head.headers.text("Content-Encoding"), Some("gzip"));
        }
        let page = stage.fetch(coded("identity&text").header("Accept-Encoding", "x")).unwrap();
        assert_eq!(page.text(), "text");
        assert_eq!(stage.last().header("Accept-Encoding"), Some("x"));
        let head = Fetch::new("HEAD", &format!("http://{A}/coded?br&1000"));
        let head = stage.fetch(head.inflate(Caps::default())).unwrap();
        assert!(head.body.is_empty());
        // Nobody asked for it: it is handed over as it came.
        let page = stage.fetch(Fetch::get(&format!("http://{A}/coded?gzip&no"))).unwrap();
        assert_eq!(page.text(), "no");
        assert_eq!(stage.last().header("Accept-Encoding"), None);
    }
}

#[test]
fn what_cannot_be_decoded_is_an_error() {
    let mut stage = Stage::new(0, &[]);
    for (how, why) in [
        ("br&text", Undecodable::Unknown),
        ("gzip&text", Undecodable::Corrupt),
        ("gzip&cut", Undecodable::Short),
        ("gzip&9000000", Undecodable::Bomb),
    ] {
        match stage.fetch(coded(how)) {
            Err(Error::Coding(seen)) => assert_eq!(seen, why, "{how}"),
            other => panic!("{how}: {other:?}"),
        }
    }
    let long = stage.fetch(coded("gzip&3000").limit(2999));
    assert!(matches!(long, Err(Error::TooLong(2999))), "{long:?}");
    let page = stage.fetch(coded("gzip&3000").limit(3000)).unwrap();
    assert_eq!(page.body.len(), 3000);
}

#[test]
fn a_slow_taker_gets_it_piece_by_piece() {
    let mut stage = Stage::new(3, &[]);
    let agent = stage.agent;
    let (mut taker, told) = Noting::new(agent);
    taker.slow = true;
    let me = coded("gzip&3000000").begin(&mut stage.lp.env, agent, taker);
    let mut before = 0;
    for _ in 0..200_000 {
        if told.borrow().end.is_some() {
            break;
        }
        let have = told.borrow().body.len();
        if have > before {
            for _ in 0..3 {
                stage.lp.turn(Some(Duration::ZERO)).unwrap();
            }
            assert_eq!(told.borrow().body.len(), have, "full: nothing more comes");
            assert!(have - before <= 64 * 1024, "{}", have - before);
            before = have;
            agent.resume(&mut stage.lp.env, me);
        }
        stage.lp.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let told = told.take();
    assert!(told.end.unwrap().is_ok() && told.body == vec![0; 3_000_000]);
}
