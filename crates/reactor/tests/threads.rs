//! Other threads in the loop's service: jobs that block, and loops beside loops. Every wait is
//! bounded.

use loopwork_reactor::blocking::{Failed, Full, JOBS, THREADS};
use loopwork_reactor::{Cx, Driver, Env, Loop, Mail, Os, Ready, Workers};
use std::any::Any;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn os() -> Loop<Os> {
    let mut lp = Loop::new(Os::new().expect("a poll"));
    let watch = lp.env.after(PATIENCE, |_| panic!("it did not happen"));
    lp.env.calls.unref(watch);
    lp
}

#[test]
fn a_job_runs_elsewhere_and_its_answer_comes_back_here() {
    let mut lp = os();
    let here = thread::current().id();
    let job = || (thread::current().id(), "answer".to_string());
    lp.env
        .blocking(job, move |env, answer| {
            let (there, answer) = answer.expect("it ran");
            assert!(there != here && thread::current().id() == here);
            env.shared.one::<Vec<String>>().push(answer);
        })
        .unwrap();
    lp.run().unwrap();
    assert_eq!(*lp.env.shared.one::<Vec<String>>(), ["answer"]);
}

#[test]
fn jobs_run_side_by_side_and_no_more_than_the_threads_at_once() {
    let mut lp = os();
    let now = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    for _ in 0..4 * THREADS {
        let now = now.clone();
        let job = move || {
            let running = now.0.fetch_add(1, Ordering::SeqCst) + 1;
            now.1.fetch_max(running, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(10));
            now.0.fetch_sub(1, Ordering::SeqCst);
        };
        lp.env.blocking(job, |env, _| *env.shared.one::<usize>() += 1).unwrap();
    }
    lp.run().unwrap();
    assert_eq!(*lp.env.shared.one::<usize>(), 4 * THREADS);
    assert_eq!(now.1.load(Ordering::SeqCst), THREADS);
}

