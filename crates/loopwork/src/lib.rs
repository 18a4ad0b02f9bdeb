//! The loopwork crates under one name: event loop, TCP, UDP, HTTP and WebSocket.
