//! TCP and Unix streams on the loopwork reactor: listen, connect, backpressure, half-close, timeouts.
