//! From the records of a message to what was asked for, along the names that stand for others.
//!
//! Rules of this file:
//! * A record of another name than the one that is asked about says nothing, whoever sent it.
//! * RFC 1034, 3.6.2: a name may stand for another (CNAME), and that one too. It ends after
//!   [`CHAIN_MAX`] of them, or at the first one that was there already.

use crate::Error;
use crate::message::{Data, Kind, Record};
use crate::name::Name;

/// Names in a row that stand for others, at most: the longest that delivery networks use are four
/// or five, and common resolvers give up between 8 and 16.
pub const CHAIN_MAX: usize = 8;

/// Goes along the chain from `asking`, which becomes its end; gives the records that are there,
/// none perhaps.
pub(crate) fn follow(
    records: &[Record],
    kind: Kind,
    asking: &mut Name,
    chain: &mut Vec<Record>,
) -> Result<Vec<Record>, Error> {
    loop {
        let of = || records.iter().filter(|record| record.name == *asking);
        let found: Vec<Record> = of().filter(|r| r.data.kind() == kind).cloned().collect();
        let next = of().find_map(|record| match &record.data {
            Data::Cname(to) => Some((record.clone(), to.clone())),
            _ => None,
        });
        let (true, Some((record, to))) = (found.is_empty(), next) else { return Ok(found) };
        let met = *asking == to || chain.iter().any(|before| before.name == to);
        if met || chain.len() >= CHAIN_MAX {
            return Err(Error::Chain);
        }
        chain.push(record);
        *asking = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> Name {
        Name::new(&format!("n{n}")).unwrap()
    }

    fn alias(from: usize, to: usize) -> Record {
        Record { name: name(from), ttl: 60, data: Data::Cname(name(to)) }
    }

    fn address(of: usize) -> Record {
        Record { name: name(of), ttl: 60, data: Data::A([192, 0, 2, of as u8].into()) }
    }

    fn run(records: &[Record]) -> Result<(Vec<Record>, Name, usize), Error> {
        let (mut asking, mut chain) = (name(0), Vec::new());
        let found = follow(records, Kind::A, &mut asking, &mut chain)?;
        Ok((found, asking, chain.len()))
    }

    #[test]
    fn hostile_74_chains_end() {
        let got = run(&[alias(1, 2), address(2), alias(0, 1), address(7)]);
        assert_eq!(got, Ok((vec![address(2)], name(2), 2)));
        assert_eq!(run(&[alias(0, 1)]), Ok((vec![], name(1), 1)));
        assert_eq!(run(&[address(7)]), Ok((vec![], name(0), 0)));
        assert_eq!(run(&[alias(0, 0)]), Err(Error::Chain));
        assert_eq!(run(&[alias(0, 1), alias(1, 0)]), Err(Error::Chain));
        let long: Vec<Record> = (0..CHAIN_MAX).map(|n| alias(n, n + 1)).collect();
        assert_eq!(run(&long), Ok((vec![], name(CHAIN_MAX), CHAIN_MAX)));
        let longer: Vec<Record> = (0..=CHAIN_MAX).map(|n| alias(n, n + 1)).collect();
        assert_eq!(run(&longer), Err(Error::Chain));
    }
}
