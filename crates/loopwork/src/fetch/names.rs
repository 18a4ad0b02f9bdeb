//! What fetches share of names and addresses.
//!
//! Rules of this file:
//! * A name is looked up once at a time, however many wait for it: more jobs than may block would
//!   be refused otherwise.
//! * What a resolver said is not kept: it knows for how long it holds. What is kept is who
//!   answered, so that a dead address is not tried each time, and that a kept connection is found
//!   again though the resolver turns its list.

use super::agent::Agent;
use crate::{Address, Env, Id, lookup};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Hosts of several addresses of which it is remembered who answered; with one more all are
/// forgotten. More than any program but a crawler asks, and little memory.
const GOOD_MAX: usize = 1024;

/// A host and a port.
pub(super) type Place = (String, u16);

/// The addresses of a name, or why there are none.
pub(super) type Found = Result<Vec<SocketAddr>, String>;

#[derive(Default)]
pub(super) struct Names {
    /// Who waits for a name.
    waiting: HashMap<Place, Vec<Id>>,
    /// Who answered last.
    good: HashMap<Place, Address>,
}

impl Names {
    /// Whoever answered last comes first.
    pub(super) fn order(&self, place: &Place, addresses: &mut [Address]) {
        let good = self.good.get(place);
        if let Some(at) = addresses.iter().position(|address| Some(address) == good) {
            addresses[..=at].rotate_right(1);
        }
    }

    /// This address answered, or nobody is there.
    pub(super) fn note(&mut self, place: &Place, address: &Address, answers: bool) {
        match answers {
            true if self.good.get(place) == Some(address) => {}
            true => {
                if self.good.len() >= GOOD_MAX {
                    self.good.clear();
                }
                self.good.insert(place.clone(), address.clone());
            }
            false => {
                if self.good.get(place) == Some(address) {
                    self.good.remove(place);
                }
            }
        }
    }
}

impl Agent {
    /// Tells a fetch the addresses of a name, in a later phase or turn.
    pub(super) fn look_up(self, env: &mut Env, place: Place, id: Id) {
        if let Some(waiting) = self.names(env).waiting.get_mut(&place) {
            return waiting.push(id);
        }
        self.names(env).waiting.insert(place.clone(), vec![id]);
        let (host, port) = (place.0.clone(), place.1);
        let Some(resolver) = self.resolver(env) else {
            return lookup(env, &host, port, move |env, found| {
                self.looked_up(env, &place, &found.map_err(|error| error.to_string()));
            });
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(&host);
        resolver.lookup(env, bare, move |env, found| {
            let at = |ips: Vec<IpAddr>| ips.into_iter().map(|ip| (ip, port).into()).collect();
            self.looked_up(env, &place, &found.map(at).map_err(|error| error.to_string()));
        });
    }

    /// Tells all who wait for a name.
    fn looked_up(self, env: &mut Env, place: &Place, found: &Found) {
        for id in self.names(env).waiting.remove(place).unwrap_or_default() {
            self.work(env, id, |run, env, wished| run.found(env, wished, found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answered_comes_first() {
        let list = |text: &str| -> Vec<Address> {
            let at = |n: &str| Address::Ip(format!("127.0.0.{n}:80").parse().unwrap());
            text.split(' ').map(at).collect()
        };
        let (mut names, place) = (Names::default(), ("a".to_string(), 80));
        let ordered = |names: &Names| {
            let mut addresses = list("1 2 3");
            names.order(&place, &mut addresses);
            addresses
        };
        assert_eq!(ordered(&names), list("1 2 3"));
        names.note(&place, &list("3")[0], true);
        assert_eq!(ordered(&names), list("3 1 2"));
        names.note(&place, &list("2")[0], false);
        assert_eq!(ordered(&names), list("3 1 2"));
        names.note(&place, &list("9")[0], true);
        assert_eq!(ordered(&names), list("1 2 3"));
        names.note(&place, &list("1")[0], true);
        names.note(&place, &list("1")[0], false);
        assert!(names.good.is_empty());
        for n in 0..=GOOD_MAX {
            names.note(&(n.to_string(), 80), &list("1")[0], true);
        }
        assert_eq!(names.good.len(), 1);
    }
}
