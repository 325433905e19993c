//! Sizes and durations as people write them.

use std::time::Duration;

/// Bytes from `4096`, `512K`, `64M`, `10G`, `1T` (powers of 1024, an `iB` or `B` behind them is ignored).
///
/// # Errors
/// What is wrong with the text, and how it is written.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let hint = || format!("'{text}' is not a size; write bytes, or a number with K, M, G, T or P (size=10G)");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| hint())?;
    let unit = unit.to_ascii_uppercase();
    let unit = unit.strip_suffix("IB").or(unit.strip_suffix('B')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        _ => return Err(hint()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is more than 2^64 bytes"))
}

/// A duration from `60s`, `5ms`, `100us`, `250ns`; at most a day in seconds.
///
/// # Errors
/// What is wrong with the text, and how it is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let hint = || format!("'{text}' is not a duration; write a number with ns, us, ms or s (delay=5ms)");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| hint())?;
    match unit {
        "ns" => Ok(Duration::from_nanos(number)),
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" if number <= 86_400 => Ok(Duration::from_secs(number)),
        "s" => Err(format!("'{text}' is more than a day")),
        _ => Err(hint()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("4k", 4096), ("1MiB", 1 << 20), ("10G", 10 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "1.5G", "-1", "1X", "1 G", "20000P"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(parse_duration("7us"), Ok(Duration::from_micros(7)));
        for text in ["", "5", "s", "5m", "99999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
