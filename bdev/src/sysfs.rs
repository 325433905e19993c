//! Values of sysfs: a file each, which holds a word and the end of its line.
//!
//! The kernel tells of some things and not of others: what is not there, or is nothing of the kind that was asked for, is
//! absent, never an error. Used where disks are opened.

use std::path::Path;
use std::str::FromStr;

/// The words in a file.
pub(crate) fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A number that fits its type.
pub(crate) fn number<T: FromStr>(path: &Path) -> Option<T> {
    text(path)?.parse().ok()
}

/// Whether a flag is there and set.
pub(crate) fn flag(path: &Path) -> bool {
    number::<u64>(path).is_some_and(|value| value != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_a_word_a_number_or_a_flag() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value");
        assert_eq!((text(&path), number::<u64>(&path), flag(&path)), (None, None, false), "no file");
        for (value, is_number, is_set) in
            [("write back\n", None, false), ("0\n", Some(0), false), ("1\n", Some(1), true), ("", None, false)]
        {
            std::fs::write(&path, value).unwrap();
            assert_eq!(text(&path).as_deref(), Some(value.trim()));
            assert_eq!((number::<u32>(&path), flag(&path)), (is_number, is_set), "{value:?}");
        }
        std::fs::write(&path, "4294967296\n").unwrap();
        assert_eq!((number::<u32>(&path), number::<u64>(&path)), (None, Some(1 << 32)));
    }
}
