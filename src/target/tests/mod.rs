//! The room under a test's hand: cores stepped one pass at a time on one thread, with a clock, disks and guests that do
//! what the test says, in the order that it says.

mod aca;
mod at_once;
mod attributes;
mod bed;
mod behind;
mod book;
mod caching;
mod controller;
mod copies;
mod counted;
mod far;
mod fences;
mod guest;
mod jobs;
mod live_luns;
mod long;
mod model;
mod put_back;
mod queues;
mod remote;
mod requests;
mod resting;
mod rights;
mod seed;
mod settings;
mod sharing;
mod sim_disk;
mod simulation;
mod tasks;
mod thresholds;
mod tokens;
mod unit;
