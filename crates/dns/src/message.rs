//! Messages: what is asked and what is answered (RFC 1035, 4).
//!
//! Rules of this file:
//! * `simple-dns` writes and reads; before it reads, [`walk`] has stepped over the whole message
//!   and knows that it is what its counts say, to the last octet. So a small message cannot make
//!   much work: records are bounded, and pointers lead backward only.
//! * Nothing of a server is believed: names come out escaped, and texts as octets.

use crate::name::{self, Name};
use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name as Wire, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Records of an answer at most. A name of two hundred addresses is a large one; every record may
/// cost a name of 255 octets, so this many are some hundred kilobytes.
pub const RECORDS_MAX: usize = 1024;
/// What we say that we take over UDP (RFC 6891): what fits each path unfragmented, by the DNS
/// flag day of 2020.
pub const EDNS_SIZE: u16 = 1232;
/// RFC 8767, 4: no answer is believed for longer than a week; the high bit means 0 (RFC 2181, 8).
const TTL_MAX: u32 = 7 * 24 * 3600;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// Addresses of IPv4.
    A,
    /// Addresses of IPv6 (RFC 3596).
    Aaaa,
    /// The name that this one stands for.
    Cname,
    /// Who takes mail.
    Mx,
    /// Texts.
    Txt,
    /// Where a service is (RFC 2782).
    Srv,
    /// Name servers.
    Ns,
    /// The name that an address has.
    Ptr,
    /// The beginning of a zone.
    Soa,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 9] = [
        Kind::A,
        Kind::Aaaa,
        Kind::Cname,
        Kind::Mx,
        Kind::Txt,
        Kind::Srv,
        Kind::Ns,
        Kind::Ptr,
        Kind::Soa,
    ];

    /// As zone files and `dig` write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Cname => "CNAME",
            Kind::Mx => "MX",
            Kind::Txt => "TXT",
            Kind::Srv => "SRV",
            Kind::Ns => "NS",
            Kind::Ptr => "PTR",
            Kind::Soa => "SOA",
        }
    }

    /// From its text, in either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }

    fn wire(self) -> TYPE {
        match self {
            Kind::A => TYPE::A,
            Kind::Aaaa => TYPE::AAAA,
            Kind::Cname => TYPE::CNAME,
            Kind::Mx => TYPE::MX,
            Kind::Txt => TYPE::TXT,
            Kind::Srv => TYPE::SRV,
            Kind::Ns => TYPE::NS,
            Kind::Ptr => TYPE::PTR,
            Kind::Soa => TYPE::SOA,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Data {
    /// An address of IPv4.
    A(Ipv4Addr),
    /// An address of IPv6.
    Aaaa(Ipv6Addr),
    /// The name that this one stands for.
    Cname(Name),
    /// Who takes mail: the least preference first.
    Mx(u16, Name),
    /// Strings of octets.
    Txt(Vec<Vec<u8>>),
    /// A service: priority, weight, port, target.
    Srv(u16, u16, u16, Name),
    /// A name server.
    Ns(Name),
    /// The name of an address.
    Ptr(Name),
    /// The zone's first server, who keeps it, and its serial, refresh, retry, expire and minimum:
    /// the last is how long a "no" holds, in seconds (RFC 2308).
    Soa(Name, Name, [u32; 5]),
}

impl Data {
    /// Which kind of question it answers.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Data::A(_) => Kind::A,
            Data::Aaaa(_) => Kind::Aaaa,
            Data::Cname(_) => Kind::Cname,
            Data::Mx(..) => Kind::Mx,
            Data::Txt(_) => Kind::Txt,
            Data::Srv(..) => Kind::Srv,
            Data::Ns(_) => Kind::Ns,
            Data::Ptr(_) => Kind::Ptr,
            Data::Soa(..) => Kind::Soa,
        }
    }
}

