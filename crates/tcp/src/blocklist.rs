//! Who may not connect, and whom nobody connects to: rules of addresses, ranges and subnets.
//!
//! Rules of this file:
//! * One space for both families: IPv4 lies where IPv6 maps it (`::ffff:0:0/96`), so that a peer
//!   of IPv4 meets the rules of IPv4 also at a listener of both.
//! * A check costs the logarithm of the number of rules: what they cover is kept as spans that do
//!   not overlap. Only rules that overlap are joined, so that to take one back costs no more than
//!   to look at those that it overlapped with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Loopback, link-local and private networks (RFC 1918, RFC 3927, RFC 4193, RFC 4291): what a
/// server must not be talked into connecting to, and where no peer from the Internet is.
pub const PRIVATE_RANGES: [Rule; 8] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([127, 0, 0, 0], 8),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    v4([169, 254, 0, 0], 16),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
];

const fn v4(octets: [u8; 4], prefix: u8) -> Rule {
    let [a, b, c, d] = octets;
    Rule(Kind::Subnet(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix))
}

const fn v6(parts: [u16; 8], prefix: u8) -> Rule {
    let [a, b, c, d, e, f, g, h] = parts;
    Rule(Kind::Subnet(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix))
}

/// One rule: an address, a range with both its ends, or a subnet.
///
/// Its text is Node's (`Subnet: IPv4 10.0.0.0/8`). Parsed is that, or its bare end: `10.0.0.0/8`,
/// `10.0.0.1-10.0.0.9`, `10.0.0.1`.
///
/// ```
/// use loopwork_tcp::Rule;
/// let rule: Rule = "10.1.2.3/8".parse()?;
/// assert_eq!(rule.to_string(), "Subnet: IPv4 10.0.0.0/8");
/// assert_eq!(rule.to_string().parse(), Ok(rule));
/// # Ok::<(), loopwork_tcp::BadRule>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rule(Kind);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Kind {
    Address(IpAddr),
    Range(IpAddr, IpAddr),
    Subnet(IpAddr, u8),
}

/// What makes no rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadRule {
    /// It is no address, range or subnet, or not of the kind that it says.
    Text,
    /// The ends of a range are of two families.
    Families,
    /// The range ends before it begins.
    Backwards,
    /// A subnet's prefix has more bits than its address.
    Prefix,
}

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadRule::Text => "no address, range or subnet",
            BadRule::Families => "a range from one address family to another",
            BadRule::Backwards => "a range that ends before it begins",
            BadRule::Prefix => "a prefix longer than its address",
        })
    }
}

impl std::error::Error for BadRule {}

/// Where an address lies among all.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The bits of a subnet's hosts.
fn hosts(ip: IpAddr, prefix: u8) -> u128 {
    let free = u32::from(width(ip) - prefix);
    u128::MAX.checked_shl(free).map_or(u128::MAX, |net| !net)
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl Rule {
    /// The least of all, in the order of the set.
    const FIRST: Rule = Rule(Kind::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));

    /// One address.
    #[must_use]
    pub fn address(ip: IpAddr) -> Rule {
        Rule(Kind::Address(ip))
    }

    /// From one address to another, both included.
    ///
    /// # Errors
    /// The ends are of two families, or the wrong way round.
    pub fn range(first: IpAddr, last: IpAddr) -> Result<Rule, BadRule> {
        if first.is_ipv4() != last.is_ipv4() {
            return Err(BadRule::Families);
        }
        if first > last {
            return Err(BadRule::Backwards);
        }
        Ok(Rule(Kind::Range(first, last)))
    }

    /// All addresses that begin with the same so many bits. The other bits of `ip` do not count.
    ///
    /// # Errors
    /// The address has fewer bits.
    pub fn subnet(ip: IpAddr, prefix: u8) -> Result<Rule, BadRule> {
        if prefix > width(ip) {
            return Err(BadRule::Prefix);
        }
        let net = match ip {
            IpAddr::V4(v4) => {
                Ipv4Addr::from_bits(v4.to_bits() & !(hosts(ip, prefix) as u32)).into()
            }
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !hosts(ip, prefix)).into(),
        };
        Ok(Rule(Kind::Subnet(net, prefix)))
    }

    /// The first and the last address, as numbers.
    fn span(&self) -> (u128, u128) {
        match self.0 {
            Kind::Address(ip) => (number(ip), number(ip)),
            Kind::Range(first, last) => (number(first), number(last)),
            Kind::Subnet(net, prefix) => (number(net), number(net) | hosts(net, prefix)),
        }
    }

    /// What Node calls its kind and its family.
    fn words(&self) -> (&'static str, &'static str) {
        let (kind, ip) = match self.0 {
            Kind::Address(ip) => ("Address", ip),
            Kind::Range(ip, _) => ("Range", ip),
            Kind::Subnet(ip, _) => ("Subnet", ip),
        };
        (kind, if ip.is_ipv4() { "IPv4" } else { "IPv6" })
    }

    fn parse_bare(text: &str) -> Result<Rule, BadRule> {
        let ip = |text: &str| text.parse::<IpAddr>().map_err(|_| BadRule::Text);
        if let Some((net, prefix)) = text.split_once('/') {
            // Digits alone: a sign, or a zero in front, is another's idea of a number.
            let plain = prefix.bytes().all(|b| b.is_ascii_digit());
            if !plain || prefix.is_empty() || prefix.len() > 1 && prefix.starts_with('0') {
                return Err(BadRule::Text);
            }
            return Rule::subnet(ip(net)?, prefix.parse().map_err(|_| BadRule::Prefix)?);
        }
        match text.split_once('-') {
            Some((first, last)) => Rule::range(ip(first)?, ip(last)?),
            None => Ok(Rule::address(ip(text)?)),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, family) = self.words();
        write!(f, "{kind}: {family} ")?;
        match self.0 {
            Kind::Address(ip) => write!(f, "{ip}"),
            Kind::Range(first, last) => write!(f, "{first}-{last}"),
            Kind::Subnet(net, prefix) => write!(f, "{net}/{prefix}"),
        }
    }
}

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Rule, BadRule> {
        let Some((kind, rest)) = text.split_once(": ") else { return Rule::parse_bare(text) };
        let (family, bare) = rest.split_once(' ').ok_or(BadRule::Text)?;
        let rule = Rule::parse_bare(bare)?;
        if rule.words() == (kind, family) { Ok(rule) } else { Err(BadRule::Text) }
    }
}

