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

/// Requests that the driver of the block device in the folder `disk` takes at once, in all of its queues; 0 of one that hands
/// requests on to others, or does not say.
pub(crate) fn queue_depth(disk: &Path) -> u32 {
    let each = number::<u32>(&disk.join("queue/nr_requests")).unwrap_or(0);
    let queues = std::fs::read_dir(disk.join("mq")).map_or(0, |queues| queues.flatten().count());
    each.saturating_mul(u32::try_from(queues).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_takes_as_many_requests_as_all_of_its_queues() {
        let disk = tempfile::tempdir().unwrap();
        std::fs::create_dir(disk.path().join("queue")).unwrap();
        assert_eq!(queue_depth(disk.path()), 0);
        std::fs::write(disk.path().join("queue/nr_requests"), "128\n").unwrap();
        assert_eq!(queue_depth(disk.path()), 0, "what has no queues of its own hands them on");
        for queue in ["0", "1", "2"] {
            std::fs::create_dir_all(disk.path().join("mq").join(queue)).unwrap();
        }
        assert_eq!(queue_depth(disk.path()), 384);
        std::fs::write(disk.path().join("queue/nr_requests"), "4294967295\n").unwrap();
        assert_eq!(queue_depth(disk.path()), u32::MAX);
    }

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
