//! What a user of tokio writes: a task for each connection, on one thread.

use super::{BUFFER, Service};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A buffer for small messages: each connection has one of its own, so it is not a large one.
/// This is what tokio's own example of an echo takes.
const SMALL: usize = 1024;

pub(super) fn run(service: Service) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?.port());
        let local = tokio::task::LocalSet::new();
        let accept = async {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // Who breaks off ends its own task.
                match service {
                    Service::Echo => drop(tokio::task::spawn_local(echo(stream, SMALL))),
                    Service::Stream => drop(tokio::task::spawn_local(echo(stream, BUFFER))),
                    Service::Sink => drop(tokio::task::spawn_local(sink(stream))),
                }
            }
        };
        local.run_until(accept).await
    })
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn sink(mut stream: TcpStream) -> io::Result<()> {
    let (mut buffer, mut total) = (vec![0; BUFFER], 0u64);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.write_all(&total.to_le_bytes()).await,
            n => total += n as u64,
        }
    }
}
