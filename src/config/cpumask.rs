//! CPU masks: `0x5`, `[0,2-3]`.

use std::str::FromStr;

use super::ConfigError;

/// Highest CPU that a mask can name: what `cpu_set_t` holds.
const MAX_CPUS: usize = 1024;

/// A set of CPUs: not empty, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSet(Vec<usize>);

impl CpuSet {
    /// The set of one CPU.
    pub fn single(cpu: usize) -> Self {
        Self(vec![cpu])
    }

    /// The CPUs, ascending.
    pub fn cpus(&self) -> &[usize] {
        &self.0
    }
}

impl FromStr for CpuSet {
    type Err = ConfigError;

    fn from_str(mask: &str) -> Result<Self, ConfigError> {
        let parsed = match (mask.strip_prefix("0x").or(mask.strip_prefix("0X")), mask.strip_prefix('[')) {
            (Some(hex), _) => parse_hex(hex),
            (_, Some(list)) => list.strip_suffix(']').ok_or("the ']' is missing".to_string()).and_then(parse_list),
            _ => Err("it is neither a mask nor a list".into()),
        };
        let mut cpus = parsed.map_err(|why| ConfigError::CpuMask { mask: mask.into(), why })?;
        cpus.sort_unstable();
        cpus.dedup();
        if cpus.is_empty() {
            return Err(ConfigError::CpuMask { mask: mask.into(), why: "it names no CPU".into() });
        }
        Ok(Self(cpus))
    }
}

impl std::fmt::Display for CpuSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cpus: Vec<String> = self.0.iter().map(usize::to_string).collect();
        write!(f, "[{}]", cpus.join(","))
    }
}

fn parse_hex(hex: &str) -> Result<Vec<usize>, String> {
    if hex.len() > MAX_CPUS / 4 {
        return Err(format!("CPUs end at {}", MAX_CPUS - 1));
    }
    let mut cpus = Vec::new();
    for (position, digit) in hex.chars().rev().enumerate() {
        let bits = digit.to_digit(16).ok_or_else(|| format!("'{digit}' is not a hexadecimal digit"))?;
        cpus.extend((0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit| position * 4 + bit));
    }
    Ok(cpus)
}

fn parse_list(list: &str) -> Result<Vec<usize>, String> {
    let mut cpus = Vec::new();
    for item in list.split(',').map(str::trim) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (parse_cpu(first)?, parse_cpu(last)?);
        if first > last {
            return Err(format!("the range '{item}' runs backwards"));
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

pub(super) fn parse_cpu(text: &str) -> Result<usize, String> {
    let cpu: usize = text.trim().parse().map_err(|_| format!("'{text}' is not a CPU number"))?;
    if cpu >= MAX_CPUS {
        return Err(format!("CPUs end at {}", MAX_CPUS - 1));
    }
    Ok(cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_lists() {
        for (text, cpus) in [
            ("0x1", vec![0]),
            ("0X5", vec![0, 2]),
            ("0x100000000000000000", vec![68]),
            ("[0,2-3]", vec![0, 2, 3]),
            ("[3, 1 ,1]", vec![1, 3]),
        ] {
            assert_eq!(text.parse::<CpuSet>().map(|set| set.0), Ok(cpus), "{text}");
        }
    }

    #[test]
    fn bad_masks_say_what_is_wrong() {
        for (text, why) in [
            ("", "neither"),
            ("3", "neither"),
            ("0x", "names no CPU"),
            ("0x0", "names no CPU"),
            ("0xg", "'g'"),
            ("[0", "']'"),
            ("[]", "not a CPU number"),
            ("[3-1]", "backwards"),
            ("[1024]", "end at 1023"),
            ("[-1]", "not a CPU number"),
        ] {
            let error = text.parse::<CpuSet>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
