//! A simulated World for loopwork: one seed, virtual time, cuts, delay, loss and resets.
