//! Inside a program that is not Rust's: there a write to a stream that is closed is a signal, and
//! by default death. Alone in its file, since a signal's action is the whole process's.
#![allow(unsafe_code)]

use loopwork_reactor::{Address, Id, ListenOptions, Os, Ready, Streams, World};
use std::fs::File;
use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

fn id(birth: u64) -> Id {
    Id { birth, slot: birth as u32, driver: 0 }
}

/// Writes until the world says that the peer is gone.
fn write_to_the_gone(at: &Address) {
    let mut os = Os::new().unwrap();
    let (listener, at) = os.listen(at, &ListenOptions::default(), id(1)).unwrap();
    let client = os.connect(&at, None, id(2)).unwrap();
    let (until, mut ready) = (os.now().after(Duration::from_secs(30)), Vec::<Ready>::new());
    let server = loop {
        match os.accept(listener, id(3)) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => os.poll(Some(until), &mut ready),
            other => break other.unwrap().0,
        }
        .unwrap();
        assert!(os.now() < until);
    };
    os.close(client);
    let error = loop {
        match os.write(server, b"anybody?") {
            Ok(_) => {
                let soon = os.now().after(Duration::from_millis(5));
                os.poll(Some(soon), &mut ready).unwrap();
            }
            Err(e) => break e,
        }
        assert!(os.now() < until);
    };
    assert!(
        matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{error} at {at}"
    );
    assert_eq!(os.write(server, b"?").unwrap_err().kind(), ErrorKind::BrokenPipe);
    // Ours is ended: the same.
    let _ = os.shutdown(server);
    assert_eq!(os.write(server, b"?").unwrap_err().kind(), ErrorKind::BrokenPipe);
    let slices = [IoSlice::new(b"some"), IoSlice::new(b"body?")];
    assert_eq!(os.write_vectored(server, &slices).unwrap_err().kind(), ErrorKind::BrokenPipe);
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(os.send_file(server, &file, 0, 100).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn hostile_13_a_write_to_a_closed_peer_is_an_error_and_no_signal() {
    // SAFETY: no handler is installed; the action goes back to the system's default, as a program
    // in C has it.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
    write_to_the_gone(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into());
    let name = format!("\0loopwork-sigpipe-{}", std::process::id());
    write_to_the_gone(&Address::Unix(name.into()));
}