impl fmt::Display for Data {
    /// As zone files write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::A(ip) => ip.fmt(f),
            Data::Aaaa(ip) => ip.fmt(f),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => name.fmt(f),
            Data::Mx(preference, name) => write!(f, "{preference} {name}"),
            Data::Srv(priority, weight, port, name) => {
                write!(f, "{priority} {weight} {port} {name}")
            }
            Data::Soa(server, mail, [serial, refresh, retry, expire, minimum]) => {
                write!(f, "{server} {mail} {serial} {refresh} {retry} {expire} {minimum}")
            }
            Data::Txt(strings) => {
                for (n, string) in strings.iter().enumerate() {
                    f.write_str(if n > 0 { " \"" } else { "\"" })?;
                    for byte in string {
                        match byte {
                            b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                            0x20..=0x7e => write!(f, "{}", char::from(*byte))?,
                            _ => write!(f, "\\{byte:03}")?,
                        }
                    }
                    f.write_str("\"")?;
                }
                Ok(())
            }
        }
    }
}

/// One record of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Of whom it speaks.
    pub name: Name,
    /// How long it holds, in seconds.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// How a server answered (RFC 1035, 4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Code {
    /// It did.
    NoError,
    /// There is no such name.
    NxDomain,
    /// It could not find out.
    ServFail,
    /// It does not answer us.
    Refused,
    /// It did not understand us.
    FormErr,
    /// Something else.
    Other,
}

/// A message that is what its counts say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The number that questions and answers have in common.
    pub id: u16,
    /// It is an answer.
    pub response: bool,
    /// It did not fit, and is to be asked for over TCP.
    pub truncated: bool,
    /// How the server answered.
    pub code: Code,
    /// The records of the answer that are of a kind we know.
    pub records: Vec<Record>,
    /// RFC 2308, 5: how long a "no" holds, in seconds, if the zone says so.
    pub negative_ttl: Option<u32>,
    /// The labels of the question as they were written, and its kind; `None` unless it is one
    /// question of class IN.
    question: Option<(Vec<Vec<u8>>, TYPE)>,
}

/// A message that is none: pointers that lead nowhere, counts that lie, octets behind its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message is not a DNS message")
    }
}

impl std::error::Error for Malformed {}

/// A question on its way: what an answer must repeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) id: u16,
    kind: Kind,
    labels: Vec<Vec<u8>>,
}

/// Writes a question. `random` is two octets of the id, and bits for the case of the letters: the
/// 0x20 of draft-vixie-dnsext-dns0x20, which a forger has to guess too.
pub(crate) fn ask(name: &Name, kind: Kind, edns: bool, random: &[u8; 34]) -> (Asked, Vec<u8>) {
    let id = u16::from_be_bytes([random[0], random[1]]);
    let flip = |(n, c): (usize, char)| match random[2 + n / 8 % 32] >> (n % 8) & 1 {
        1 => c.to_ascii_uppercase(),
        _ => c,
    };
    let text: String = name.as_str().chars().enumerate().map(flip).collect();
    let wire = Wire::new(&text).unwrap_or_else(|_| Wire::new_unchecked(""));
    let labels = wire.as_bytes().map(<[u8]>::to_vec).collect();
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let (kind_, class) = (QTYPE::TYPE(kind.wire()), QCLASS::CLASS(CLASS::IN));
    packet.questions.push(Question::new(wire, kind_, class, false));
    if edns {
        let opt = OPT { opt_codes: Vec::new(), udp_packet_size: EDNS_SIZE, version: 0 };
        *packet.opt_mut() = Some(opt);
    }
    let bytes = packet.build_bytes_vec().unwrap_or_default();
    (Asked { id, kind, labels }, bytes)
}

impl Message {
    /// Reads a message, whole.
    ///
    /// # Errors
    /// It is none.
    pub fn read(bytes: &[u8]) -> Result<Message, Malformed> {
        let rdata = walk(bytes).ok_or(Malformed)?;
        let packet = Packet::parse(bytes).map_err(|_| Malformed)?;
        if packet.opcode() != OPCODE::StandardQuery {
            return Err(Malformed);
        }
        let question = match &packet.questions[..] {
            [one] => match (one.qtype, one.qclass) {
                (QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN)) => {
                    Some((one.qname.as_bytes().map(<[u8]>::to_vec).collect(), kind))
                }
                _ => None,
            },
            _ => None,
        };
        let soa = packet.name_servers.iter().find_map(|r| match &r.rdata {
            // RFC 2308, 5: the less of the record's own time and what it says.
            RData::SOA(soa) => Some(ttl(r.ttl).min(ttl(soa.minimum))),
            _ => None,
        });
        Ok(Message {
            id: packet.id(),
            response: packet.has_flags(PacketFlag::RESPONSE),
            truncated: packet.has_flags(PacketFlag::TRUNCATION),
            code: code(packet.rcode()),
            records: packet.answers.iter().zip(rdata).filter_map(|(r, at)| record(r, at)).collect(),
            negative_ttl: soa,
            question,
        })
    }

    /// Whether it answers this question: the id, the kind, and the name letter by letter.
    pub(crate) fn answers(&self, asked: &Asked) -> bool {
        let same = |(labels, kind): &(Vec<Vec<u8>>, TYPE)| {
            *labels == asked.labels && *kind == asked.kind.wire()
        };
        // Who does not understand us may not repeat the question; it says nothing else, either.
        let baffled = self.code == Code::FormErr && self.question.is_none();
        let question = self.question.as_ref().map_or(baffled, same);
        self.response && self.id == asked.id && question
    }
}

