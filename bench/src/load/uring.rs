//! The same work straight on io_uring: the limit of a backend.
//!
//! A ring for each queue, polled by its thread; what a pass makes is submitted at once. Buffers belong to the ring and
//! outlive it.
#![allow(unsafe_code)]
