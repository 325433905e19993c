//! Pinned busy-poll threads, one a CPU.