fn code(code: simple_dns::RCODE) -> Code {
    match code {
        simple_dns::RCODE::NoError => Code::NoError,
        simple_dns::RCODE::NameError => Code::NxDomain,
        simple_dns::RCODE::ServerFailure => Code::ServFail,
        simple_dns::RCODE::Refused => Code::Refused,
        simple_dns::RCODE::FormatError => Code::FormErr,
        _ => Code::Other,
    }
}

/// RFC 2181, 8: with the high bit it is 0.
fn ttl(seconds: u32) -> u32 {
    if seconds > i32::MAX as u32 { 0 } else { seconds.min(TTL_MAX) }
}

fn own(name: &Wire<'_>) -> Name {
    Name::from_labels(name.as_bytes())
}

/// RFC 1035, 3.3.14: strings, each behind its length.
fn strings(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut strings = Vec::new();
    while let Some((len, rest)) = bytes.split_first() {
        let (string, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        strings.push(string.to_vec());
        bytes = rest;
    }
    strings
}

fn record(r: &simple_dns::ResourceRecord<'_>, rdata: &[u8]) -> Option<Record> {
    if r.class != CLASS::IN {
        return None;
    }
    let data = match &r.rdata {
        RData::A(a) => Data::A(a.address.into()),
        RData::AAAA(a) => Data::Aaaa(a.address.into()),
        RData::CNAME(name) => Data::Cname(own(name)),
        RData::NS(name) => Data::Ns(own(name)),
        RData::PTR(name) => Data::Ptr(own(name)),
        RData::MX(mx) => Data::Mx(mx.preference, own(&mx.exchange)),
        RData::SRV(s) => Data::Srv(s.priority, s.weight, s.port, own(&s.target)),
        RData::SOA(s) => {
            // The library has three of them with a sign; the RFC does not.
            let [refresh, retry, expire] = [s.refresh, s.retry, s.expire].map(i32::cast_unsigned);
            let times = [s.serial, refresh, retry, expire, s.minimum];
            Data::Soa(own(&s.mname), own(&s.rname), times)
        }
        // The library's own list leaves some strings out.
        RData::TXT(_) => Data::Txt(strings(rdata)),
        _ => return None,
    };
    Some(Record { name: own(&r.name), ttl: ttl(r.ttl), data })
}

/// Octets, from the left.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl Cursor<'_> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) << 8 | usize::from(self.byte()?))
    }

    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        let at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        self.at = at;
        Some(())
    }
}

/// Steps over a message, and knows then that it ends where its counts say; the RDATA of each
/// record. Linear.
///
/// A question is `QNAME QTYPE QCLASS`, a record `NAME TYPE CLASS TTL RDLENGTH RDATA` (RFC 1035,
/// 4.1.2 and 4.1.3).
fn walk(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut cursor = Cursor { bytes, at: 4 };
    let (questions, mut records) = (cursor.number()?, 0);
    for _ in 0..3 {
        records += cursor.number()?;
    }
    if questions > 1 || records > RECORDS_MAX {
        return None;
    }
    for _ in 0..questions {
        name::skip(&mut cursor)?;
        cursor.skip(4)?;
    }
    let mut rdata = Vec::new();
    for _ in 0..records {
        name::skip(&mut cursor)?;
        cursor.skip(8)?;
        let len = cursor.number()?;
        let start = cursor.at;
        cursor.skip(len)?;
        rdata.push(&bytes[start..cursor.at]);
    }
    (cursor.at == bytes.len()).then_some(rdata)
}
