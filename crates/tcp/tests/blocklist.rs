//! Block lists: what rules say, what makes none, and random lists beside a naive one that keeps
//! every rule's ends and looks at all of them.

use loopwork_tcp::{BadRule, BlockList, PRIVATE_RANGES, Rule};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn rule(text: &str) -> Rule {
    text.parse().expect("a rule")
}

fn list(rules: &[&str]) -> BlockList {
    rules.iter().map(|text| rule(text)).collect()
}

/// Each of `inside` meets the list, and none of `outside`.
fn check(rules: &[&str], inside: &[&str], outside: &[&str]) {
    let list = list(rules);
    for (addresses, wanted) in [(inside, true), (outside, false)] {
        for address in addresses {
            assert_eq!(list.check(ip(address)), wanted, "{address} in {rules:?}");
        }
    }
}

#[test]
fn rules_cover_what_they_say() {
    check(&[], &[], &["0.0.0.0", "::", "::1", "ffff::", "255.255.255.255"]);
    check(&["123.123.123.123"], &["123.123.123.123"], &["123.123.123.122", "123.123.123.124"]);
    check(
        &["10.0.0.1-10.0.0.10"],
        &["10.0.0.1", "10.0.0.3", "10.0.0.10"],
        &["10.0.0.0", "10.0.0.11", "222.111.111.222"],
    );
    check(
        &["8592:757c:efae:4e45::/64"],
        &["8592:757c:efae:4e45::1", "8592:757c:efae:4e45:ffff:ffff:ffff:ffff"],
        &["8592:757c:efae:4e44:ffff::", "8592:757c:efae:4e46::"],
    );
    check(&["10.1.2.3/8"], &["10.0.0.0", "10.255.255.255"], &["9.255.255.255", "11.0.0.0"]);
    check(&["10.1.2.3/32"], &["10.1.2.3"], &["10.1.2.2", "10.1.2.4"]);
    check(&["0.0.0.0/0"], &["0.0.0.0", "255.255.255.255"], &["::", "::1", "::fffe:0.0.0.1"]);
    check(&["255.255.255.255", "::", "ffff::/16"], &["ffff:ffff::", "::"], &["::1", "0.0.0.0"]);
}

