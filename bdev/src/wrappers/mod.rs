//! Devices around a device: each in one file, over any backend and over each other.
//!
//! A wrapper has the channel of the device inside as its own, counts its operations under that channel's name, and passes
//! on what it does not change, operations on space and limits included.

pub mod delay;
pub mod error;
pub mod split;
