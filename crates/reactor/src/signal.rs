//! Signals, as one more driver: a number from the world, a call with the environment.
//!
//! Rules of this file:
//! * A signal is handled in the loop's turn, never in the kernel's handler.
//! * Watching signals does not keep the loop alive.

use crate::env::Env;
use crate::id::{Id, Ready};
use crate::turn::{Cx, Driver, Handle, Loop};
use crate::world::World;
use std::io;

pub use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

/// Calls a function for each signal that it watches.
pub struct Signals {
    id: Id,
    handle: Handler,
}

type Handler = Box<dyn FnMut(&mut Env, i32)>;

/// Watches signals: `f` is told each one, by number, in a turn of this loop. From then on they no
/// longer end the process.
///
/// # Errors
/// A signal that cannot be caught, or no descriptor for the watch.
pub fn watch<W: World>(
    lp: &mut Loop<W>,
    signals: &[i32],
    f: impl FnMut(&mut Env, i32) + 'static,
) -> io::Result<Handle<Signals>> {
    let birth = lp.env.calls.birth();
    let id = |driver| Id { birth, slot: 0, driver };
    let handle = lp.add(|me| Signals { id: id(me.driver), handle: Box::new(f) });
    lp.world.watch_signals(signals, id(handle.driver))?;
    Ok(handle)
}

impl<W: World> Driver<W> for Signals {
    fn sources(&self, tell: &mut dyn FnMut(Id, &'static str)) {
        tell(self.id, "signals");
    }

    fn on_ready(&mut self, cx: &mut Cx<'_, W>, ready: Ready) {
        while let Some(signal) = cx.world.next_signal(ready.id) {
            (self.handle)(cx.env, signal);
        }
    }
}