/// As in Node: one of IPv4 is the same in its mapped form, in rules and in what is checked.
#[test]
fn mapped_addresses_are_those_of_ipv4() {
    for rules in ["123.123.123.123", "123.123.123.0/24", "123.123.0.0-123.123.255.255"] {
        check(
            &[rules],
            &["123.123.123.123", "::ffff:7b7b:7b7b", "::ffff:123.123.123.123"],
            &["::7b7b:7b7b", "::123.123.123.123", "::fffe:123.123.123.123", "7b7b:7b7b::"],
        );
    }
    check(&["::ffff:10.0.0.0/104"], &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0"]);
    check(&["::/0"], &["1.2.3.4", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], &[]);
}

#[test]
fn private_ranges_are_blocked_and_their_neighbours_are_not() {
    let list: BlockList = PRIVATE_RANGES.into_iter().collect();
    assert_eq!(list.len(), 8);
    for inside in [
        "10.0.0.1",
        "127.0.0.1",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "::1",
        "fe80::1",
        "febf::1",
        "fc00::",
        "fdff::1",
        "::ffff:127.0.0.1",
    ] {
        assert!(list.check(ip(inside)), "{inside}");
    }
    for outside in ["8.8.8.8", "172.15.0.0", "172.32.0.0", "192.169.0.0", "::2", "fec0::", "fe00::"]
    {
        assert!(!list.check(ip(outside)), "{outside}");
    }
    // Each says itself, and what it says is itself: no bits behind the prefix.
    for rule in PRIVATE_RANGES {
        assert_eq!(rule.to_string().parse(), Ok(rule));
        let bare = rule.to_string();
        assert_eq!(bare.rsplit(' ').next().unwrap().parse(), Ok(rule));
    }
}

#[test]
fn what_makes_no_rule_says_why() {
    use BadRule::{Backwards, Families, Prefix, Text};
    for (text, why) in [
        ("", Text),
        ("10", Text),
        ("10.0.0.256", Text),
        ("010.0.0.1", Text),
        ("10.0.0.0/", Text),
        ("10.0.0.0/+8", Text),
        ("10.0.0.0/-1", Text),
        ("10.0.0.0/08", Text),
        ("10.0.0.0/8/8", Text),
        ("10.0.0.0/8 ", Text),
        (" 10.0.0.0/8", Text),
        ("10.0.0.0/33", Prefix),
        ("10.0.0.0/256", Prefix),
        ("10.0.0.0/99999999999999999999", Prefix),
        ("::/129", Prefix),
        ("fe80::1%eth0", Text),
        ("10.0.0.2-10.0.0.1", Backwards),
        ("::2-::1", Backwards),
        ("10.0.0.1-::1", Families),
        ("10.0.0.1-", Text),
        ("10.0.0.1-10.0.0.2-10.0.0.3", Text),
        ("Address: IPv6 10.0.0.1", Text),
        ("Subnet: IPv4 10.0.0.1", Text),
        ("Address: 10.0.0.1", Text),
        ("address: IPv4 10.0.0.1", Text),
    ] {
        assert_eq!(text.parse::<Rule>(), Err(why), "{text:?}");
    }
    assert_eq!(Rule::subnet(ip("1.2.3.4"), 33), Err(Prefix));
    assert_eq!(Rule::subnet(ip("1.2.3.4"), 255), Err(Prefix));
    assert_eq!(Rule::range(ip("1.2.3.4"), ip("::ffff:1.2.3.5")), Err(Families));
    assert!(Rule::range(ip("::1"), ip("::1")).is_ok());
}

#[test]
fn rules_are_listed_as_node_lists_them() {
    let mut list = list(&["::1/128", "10.0.0.5-10.0.0.9", "10.0.0.7", "10.0.0.0/8", "10.0.0.7"]);
    let texts: Vec<_> = list.rules().map(Rule::to_string).collect();
    assert_eq!(
        texts,
        [
            "Subnet: IPv6 ::1/128",
            "Subnet: IPv4 10.0.0.0/8",
            "Range: IPv4 10.0.0.5-10.0.0.9",
            "Address: IPv4 10.0.0.7",
        ]
    );
    assert!(!list.add(rule("10.9.9.9/8")), "it is there");
    let same: BlockList = texts.iter().map(|text| rule(text)).collect();
    assert_eq!(same, list);
    list.clear();
    assert!(list.is_empty() && !list.check(ip("10.0.0.7")));
}

#[test]
fn what_is_removed_uncovers_what_no_other_rule_covers() {
    let mut list = list(&["10.0.0.0/8", "10.0.0.0-10.0.0.255", "10.0.0.7", "10.0.0.250-10.1.0.0"]);
    assert!(!list.remove(&rule("10.0.0.8")), "no such rule");
    assert!(!list.remove(&rule("10.0.0.7/32")), "a subnet is not an address");
    assert!(list.remove(&rule("10.0.0.0/8")));
    assert!(!list.remove(&rule("10.0.0.0/8")), "it is gone");
    assert!(list.check(ip("10.1.0.0")) && !list.check(ip("10.1.0.1")));
    assert!(list.remove(&rule("10.0.0.0-10.0.0.255")));
    assert!(list.check(ip("10.0.0.7")) && !list.check(ip("10.0.0.8")));
    assert!(list.check(ip("10.0.0.250")) && !list.check(ip("10.0.0.249")));
    assert_eq!(list.len(), 2);
}

/// Addresses that lie close together, at both ends of both families and about the mapped ones.
fn near() -> impl Strategy<Value = IpAddr> {
    let v6 = |base: u128| (0..24_u128).prop_map(move |n| Ipv6Addr::from_bits(base + n).into());
    let v4 = |base: u32| (0..24_u32).prop_map(move |n| Ipv4Addr::from_bits(base + n).into());
    prop_oneof![
        v4(0),
        v4(0x0a00_0000),
        v4(u32::MAX - 23),
        v6(0),
        v6(0xffff_0000_0000 - 12),
        v6(0xffff_ffff_ffff - 12),
        v6(u128::MAX - 23),
    ]
}

/// A rule, and its first and last address as the test counts them.
fn rules() -> impl Strategy<Value = (Rule, u128, u128)> {
    let to = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => 0xffff_0000_0000 | u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let address = near().prop_map(move |ip| (Rule::address(ip), to(ip), to(ip)));
    let range = (near(), near()).prop_filter_map("two families", move |(a, b)| {
        let (a, b) = (a.min(b), a.max(b));
        Some((Rule::range(a, b).ok()?, to(a), to(b)))
    });
    let subnet = (near(), 0..=32_u8).prop_map(move |(ip, free)| {
        let prefix = if ip.is_ipv4() { 32 - free } else { 128 - free };
        let size = 1_u128 << free;
        let first = to(ip) / size * size;
        (Rule::subnet(ip, prefix).expect("short enough"), first, first + (size - 1))
    });
    prop_oneof![address, range, subnet]
}

proptest! {
    #[test]
    fn a_list_agrees_with_a_naive_one(
        pool in prop::collection::vec(rules(), 1..12),
        steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..60),
        asked in prop::collection::vec(near(), 1..40),
    ) {
        let mut list = BlockList::new();
        let mut naive: Vec<(Rule, u128, u128)> = Vec::new();
        for (which, add) in steps {
            let one = pool[which.index(pool.len())];
            let at = naive.iter().position(|(rule, ..)| *rule == one.0);
            match (add, at) {
                (true, None) => {
                    prop_assert!(list.add(one.0));
                    naive.push(one);
                }
                (true, Some(_)) => prop_assert!(!list.add(one.0)),
                (false, None) => prop_assert!(!list.remove(&one.0)),
                (false, Some(at)) => {
                    prop_assert!(list.remove(&one.0));
                    naive.swap_remove(at);
                }
            }
            prop_assert_eq!(list.len(), naive.len());
            for &ip in &asked {
                let n = match ip {
                    IpAddr::V4(ip) => 0xffff_0000_0000 | u128::from(ip.to_bits()),
                    IpAddr::V6(ip) => ip.to_bits(),
                };
                let wanted = naive.iter().any(|(_, first, last)| (*first..=*last).contains(&n));
                prop_assert_eq!(list.check(ip), wanted, "{} {:?}", ip, naive);
            }
        }
        // What is left is what a list of the rules that are left says, span by span.
        prop_assert_eq!(&naive.iter().map(|(rule, ..)| *rule).collect::<BlockList>(), &list);
        for text in list.rules().map(Rule::to_string) {
            prop_assert_eq!(text.parse::<Rule>().map(|rule| rule.to_string()), Ok(text));
        }
    }

    #[test]
    fn no_text_is_a_trap(text in "[0-9a-fA-FIPv:./ -]{0,40}") {
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.to_string().parse(), Ok(rule));
        }
    }
}
