//! Virtqueues: the split ring, descriptor chains.
