//! A single-threaded event loop one can read in a sitting: poll, timers, wakes, signals, and the World behind it.
