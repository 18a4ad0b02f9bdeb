//! UDP datagrams in batches on the loopwork reactor.
