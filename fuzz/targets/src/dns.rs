//! The target of DNS: what any server may send.

use loopwork_dns::{Message, RECORDS_MAX};

/// One message, as a server sends it.
pub fn dns_message(data: &[u8]) {
    let Ok(message) = Message::read(data) else { return };
    assert!(message.records.len() <= RECORDS_MAX);
    for record in &message.records {
        let text = format!("{} {} {}", record.name, record.data.kind(), record.data);
        assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text:?}");
    }
    // It is whole: neither a part of it nor more than it is a message.
    assert!(Message::read(&data[..data.len() - 1]).is_err());
    assert!(Message::read(&[data, b"\0"].concat()).is_err());
}
