//! Topics: who wants to hear of what, and messages to all of them.
//!
//! Rules of this file:
//! * Topics live with the loop, for all its WebSockets, and exist while somebody is subscribed.
//! * Publishing touches no connection: it queues the message, shared, for each subscriber, and
//!   wakes it. So however much is published in a turn, a subscriber gets it in one write.
//! * A message is encoded once, and compressed once, whoever gets it. Those whose own window goes
//!   on from message to message have it compressed by that window, as they had chosen.
//! * Who cannot take more is not written to: what waits for it is counted, and has a limit.

use crate::Message;
use crate::codec::Shared;
use crate::core::frame::{self, Opcode};
use crate::core::{Role, Terms};
use crate::{Config, Socket};
use loopwork_http::tcp::reactor::{Env, Id};
use loopwork_http::tcp::{Flow, Out};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Forms of a message: a window of 2^9 to 2^15 bytes each.
const FORMS: usize = Shared::WINDOWS;

/// Messages that an empty queue keeps room for, 8 bytes each, so that what is published at a
/// usual rate allocates nothing for each subscriber.
const KEPT: usize = 16;

/// A message that is encoded once, for many connections. A clone is the same message.
///
/// It is made of what is sent: `Prepared::from("text")`, `Prepared::from(&bytes[..])`, or of a
/// [`Message`] that came. Where permessage-deflate was agreed on it is compressed when the first
/// such connection gets it.
#[derive(Clone, Debug)]
pub struct Prepared(Rc<Forms>);

#[derive(Debug)]
struct Forms {
    opcode: Opcode,
    /// Where in `plain` the payload begins.
    payload: usize,
    /// A server's frame.
    plain: Arc<[u8]>,
    /// The same, compressed in a window; nothing in it if it would not be shorter.
    packed: [OnceCell<Option<Arc<[u8]>>>; FORMS],
}

impl Prepared {
    fn new(opcode: Opcode, payload: &[u8]) -> Prepared {
        let mut plain = Vec::new();
        frame::encode(&mut plain, opcode, payload, None);
        let payload = plain.len() - payload.len();
        Prepared(Rc::new(Forms {
            opcode,
            payload,
            plain: plain.into(),
            packed: Default::default(),
        }))
    }

    /// The message itself, text or bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.0.plain.get(self.0.payload..).unwrap_or_default()
    }

    pub(crate) fn opcode(&self) -> Opcode {
        self.0.opcode
    }

    /// What it counts for in a subscriber's queue.
    fn weight(&self) -> usize {
        self.0.plain.len()
    }

    /// The frame of a server that has agreed on this; `None` if the connection's own window has
    /// to make it.
    fn frame(
        &self,
        terms: Option<Terms>,
        config: &Config,
        shared: &mut Shared,
    ) -> Option<&Arc<[u8]>> {
        let Some(terms) = terms else { return Some(&self.0.plain) };
        if terms.server_takeover {
            return None;
        }
        let len = self.payload().len();
        // A reference goes back within the message: a short one fits the smallest window, so that
        // all get the same.
        let fits = len <= 1 << terms.server_bits;
        let slot = if fits { Some(FORMS - 1) } else { Shared::slot(terms.server_bits) };
        let packed = slot.and_then(|slot| Some((slot, self.0.packed.get(slot)?)));
        let packed = packed.and_then(|(slot, cell)| {
            cell.get_or_init(|| {
                let mut out = Vec::new();
                let _ = shared.compress(slot, config, self.payload(), |compressed| {
                    frame::encode_compressed(&mut out, self.0.opcode, compressed, None);
                });
                (!out.is_empty()).then(|| out.into())
            })
            .as_ref()
        });
        Some(packed.unwrap_or(&self.0.plain))
    }

    /// Appends the frame of a server, if it need not be the connection's own.
    pub(crate) fn write(
        &self,
        out: &mut Out<'_>,
        (role, terms): (Role, Option<Terms>),
        config: &Config,
        shared: &mut Shared,
    ) -> Option<Flow> {
        if role == Role::Client {
            return None;
        }
        self.frame(terms, config, shared).map(|frame| out.write_shared(frame))
    }
}

impl From<&str> for Prepared {
    fn from(text: &str) -> Prepared {
        Prepared::new(Opcode::Text, text.as_bytes())
    }
}

impl From<&[u8]> for Prepared {
    fn from(bytes: &[u8]) -> Prepared {
        Prepared::new(Opcode::Binary, bytes)
    }
}