/// A set of rules, and whether an address meets one of them. As a list of who alone may come it
/// serves too: `!list.check(ip)`.
///
/// ```
/// use loopwork_tcp::{BlockList, PRIVATE_RANGES};
/// let mut list: BlockList = PRIVATE_RANGES.into_iter().collect();
/// list.add("203.0.113.7".parse()?);
/// assert!(list.check("::ffff:203.0.113.7".parse().unwrap()));
/// assert!(!list.check("203.0.113.8".parse().unwrap()));
/// # Ok::<(), loopwork_tcp::BadRule>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BlockList {
    /// By their first address, then their last.
    rules: BTreeSet<(u128, u128, Rule)>,
    /// What they cover, first address to last. No two overlap.
    spans: BTreeMap<u128, u128>,
}

impl BlockList {
    /// No rule.
    #[must_use]
    pub const fn new() -> BlockList {
        BlockList { rules: BTreeSet::new(), spans: BTreeMap::new() }
    }

    /// Adds a rule; says whether it is new.
    pub fn add(&mut self, rule: Rule) -> bool {
        let (first, last) = rule.span();
        let new = self.rules.insert((first, last, rule));
        if new {
            cover(&mut self.spans, first, last);
        }
        new
    }

    /// Takes a rule back; says whether it was there. The same rule: to take `10.0.0.1` out of
    /// `10.0.0.0/8` is no removal, and what another rule covers stays covered.
    pub fn remove(&mut self, rule: &Rule) -> bool {
        let (first, last) = rule.span();
        let there = self.rules.remove(&(first, last, *rule));
        if there && let Some((&from, &to)) = self.spans.range(..=first).next_back() {
            self.spans.remove(&from);
            // The rules whose union this span was: none reaches out of it, none into it.
            for &(first, last, _) in self.rules.range((from, 0, Rule::FIRST)..) {
                if first > to {
                    break;
                }
                cover(&mut self.spans, first, last);
            }
        }
        there
    }

    /// Takes all rules back.
    pub fn clear(&mut self) {
        *self = BlockList::new();
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// No rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules, in the order of their addresses.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> + '_ {
        self.rules.iter().map(|(_, _, rule)| rule)
    }

    /// Whether the address meets a rule.
    #[must_use]
    pub fn check(&self, ip: IpAddr) -> bool {
        let ip = number(ip);
        self.spans.range(..=ip).next_back().is_some_and(|(_, &last)| ip <= last)
    }
}

/// Joins a span with those that it overlaps.
fn cover(spans: &mut BTreeMap<u128, u128>, mut first: u128, mut last: u128) {
    if let Some((&from, &to)) = spans.range(..=first).next_back()
        && to >= first
    {
        spans.remove(&from);
        (first, last) = (from, last.max(to));
    }
    while let Some((&from, &to)) = spans.range(first..=last).next() {
        spans.remove(&from);
        last = last.max(to);
    }
    spans.insert(first, last);
}

impl Extend<Rule> for BlockList {
    fn extend<T: IntoIterator<Item = Rule>>(&mut self, rules: T) {
        for rule in rules {
            self.add(rule);
        }
    }
}

impl FromIterator<Rule> for BlockList {
    fn from_iter<T: IntoIterator<Item = Rule>>(rules: T) -> BlockList {
        let mut list = BlockList::new();
        list.extend(rules);
        list
    }
}
