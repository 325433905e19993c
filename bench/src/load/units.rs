//! Sizes, durations, CPU lists and block size splits as fio writes them.

use std::time::Duration;

/// Bytes from `512`, `4k`, `1m`, `10G` (powers of 1024).
///
/// # Errors
/// What is wrong with the text.
pub fn size(text: &str) -> Result<u64, String> {
    let hint = || format!("'{text}' is not a size: write bytes, or a number with k, m, g or t (4k)");
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| hint())?;
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(hint()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is more than 2^64 bytes"))
}

/// Bytes of one request: a [`size`] that is not 0 and below 2 GiB.
///
/// # Errors
/// As above.
pub fn block_size(text: &str) -> Result<u32, String> {
    match size(text)? {
        bytes @ 1..=0x7FFF_FFFF => Ok(bytes as u32),
        bytes => Err(format!("a request of {bytes} bytes is not possible")),
    }
}

/// A duration from `10`, `10s`, `500ms`, `250us`, `2m`, `1h`, `1d`; seconds without a unit.
///
/// # Errors
/// As above.
pub fn duration(text: &str) -> Result<Duration, String> {
    let hint = || format!("'{text}' is not a duration: write a number with us, ms, s, m, h or d (10s)");
    let (number, unit) = split(text);
    let number = u64::from(number.parse::<u32>().map_err(|_| hint())?);
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 60 * 60)),
        "d" => Ok(Duration::from_secs(number * 24 * 60 * 60)),
        _ => Err(hint()),
    }
}

/// A [`duration`] in which something can be measured.
///
/// # Errors
/// As above.
pub fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("nothing can be measured in no time".into()),
        some => Ok(some),
    }
}

/// Entries of a virtqueue: a power of two, as split rings must have (virtio 1.2, 2.7), with room for a chain.
///
/// # Errors
/// As above.
pub fn queue_size(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(entries @ 4..=32768) if entries.is_power_of_two() => Ok(entries),
        _ => Err(format!("'{text}' is no size of a queue: write a power of two from 4 to 32768")),
    }
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len())
}

/// CPU numbers from `0`, `0,2-3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

impl std::str::FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.parse::<usize>(), last.parse::<usize>()) {
                (Ok(first), Ok(last)) if first <= last && last < 1024 => cpus.extend(first..=last),
                _ => return Err(format!("'{text}' is no list of CPUs: write 0 or 0,2-3")),
            }
        }
        Ok(Self(cpus))
    }
}

/// Request sizes and how often each comes, in percent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split(pub Vec<(u32, u8)>);

impl std::str::FromStr for Split {
    type Err = String;

    /// Reads `4k/60:64k/40`. Parts without a percentage share what is left.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in text.split(':') {
            let (bytes, percent) = part.split_once('/').unwrap_or((part, ""));
            let percent = match percent {
                "" => None,
                number => match number.parse::<u8>() {
                    Ok(percent) if percent <= 100 => Some(percent),
                    _ => return Err(format!("'{number}' in '{text}' is no percentage")),
                },
            };
            parts.push((block_size(bytes)?, percent));
        }
        let given: u32 = parts.iter().filter_map(|&(_, percent)| percent).map(u32::from).sum();
        let open = parts.iter().filter(|(_, percent)| percent.is_none()).count() as u32;
        if given > 100 || (open == 0 && given != 100) {
            return Err(format!("the percentages in '{text}' sum up to {given}"));
        }
        let (mut left, mut open) = (100 - given, open);
        let parts = parts.into_iter().map(|(bytes, percent)| {
            let percent = percent.unwrap_or_else(|| {
                let share = left / open;
                (left, open) = (left - share, open - 1);
                share as u8
            });
            (bytes, percent)
        });
        Ok(Self(parts.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations() {
        for (text, bytes) in [("512", 512), ("4k", 4096), ("4KiB", 4096), ("1m", 1 << 20), ("2T", 2 << 40)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "4x", "-1", "1.5k", "99999999999t"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["0", "2g"] {
            assert!(block_size(text).is_err(), "{text}");
        }
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("4294967295d"), Ok(Duration::from_secs(4_294_967_295 * 86_400)));
        for text in ["", "s", "1w", "-1s", "4294967296"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(some_time("1ms"), Ok(Duration::from_millis(1)));
        assert!(some_time("0").is_err() && some_time("0ms").is_err());
    }

    #[test]
    fn queues_have_powers_of_two() {
        for (text, entries) in [("4", 4), ("256", 256), ("32768", 32768)] {
            assert_eq!(queue_size(text), Ok(entries));
        }
        for text in ["0", "2", "5", "1000", "65536", "x"] {
            assert!(queue_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpu_lists() {
        assert_eq!("0,2-4".parse(), Ok(CpuList(vec![0, 2, 3, 4])));
        for text in ["", "a", "3-1", "0-4096"] {
            assert!(text.parse::<CpuList>().is_err(), "{text}");
        }
    }

    #[test]
    fn splits_sum_up_to_a_hundred() {
        assert_eq!("4k/60:64k/40".parse(), Ok(Split(vec![(4096, 60), (65536, 40)])));
        assert_eq!("4k/50:8k:16k".parse(), Ok(Split(vec![(4096, 50), (8192, 25), (16384, 25)])));
        assert_eq!("512:1k:2k".parse(), Ok(Split(vec![(512, 33), (1024, 33), (2048, 34)])));
        for text in ["4k/60", "4k/60:8k/50", "4k/101", "x/100", "4k/"] {
            let parsed = text.parse::<Split>();
            assert_eq!(parsed.is_ok(), text == "4k/", "{text}: {parsed:?}");
        }
    }
}