impl From<&Message<'_>> for Prepared {
    fn from(message: &Message<'_>) -> Prepared {
        match message {
            Message::Text(text) => Prepared::from(*text),
            Message::Binary(bytes) => Prepared::from(&**bytes),
        }
    }
}

impl From<&Prepared> for Prepared {
    fn from(message: &Prepared) -> Prepared {
        message.clone()
    }
}

/// Publishes a message to all subscribers of a topic, in any WebSocket application of this loop:
/// from a timer, from an HTTP request, from wherever there is an [`Env`]. How many get it: those
/// that are too far [behind](Config::behind) do not.
///
/// Each gets what is published in the order in which it is published, in its wakes of this turn,
/// or the next: behind what it was sent meanwhile, and before its [`on_wake`](crate::App::on_wake).
/// A message that nobody gets is not encoded.
pub fn publish(env: &mut Env, topic: impl AsRef<[u8]>, message: impl Into<Prepared>) -> usize {
    publish_but(env, topic.as_ref(), None, message)
}

/// The subscribers of a topic.
pub fn subscribers(env: &mut Env, topic: impl AsRef<[u8]>) -> usize {
    let topics = env.shared.one::<Topics>();
    topics.named(topic.as_ref()).map_or(0, |(_, topic)| topic.members.len())
}

/// To all but one.
pub(crate) fn publish_but(
    env: &mut Env,
    topic: &[u8],
    but: Option<Id>,
    message: impl Into<Prepared>,
) -> usize {
    let Env { shared, calls, .. } = env;
    let Topics { names, topics, members, .. } = shared.one::<Topics>();
    let Some(topic) = names.get(topic).and_then(|at| topics.get(*at)) else { return 0 };
    if topic.members.len() == 1 && but.is_some_and(|but| members.is(&topic.members, but)) {
        return 0;
    }
    let (message, mut told) = (message.into(), 0);
    for at in &topic.members {
        let Some(member) = members.get_mut(*at).filter(|member| Some(member.id) != but) else {
            continue;
        };
        if member.queue(&message) {
            told += 1;
            calls.wake(member.id);
        } else if member.closes {
            calls.wake(member.id);
        }
    }
    told
}

/// The topics of a loop, and who is subscribed to any.
#[derive(Default)]
pub(crate) struct Topics {
    names: BTreeMap<Rc<[u8]>, u32>,
    topics: Slots<Topic>,
    members: Slots<Member>,
    ids: BTreeMap<Id, u32>,
}

struct Topic {
    name: Rc<[u8]>,
    members: BTreeSet<u32>,
}

/// A connection with subscriptions.
struct Member {
    id: Id,
    topics: BTreeSet<u32>,
    queue: Queue,
    /// See [`Config::behind`] and [`Config::close_behind`].
    most: usize,
    closes: bool,
}

/// What was published, and waits for one subscriber.
#[derive(Default)]
pub(crate) struct Queue {
    messages: VecDeque<Prepared>,
    bytes: usize,
    missed: u64,
}

impl Member {
    /// Whether the message is among what waits now.
    fn queue(&mut self, message: &Prepared) -> bool {
        let Queue { messages, bytes, missed } = &mut self.queue;
        let more = bytes.saturating_add(message.weight());
        // One that is large by itself has to have a chance.
        if more > self.most && *bytes > 0 {
            *missed += 1;
            return false;
        }
        *bytes = more;
        messages.push_back(message.clone());
        true
    }
}

impl Topics {
    fn named(&self, name: &[u8]) -> Option<(u32, &Topic)> {
        let at = *self.names.get(name)?;
        Some((at, self.topics.get(at)?))
    }

    /// Whether this is new.
    pub(crate) fn subscribe(&mut self, id: Id, config: &Config, name: &[u8]) -> bool {
        let topic = self.names.get(name).copied().unwrap_or_else(|| {
            let name: Rc<[u8]> = name.into();
            let at = self.topics.add(Topic { name: name.clone(), members: BTreeSet::new() });
            self.names.insert(name, at);
            at
        });
        let member = *self.ids.entry(id).or_insert_with(|| {
            let (most, closes) = (config.behind, config.close_behind);
            let (topics, queue) = (BTreeSet::new(), Queue::default());
            self.members.add(Member { id, topics, queue, most, closes })
        });
        if let Some(member) = self.members.get_mut(member) {
            member.topics.insert(topic);
        }
        self.topics.get_mut(topic).is_some_and(|topic| topic.members.insert(member))
    }