#[test]
fn a_job_that_has_not_begun_is_taken_back() {
    let mut lp = os();
    let (go, wait) = channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let begun = Arc::new(AtomicUsize::new(0));
    let mut keys = Vec::new();
    for n in 0..THREADS + 2 {
        let (wait, begun) = (wait.clone(), begun.clone());
        let job = move || {
            begun.fetch_add(1, Ordering::SeqCst);
            wait.lock().unwrap().recv().is_err()
        };
        let then = move |env: &mut Env, _| env.shared.one::<Vec<usize>>().push(n);
        keys.push(lp.env.blocking(job, then).unwrap());
    }
    // One before it has left the loop, one that waits behind those that run.
    assert!(lp.env.calls.cancel_job(keys[0]));
    assert!(!lp.env.calls.cancel_job(keys[0]), "twice");
    while begun.load(Ordering::SeqCst) < THREADS {
        lp.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert!(lp.env.calls.cancel_job(keys[THREADS + 1]));
    assert!(!lp.env.calls.cancel_job(keys[1]), "it runs");
    // A new one in the same place is not meant by the old key.
    lp.env.blocking(|| (), |env, _| env.shared.one::<Vec<usize>>().push(99)).unwrap();
    assert!(!lp.env.calls.cancel_job(keys[THREADS + 1]));
    drop(go);
    lp.run().unwrap();
    let mut done = std::mem::take(lp.env.shared.one::<Vec<usize>>());
    done.sort_unstable();
    assert_eq!(done, (1..=THREADS).chain([99]).collect::<Vec<_>>());
    assert_eq!(begun.load(Ordering::SeqCst), THREADS);
}

#[test]
fn more_jobs_than_the_queue_holds_are_refused_until_one_is_done() {
    let mut lp = os();
    let (go, wait) = channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    for _ in 0..JOBS {
        let wait = wait.clone();
        let job = move || wait.lock().unwrap().recv().is_err();
        lp.env.blocking(job, |env, _| *env.shared.one::<usize>() += 1).unwrap();
    }
    assert_eq!(lp.env.blocking(|| (), |_, _| panic!("refused")), Err(Full));
    lp.turn(Some(Duration::ZERO)).unwrap();
    drop(go);
    lp.run().unwrap();
    assert_eq!(*lp.env.shared.one::<usize>(), JOBS);
    lp.env.blocking(|| (), |env, _| *env.shared.one::<usize>() += 1).unwrap();
    lp.run().unwrap();
    assert_eq!(*lp.env.shared.one::<usize>(), JOBS + 1);
}

#[test]
fn hostile_11_a_job_that_panics_is_an_answer_and_the_threads_go_on() {
    let mut lp = os();
    for _ in 0..2 * THREADS {
        let job = || -> u32 { std::panic::resume_unwind(Box::new("on purpose")) };
        lp.env
            .blocking(job, |env, answer| match answer {
                Err(Failed::Panicked(what)) if what.is::<&str>() => {
                    *env.shared.one::<usize>() += 1;
                }
                other => panic!("{other:?}"),
            })
            .unwrap();
    }
    lp.run().unwrap();
    assert_eq!(*lp.env.shared.one::<usize>(), 2 * THREADS);
}

#[test]
fn a_loop_that_is_gone_waits_for_no_job() {
    let mut lp = os();
    let (go, wait) = channel::<()>();
    let (tell, told) = sync_channel(1);
    let job = move || {
        tell.send(()).unwrap();
        let _ = wait.recv_timeout(PATIENCE);
    };
    lp.env.blocking(job, |_, _| panic!("nobody is there")).unwrap();
    lp.turn(Some(Duration::ZERO)).unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    drop(lp);
    go.send(()).unwrap();
}

#[test]
fn workers_run_until_they_are_stopped() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let workers = Workers::start(3, move |number, lp| {
        kept.lock().unwrap().push((number, thread::current().id()));
        lp.env.calls.hold();
        Ok(())
    })
    .unwrap();
    let mut numbers = seen.lock().unwrap().clone();
    numbers.sort_by_key(|(number, _)| *number);
    assert_eq!(numbers.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(numbers[0].1 != numbers[1].1 && numbers[1].1 != numbers[2].1);
    assert_eq!(workers.mailboxes().len(), 3);
    workers.mailboxes()[0].send(Mail::Stop);
    workers.stop();
    workers.join().unwrap();
}

/// Says which loop it is when it is asked.
struct Teller(usize, Sender<usize>);

impl Driver<Os> for Teller {
    fn on_ready(&mut self, _: &mut Cx<'_, Os>, _: Ready) {}
    fn on_post(&mut self, _: &mut Cx<'_, Os>, _: Box<dyn Any>) {
        self.1.send(self.0).expect("the test listens");
    }
}

#[test]
fn a_workers_mailbox_is_that_of_its_number() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let workers = Workers::start(6, move |number, lp| {
        // The last are ready first.
        thread::sleep(Duration::from_millis(5) * (6 - number as u32));
        lp.add(|_| Teller(number, tell.lock().unwrap().clone()));
        lp.env.calls.hold();
        Ok(())
    })
    .unwrap();
    for (number, mailbox) in workers.mailboxes().iter().enumerate() {
        mailbox.post(0, Box::new(()));
        assert_eq!(told.recv_timeout(PATIENCE), Ok(number));
    }
    workers.stop();
    workers.join().unwrap();
}

#[test]
fn a_set_up_that_fails_ends_them_all() {
    let running = Arc::new(AtomicUsize::new(0));
    let count = running.clone();
    let failed = Workers::start(3, move |number, lp| {
        if number == 1 {
            return Err(io::Error::new(ErrorKind::AddrInUse, "taken"));
        }
        lp.env.calls.hold();
        lp.env.shared.add(count.clone());
        Ok(())
    });
    assert_eq!(failed.err().unwrap().kind(), ErrorKind::AddrInUse);
    assert_eq!(Arc::strong_count(&running), 1, "their loops are gone");
}

#[test]
fn hostile_11_a_callback_that_panics_ends_its_loop_alone() {
    let done = Arc::new(AtomicUsize::new(0));
    let count = done.clone();
    let workers = Workers::start(2, move |number, lp| {
        let count = count.clone();
        lp.env.after(Duration::from_millis(5), move |env| {
            if number == 0 {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
            env.after(Duration::from_millis(20), move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            });
        });
        Ok(())
    })
    .unwrap();
    assert!(workers.join().unwrap_err().to_string().contains("panicked"));
    assert_eq!(done.load(Ordering::SeqCst), 1, "the other went on");
}
