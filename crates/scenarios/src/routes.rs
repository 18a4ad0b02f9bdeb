//! The ways to a server: its ports, its path, and several addresses of which some are dead.
//!
//! Rules of this file:
//! * A dead address is dead in every world: it refuses, or nothing leads there, or nobody answers.

use crate::ledger::STRANGER;
use crate::stage::Stage;
use loopwork::reactor::{Fd, ListenOptions, Streams, World};
use loopwork::sim::{Faults, SplitMix};
use loopwork::{Address, Id};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Addresses of one race at most.
const RACERS: u64 = 5;

/// Where a server is, and where nobody is.
pub(crate) struct Routes {
    /// Of IPv4 and of IPv6.
    pub(crate) ports: [SocketAddr; 2],
    pub(crate) path: PathBuf,
    dead: [SocketAddr; 3],
    /// Of a server that says nothing.
    sinks: [Address; 2],
    /// What makes the hole: its listener, and who fills its queue.
    hole: [Fd; 2],
}

/// One way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    One(Address),
    /// The first that answers; with [`alive`](Routes::alive) of them nobody does.
    Race(Vec<SocketAddr>),
}

impl Routes {
    /// With a hole in this world: a listener that nobody accepts at, and whose queue is full.
    pub(crate) fn new(
        stage: &mut Stage,
        ports: [SocketAddr; 2],
        path: PathBuf,
        sinks: [Address; 2],
    ) -> Routes {
        let world = &mut stage.lp.world;
        // Its guest comes in a calm world, so that the queue is full for all that follow.
        let rough = world.world().map(|sim| std::mem::replace(sim.faults(), Faults::none()));
        let id = Id { birth: 1, slot: 0, driver: STRANGER };
        let here = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)).into();
        let mut how = ListenOptions::default();
        how.backlog = 1;
        let (listener, at) = world.listen(&here, &how, id).expect("a port");
        let guest = world.connect(&at, None, id).expect("it begins");
        for _ in 0..3 {
            stage.turn_for(Some(Duration::from_millis(1)));
        }
        let world = &mut stage.lp.world;
        world.connected(guest).expect("it stands, and waits");
        if let Some((sim, rough)) = world.world().zip(rough) {
            *sim.faults() = rough;
        }
        let hung = at.ip().expect("an IP address");
        let (refused, nowhere) = (([127, 0, 0, 1], 1), ([0xff02, 0, 0, 0, 0, 0, 0, 1], 7));
        let dead = [hung, refused.into(), nowhere.into()];
        Routes { ports, path, dead, sinks, hole: [listener, guest] }
    }

    /// One by chance.
    pub(crate) fn pick(&self, dice: &mut SplitMix) -> Route {
        let mut below = |n: u64| dice.next_u64() % n;
        match below(9) {
            0 | 1 => Route::One(Address::Unix(self.path.clone())),
            8 => Route::One(self.sinks[below(2) as usize].clone()),
            2 | 3 => {
                let mut to = Vec::new();
                for _ in 0..1 + below(RACERS) {
                    to.push(match below(5) {
                        n @ (0 | 1) => self.ports[n as usize],
                        n => self.dead[n as usize - 2],
                    });
                }
                Route::Race(to)
            }
            n => Route::One(self.ports[n as usize % 2].into()),
        }
    }

    /// How many places on this way have somebody.
    pub(crate) fn alive(&self, route: &Route) -> usize {
        match route {
            Route::One(_) => 1,
            Route::Race(to) => to.iter().filter(|at| self.ports.contains(at)).count(),
        }
    }

    /// Nothing comes back from there.
    pub(crate) fn is_sink(&self, route: &Route) -> bool {
        matches!(route, Route::One(to) if self.sinks.contains(to))
    }

    /// Gives back what the hole took.
    pub(crate) fn close(self, stage: &mut Stage) {
        for fd in self.hole {
            stage.lp.world.close(fd);
        }
    }
}