    /// Whether it was subscribed, and whether it still is to anything.
    pub(crate) fn unsubscribe(&mut self, id: Id, name: &[u8]) -> (bool, bool) {
        let Some(&at) = self.ids.get(&id) else { return (false, false) };
        let Some(topic) = self.named(name).map(|(topic, _)| topic) else { return (false, true) };
        let Some(member) = self.members.get_mut(at) else { return (false, false) };
        let was = member.topics.remove(&topic);
        // What was published before still goes out.
        let stays = !member.topics.is_empty() || !member.queue.messages.is_empty();
        if was {
            self.part(topic, at);
        }
        if !stays {
            self.leave(id);
        }
        (was, stays)
    }

    /// Whether it is subscribed.
    pub(crate) fn has(&self, id: Id, name: &[u8]) -> bool {
        let member = self.ids.get(&id);
        let topic = self.named(name).map(|(_, topic)| topic);
        member.is_some_and(|at| topic.is_some_and(|topic| topic.members.contains(at)))
    }

    /// A connection leaves all its topics.
    pub(crate) fn leave(&mut self, id: Id) {
        let Some(at) = self.ids.remove(&id) else { return };
        let Some(member) = self.members.take(at) else { return };
        for topic in member.topics {
            self.part(topic, at);
        }
    }

    /// One member fewer; with the last the topic goes.
    fn part(&mut self, topic: u32, member: u32) {
        let Some(left) = self.topics.get_mut(topic) else { return };
        left.members.remove(&member);
        if left.members.is_empty()
            && let Some(gone) = self.topics.take(topic)
        {
            self.names.remove(&gone.name);
        }
    }

    fn queue(&mut self, id: Id) -> Option<&mut Member> {
        self.members.get_mut(*self.ids.get(&id)?)
    }

    /// Messages that a subscriber missed.
    pub(crate) fn missed(&mut self, id: Id) -> u64 {
        self.queue(id).map_or(0, |member| member.queue.missed)
    }
}

/// What delivering has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delivered {
    /// Nothing waits; whether there are subscriptions.
    All(bool),
    /// The output is full.
    Some,
    /// It had missed a message, which is to end it.
    Missed,
}

/// Sends what was published and waits for this connection, until its output is full.
pub(crate) fn deliver(socket: &mut Socket<'_>) -> Delivered {
    let id = socket.id;
    let Some(member) = socket.env.shared.one::<Topics>().queue(id) else {
        return Delivered::All(false);
    };
    if member.closes && member.queue.missed > 0 {
        return Delivered::Missed;
    }
    let mut queue = std::mem::take(&mut member.queue);
    while socket.flow() == Flow::Open
        && let Some(message) = queue.messages.pop_front()
    {
        queue.bytes -= message.weight();
        let _ = socket.send_prepared(&message);
    }
    let all = queue.messages.is_empty();
    if all {
        queue.messages.shrink_to(KEPT);
    }
    let topics = socket.env.shared.one::<Topics>();
    let Some(member) = topics.queue(id) else { return Delivered::All(false) };
    member.queue = queue;
    let stays = !member.topics.is_empty();
    match (all, stays) {
        (false, _) => Delivered::Some,
        (true, true) => Delivered::All(true),
        (true, false) => {
            topics.leave(id);
            Delivered::All(false)
        }
    }
}

/// Things by small numbers, which are used again. Empty it holds no memory.
struct Slots<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { items: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    fn add(&mut self, item: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.items[at as usize] = Some(item);
            return at;
        }
        self.items.push(Some(item));
        (self.items.len() - 1) as u32
    }

    fn get(&self, at: u32) -> Option<&T> {
        self.items.get(at as usize)?.as_ref()
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.items.get_mut(at as usize)?.as_mut()
    }

    fn take(&mut self, at: u32) -> Option<T> {
        let item = self.items.get_mut(at as usize)?.take()?;
        self.free.push(at);
        if self.free.len() == self.items.len() {
            *self = Slots::default();
        }
        Some(item)
    }
}

impl Slots<Member> {
    /// Whether the only one of these is `id`.
    fn is(&self, one: &BTreeSet<u32>, id: Id) -> bool {
        one.iter().all(|at| self.get(*at).is_some_and(|member| member.id == id))
    }
}
