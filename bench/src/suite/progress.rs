//! Says what was found as it is found, and how long the rest will take.

use std::time::{Duration, Instant};

use super::judge;
use super::record::Point;

/// Steps and their expected times. The pace of those that are over corrects what is said of the rest.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    times: Vec<Duration>,
    done: usize,
}

impl Progress {
    /// Begins now.
    pub fn begin(times: Vec<Duration>) -> Self {
        Self { began: Instant::now(), times, done: 0 }
    }

    /// Says what will be done, and how long it takes.
    pub fn say(&self, what: &str) {
        eprintln!("{what}: about {}", minutes(self.times.iter().sum()));
    }

    /// A step is over; says what it has shown.
    pub fn step(&mut self, said: &str) {
        self.done += 1;
        let left = left(&self.times, self.done, self.began.elapsed());
        let count = self.times.len();
        eprintln!("[{:>width$}/{count}, {} left] {said}", self.done, minutes(left), width = count.to_string().len());
    }
}

/// What the rest takes if it goes on at the pace of what is over.
fn left(times: &[Duration], done: usize, elapsed: Duration) -> Duration {
    let (over, rest) = times.split_at(done);
    let (over, rest): (Duration, Duration) = (over.iter().sum(), rest.iter().sum());
    if over.is_zero() { rest } else { rest.mul_f64(elapsed.as_secs_f64() / over.as_secs_f64()) }
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    if seconds < 90 { format!("{seconds} s") } else { format!("{} min {:02} s", seconds / 60, seconds % 60) }
}

/// Sides beside what they are compared with, in a line.
pub fn describe(point: &Point) -> String {
    let mut said = Vec::new();
    for place in point.places() {
        let mut parts = Vec::new();
        for side in &point.sides {
            let Some(base) = &side.against else { continue };
            for pair in judge::pairs(point, &side.name, base).iter().filter(|pair| pair.place == place) {
                parts.push(format!("{} {:.0} k, {:.2} of {base}", side.name, pair.side.run.iops / 1e3, pair.ratio()));
            }
        }
        if !parts.is_empty() {
            said.push(format!("{} ({place})", parts.join("; ")));
        }
    }
    if said.is_empty() { "nothing to compare".into() } else { said.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{point, side};
    use super::*;

    #[test]
    fn the_rest_goes_at_the_pace_of_what_is_over() {
        let seconds = Duration::from_secs;
        let times = [seconds(10), seconds(20), seconds(30)];
        assert_eq!(left(&times, 0, seconds(0)), seconds(60));
        assert_eq!(left(&times, 1, seconds(20)), seconds(100));
        assert_eq!(left(&times, 3, seconds(50)), seconds(0));
        assert_eq!((minutes(seconds(89)), minutes(seconds(125))), ("89 s".into(), "2 min 05 s".into()));
    }

    #[test]
    fn a_point_is_told_in_a_line() {
        let sides = vec![side("split", Some("limit"), &[5e5], "apart"), side("limit", None, &[1e6], "apart")];
        assert_eq!(describe(&point("depth", "null", 1, 1, sides)), "split 500 k, 0.50 of limit (apart)");
        assert_eq!(describe(&point("depth", "null", 1, 1, Vec::new())), "nothing to compare");
    }
}
