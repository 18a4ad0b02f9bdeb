//! Descriptors from process to process: what is sent arrives, is owned, and none is lost.

use loopwork_reactor::{DESCRIPTORS_MAX, receive_descriptors, send_descriptors};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair")
}

/// A file without a name, with something in it.
fn file(text: &str) -> File {
    let path = std::env::temp_dir().join(format!("loopwork-pass-{}-{text}", std::process::id()));
    let mut file =
        File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn text(fd: OwnedFd) -> String {
    let (mut file, mut text) = (File::from(fd), String::new());
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn descriptors_arrive_with_their_bytes_and_in_order() {
    let (one, other) = pair();
    let (a, b, c) = (file("a"), file("b"), file("c"));
    assert_eq!(send_descriptors(&one, b"first", &[a.as_fd(), b.as_fd()]).unwrap(), 5);
    assert_eq!(send_descriptors(&one, b"second", &[c.as_fd()]).unwrap(), 6);
    assert_eq!(send_descriptors(&one, b"third", &[]).unwrap(), 5);
    drop((a, b, c));
    let (mut bytes, mut all) = ([0; 64], Vec::new());
    assert_eq!(receive_descriptors(&other, &mut bytes, &mut all).unwrap(), 5);
    assert_eq!((&bytes[..5], all.len()), (&b"first"[..], 2));
    // Bytes without descriptors may come along, those with others may not.
    let mut rest = Vec::new();
    while rest.len() < 11 {
        let n = receive_descriptors(&other, &mut bytes, &mut all).unwrap();
        rest.extend_from_slice(&bytes[..n]);
    }
    assert_eq!(rest, b"secondthird");
    assert_eq!(all.into_iter().map(text).collect::<Vec<_>>(), ["a", "b", "c"]);
    let mut none = Vec::new();
    let waits = receive_descriptors(&other, &mut bytes, &mut none).unwrap_err();
    assert_eq!(waits.kind(), ErrorKind::WouldBlock, "also of a socket that would block");
    drop(one);
    assert_eq!(receive_descriptors(&other, &mut bytes, &mut none).unwrap(), 0, "the end");
    assert!(none.is_empty());
}

#[test]
fn a_message_takes_so_many_and_carries_one_byte_at_least() {
    let (one, other) = pair();
    let file = file("many");
    let many = [file.as_fd(); DESCRIPTORS_MAX + 1];
    let kind = |sent: std::io::Result<usize>| sent.unwrap_err().kind();
    assert_eq!(kind(send_descriptors(&one, b"x", &many)), ErrorKind::InvalidInput);
    assert_eq!(kind(send_descriptors(&one, b"", &many[1..])), ErrorKind::InvalidInput);
    assert_eq!(send_descriptors(&one, b"x", &many[1..]).unwrap(), 1);
    let mut all = Vec::new();
    assert_eq!(receive_descriptors(&other, &mut [0; 8], &mut all).unwrap(), 1);
    assert_eq!(all.len(), DESCRIPTORS_MAX);
    for fd in &all {
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
        let flags = flags.unwrap();
        let octal = flags.lines().find_map(|l| l.strip_prefix("flags:\t")).unwrap();
        assert_ne!(u32::from_str_radix(octal, 8).unwrap() & 0o2_000_000, 0, "closed on exec");
    }
}

/// A peer that sends more than is taken gains nothing, and we hold nothing.
#[test]
fn more_than_is_taken_is_an_error_and_none_is_kept() {
    let (one, other) = pair();
    let file = file("too-many");
    let numbers: Vec<u8> =
        (0..=DESCRIPTORS_MAX).flat_map(|_| file.as_raw_fd().to_ne_bytes()).collect();
    // As no honest sender of this crate does: a message made by hand.
    let size = 16 + numbers.len();
    let mut control = size.to_ne_bytes().to_vec();
    control.extend(libc::SOL_SOCKET.to_ne_bytes());
    control.extend(libc::SCM_RIGHTS.to_ne_bytes());
    control.extend(&numbers);
    control.resize(size.next_multiple_of(8), 0);
    let bytes = [std::io::IoSlice::new(b"x")];
    let message = socket2::MsgHdr::new().with_buffers(&bytes).with_control(&control);
    socket2::SockRef::from(&one).sendmsg(&message, 0).unwrap();
    let mut all = vec![OwnedFd::from(file)];
    let error = receive_descriptors(&other, &mut [0; 8], &mut all).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(all.len(), 1, "those from before stay");
}

#[test]
fn a_peer_that_is_gone_or_full_is_an_error_and_no_signal() {
    let (one, other) = pair();
    let file = file("gone");
    while send_descriptors(&one, &[7; 4096], &[file.as_fd()]).is_ok() {}
    let full = send_descriptors(&one, b"x", &[file.as_fd()]).unwrap_err();
    // So many may be under way: the kernel counts them too.
    assert!(full.kind() == ErrorKind::WouldBlock || full.raw_os_error() == Some(109), "{full}");
    drop(other);
    let gone = send_descriptors(&one, b"x", &[file.as_fd()]).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
}
