//! The line of those whose handshake waits for its turn.
//!
//! A handshake costs a signature, up to a millisecond; a thousand that come together would hold
//! all others for a second. So a turn serves so many, and wakes as many of the line in the next.

use loopwork_tcp::reactor::{Env, Id, Instant};
use std::collections::VecDeque;
use std::time::Duration;

/// Handshakes that one turn begins: with a key of ECDSA half a millisecond, with one of RSA about
/// five.
pub const HANDSHAKES_PER_TURN: usize = 8;

/// Of one loop.
#[derive(Default)]
pub(crate) struct Queue {
    /// The turn that `begun` counts.
    turn: Instant,
    begun: usize,
    line: VecDeque<Id>,
    /// The next turn's wakes are ordered.
    ordered: bool,
}

impl Queue {
    /// Whether a handshake may go on now. If not, `id` is woken when it may.
    pub(crate) fn admits(env: &mut Env, id: Id) -> bool {
        let now = env.now;
        let queue = env.shared.one::<Queue>();
        if queue.turn != now {
            (queue.turn, queue.begun) = (now, 0);
        }
        if queue.begun < HANDSHAKES_PER_TURN {
            queue.begun += 1;
            return true;
        }
        queue.line.push_back(id);
        Queue::order(env);
        false
    }

    /// The next turn wakes the first of the line.
    fn order(env: &mut Env) {
        let queue = env.shared.one::<Queue>();
        if queue.line.is_empty() || std::mem::replace(&mut queue.ordered, true) {
            return;
        }
        env.after(Duration::ZERO, |env| {
            env.shared.one::<Queue>().ordered = false;
            for _ in 0..HANDSHAKES_PER_TURN {
                let Some(next) = env.shared.one::<Queue>().line.pop_front() else { break };
                env.wake(next);
            }
            Queue::order(env);
        });
    }
}
