//! Which CPU serves which request queue: `0:2,1-3:3`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::cpumask::parse_cpu;
use super::{ConfigError, MAX_QUEUES};

/// Request queues, counted from 0, whose CPU the user chose. The others are dealt out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueCpus(BTreeMap<u16, usize>);

impl QueueCpus {
    /// The CPU that was chosen for a request queue.
    pub fn of(&self, queue: u16) -> Option<usize> {
        self.0.get(&queue).copied()
    }

    /// Each request queue that was named, ascending, with its CPU.
    pub fn iter(&self) -> impl Iterator<Item = (u16, usize)> {
        self.0.iter().map(|(&queue, &cpu)| (queue, cpu))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut homes = BTreeMap::new();
        for item in text.split(',').map(str::trim) {
            let (queues, cpu) = item.split_once(':').ok_or_else(|| format!("'{item}' is not QUEUE:CPU"))?;
            let cpu = parse_cpu(cpu)?;
            for queue in parse_queues(queues)? {
                if homes.insert(queue, cpu).is_some() {
                    return Err(format!("queue {queue} stands twice"));
                }
            }
        }
        Ok(Self(homes))
    }
}

impl FromStr for QueueCpus {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text).map_err(|why| ConfigError::QueueCpus { text: text.into(), why })
    }
}

fn parse_queues(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_queue(first)?, parse_queue(last)?);
    if first > last {
        return Err(format!("the range '{text}' runs backwards"));
    }
    Ok(first..=last)
}

fn parse_queue(text: &str) -> Result<u16, String> {
    let queue: u16 = text.trim().parse().map_err(|_| format!("'{text}' is not the number of a queue"))?;
    if queue >= MAX_QUEUES {
        return Err(format!("request queues end at {}", MAX_QUEUES - 1));
    }
    Ok(queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_and_ranges_of_them() {
        for (text, homes) in [
            ("0:2", vec![(0, 2)]),
            ("1:3, 0:2", vec![(0, 2), (1, 3)]),
            ("0-2:1,3:0", vec![(0, 1), (1, 1), (2, 1), (3, 0)]),
            ("63:1023", vec![(63, 1023)]),
        ] {
            let found: QueueCpus = text.parse().unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), homes, "{text}");
            assert!(homes.iter().all(|&(queue, cpu)| found.of(queue) == Some(cpu)), "{text}");
            assert_eq!(found.of(9), None);
        }
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        for (text, why) in [
            ("", "'' is not QUEUE:CPU"),
            ("2,3", "'2' is not QUEUE:CPU"),
            ("a:1", "'a' is not the number of a queue"),
            ("0:a", "'a' is not a CPU number"),
            ("0:1024", "end at 1023"),
            ("64:0", "end at 63"),
            ("3-1:0", "backwards"),
            ("0-2:0,1:1", "queue 1 stands twice"),
        ] {
            let error = text.parse::<QueueCpus>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
