//! `nc -x`: what passes, in hexadecimal, on stderr.
//!
//! Rule: it shows, and changes nothing: stdout has the same bytes with it and without.

use std::io::{self, Write};

/// Bytes of a line.
const WIDTH: usize = 16;

/// Shows both directions, each with its own count of bytes.
#[derive(Default)]
pub(super) struct Dump {
    sent: u64,
    heard: u64,
}

impl Dump {
    /// What goes to the peer.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        show(&lines('>', &mut self.sent, bytes));
    }

    /// What comes from the peer.
    pub(super) fn heard(&mut self, bytes: &[u8]) {
        show(&lines('<', &mut self.heard, bytes));
    }
}

fn show(text: &str) {
    // Whoever closed stderr does not want to see it.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn lines(mark: char, offset: &mut u64, bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(WIDTH) {
        text.push_str(&one(mark, *offset, line));
        *offset += line.len() as u64;
    }
    text
}

/// One line: the direction, where it is in its stream, the bytes, and those that are letters.
fn one(mark: char, offset: u64, bytes: &[u8]) -> String {
    let mut text = format!("{mark} {offset:08x} ");
    for i in 0..WIDTH {
        let gap = if i % 8 == 0 { " " } else { "" };
        match bytes.get(i) {
            Some(byte) => text.push_str(&format!("{gap}{byte:02x} ")),
            None => text.push_str(&format!("{gap}   ")),
        }
    }
    let visible = |b: &u8| if (b' '..=b'~').contains(b) { *b as char } else { '.' };
    text.push_str(" |");
    text.extend(bytes.iter().map(visible));
    text + "|\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_shape_of_hexdump() {
        assert_eq!(
            one('>', 16, b"GET / HTTP/1.1\r\n"),
            "> 00000010  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  |GET / HTTP/1.1..|\n"
        );
        assert_eq!(
            one('<', 0, "é".as_bytes()),
            "< 00000000  c3 a9                                             |..|\n"
        );
    }

    #[test]
    fn lines_go_on_where_the_last_one_ended() {
        let mut offset = 0;
        let text = lines('>', &mut offset, &[0; 20]);
        assert_eq!((offset, text.lines().count()), (20, 2));
        assert!(text.contains("\n> 00000010  00 00 00 00  "), "{text}");
        assert!(lines('>', &mut offset, b"a").starts_with("> 00000014  61 "));
    }
}
