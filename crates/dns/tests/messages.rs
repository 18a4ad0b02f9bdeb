//! Messages that are what their counts say, and all that are not.

use loopwork_dns::{Code, Data, Kind, Malformed, Message, Name, RECORDS_MAX};
use proptest::prelude::*;
use simple_dns::rdata::{A, MX, RData, SOA};
use simple_dns::{CLASS, Name as Wire, Packet, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

/// A header with these counts: an answer with id 7.
fn head(questions: u16, answers: u16) -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x81, 0x80];
    bytes.extend(questions.to_be_bytes());
    bytes.extend(answers.to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// TYPE, CLASS, TTL and RDLENGTH, then these octets.
fn rest(kind: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let length = (rdata.len() as u16).to_be_bytes();
    [&kind.to_be_bytes()[..], &[0, 1], &ttl.to_be_bytes(), &length, rdata].concat()
}

fn read(parts: &[&[u8]]) -> Result<Message, Malformed> {
    Message::read(&parts.concat())
}

fn whole() -> Vec<u8> {
    let name = Wire::new("www.example.org").unwrap();
    let mut packet = Packet::new_reply(7);
    let (kind, class) = (QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN));
    packet.questions.push(Question::new(name.clone(), kind, class, false));
    let mx = RData::MX(MX { preference: 10, exchange: Wire::new("mx.example.org").unwrap() });
    for rdata in [RData::A(A { address: 0xc000_0201 }), mx] {
        packet.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, rdata));
    }
    let (mname, rname) = (name.clone(), name.clone());
    let soa = SOA { mname, rname, serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 30 };
    let soa = ResourceRecord::new(name.clone(), CLASS::IN, 60, RData::SOA(soa));
    packet.name_servers.push(soa);
    packet.build_bytes_vec_compressed().unwrap()
}

#[test]
fn a_whole_message_is_read_and_no_part_of_it() {
    let bytes = whole();
    let message = Message::read(&bytes).unwrap();
    let name = |text| Name::new(text).unwrap();
    assert_eq!((message.id, message.code, message.truncated), (7, Code::NoError, false));
    assert_eq!(message.negative_ttl, Some(30));
    let data: Vec<Data> = message.records.iter().map(|r| r.data.clone()).collect();
    assert_eq!(data, [Data::A([192, 0, 2, 1].into()), Data::Mx(10, name("mx.example.org"))]);
    assert!(message.records.iter().all(|r| r.name == name("WWW.example.org.") && r.ttl == 60));
    for cut in 0..bytes.len() {
        assert_eq!(Message::read(&bytes[..cut]), Err(Malformed), "cut at {cut}");
    }
    assert_eq!(read(&[&bytes, b"\0"]), Err(Malformed), "an octet behind the end");
}

#[test]
fn hostile_73_pointers_lead_back_and_names_are_short() {
    let a = rest(1, 60, &[192, 0, 2, 1]);
    let loops = [
        read(&[&head(0, 1), &[0xc0, 12], &a]),
        read(&[&head(0, 1), &[0xc0, 14], &a]),
        read(&[&head(0, 1), &[1, b'a', 0xc0, 12], &a]),
        // The record's name leads into the data of another, which leads to itself, or round.
        read(&[&head(0, 2), b"\0", &rest(16, 60, &[0xc0, 23]), &[0xc0, 23], &a]),
        read(&[&head(0, 2), b"\0", &rest(16, 60, &[1, b'a', 0xc0, 23]), &[0xc0, 23], &a]),
    ];
    assert_eq!(loops, [const { Err(Malformed) }; 5]);
    for reserved in [0x40, 0x80] {
        let label = [&[reserved | 1, b'a', 0][..], &[b'a'; 64]].concat();
        assert_eq!(read(&[&head(0, 1), &label, &a]), Err(Malformed), "{reserved:x}");
    }
    // 127 labels of one octet and the root are 255 octets; one more is too many.
    let labels = |count: usize| [b"\x01a".repeat(count), vec![0]].concat();
    assert!(read(&[&head(0, 1), &labels(127), &a]).is_ok());
    assert_eq!(read(&[&head(0, 1), &labels(128), &a]), Err(Malformed));
}

#[test]
fn hostile_74_counts_that_lie_and_lists_without_end() {
    let record = [&[0][..], &rest(1, 60, &[192, 0, 2, 1])].concat();
    assert_eq!(read(&[&head(0, u16::MAX), &record]), Err(Malformed));
    assert_eq!(read(&[&head(2, 0), &[0, 0, 1, 0, 1], &[0, 0, 1, 0, 1]]), Err(Malformed));
    let many = |count: usize| [head(0, count as u16), record.repeat(count)].concat();
    assert_eq!(Message::read(&many(RECORDS_MAX)).unwrap().records.len(), RECORDS_MAX);
    assert_eq!(Message::read(&many(RECORDS_MAX + 1)), Err(Malformed));
    for (ttl, is) in [(0, 0), (u32::MAX, 0), (i32::MAX as u32, 7 * 24 * 3600)] {
        let message = read(&[&head(0, 1), &[0], &rest(1, ttl, &[192, 0, 2, 1])]).unwrap();
        assert_eq!(message.records[0].ttl, is);
    }
}

#[test]
fn hostile_75_what_a_server_sends_is_shown_escaped() {
    let texts = [&[0][..], &rest(16, 60, b"\x02=a\x00\x05\x1b[2J\"")].concat();
    let message = read(&[&head(0, 1), &texts]).unwrap();
    assert_eq!(message.records[0].data.to_string(), "\"=a\" \"\" \"\\027[2J\\\"\"");
    let alias = [&[0][..], &rest(5, 60, b"\x04\x1b.\n \0")].concat();
    let message = read(&[&head(0, 1), &alias]).unwrap();
    assert_eq!(message.records[0].data.to_string(), "\\027\\.\\010\\032.");
}

#[test]
fn kinds_have_names() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(&kind.to_string().to_lowercase()), Some(kind));
    }
    assert_eq!(Kind::parse("ANY"), None);
}

/// Places, and what is put there.
fn turns() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)
}

proptest! {
    /// Nothing that comes makes it panic, and what it gives can be printed as plain ASCII.
    #[test]
    fn bytes_of_any_kind(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::read(&bytes);
    }

    #[test]
    fn a_message_with_octets_turned(turns in turns()) {
        let mut bytes = whole();
        for (at, to) in turns {
            let len = bytes.len();
            bytes[at % len] = to;
        }
        if let Ok(message) = Message::read(&bytes) {
            for record in message.records {
                let text = format!("{} {}", record.name, record.data);
                prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text:?}");
            }
        }
    }
}
