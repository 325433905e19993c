//! What was found out of a namespace when it was opened, and what was chosen, in words for people: one line at start.

use std::path::Path;

use crate::info::{Atomic, Discard, Info, bytes_for_people};
use crate::sysfs;

use super::identify::Controller;
use super::jobs::Fixed;
use super::limits::Limits;

/// What the words are about.
pub(super) struct Found<'a> {
    pub(super) path: &'a Path,
    pub(super) controller: &'a Controller,
    pub(super) info: &'a Info,
    pub(super) limits: &'a Limits,
    /// Bytes at which memory lies that the device takes as it is; the kernel copies what lies otherwise.
    pub(super) memory_alignment: Option<u64>,
    pub(super) fixed: Fixed,
    /// Whether results are polled for, or why not; nothing where nobody wants it.
    pub(super) polling: Option<Result<(), &'static str>>,
}

impl Found<'_> {
    pub(super) fn describe(&self) -> String {
        let Controller { model, serial, firmware, .. } = self.controller;
        let most = bytes_for_people(self.limits.transfer_bytes);
        let mut words = vec![
            format!("NVMe namespace {} ({model}, {serial}, {firmware})", self.path.display()),
            format!("commands of up to {most}"),
        ];
        match self.polling {
            None => {}
            Some(Ok(())) => words.push("iopoll".to_owned()),
            Some(Err(reason)) => words.push(format!("no iopoll: {reason}")),
        }
        words.push(self.memory());
        if !self.info.read_only {
            words.push(self.atomic());
            words.extend(self.space().map(str::to_owned));
        }
        words.push(if self.info.compare { "compare" } else { "no compare" }.to_owned());
        words.push(if self.info.verify_max > 0 { "verify" } else { "no verify" }.to_owned());
        if self.info.read_only {
            words.push("read-only".to_owned());
        }
        words.join(", ")
    }

    fn memory(&self) -> String {
        let registered = match self.fixed {
            Fixed::No => "no registered memory: this kernel's commands take none",
            Fixed::Piece => "registered memory in one piece (lists of pieces take Linux 6.15)",
            Fixed::Lists => "registered memory",
        };
        match self.memory_alignment {
            Some(bytes @ 2..) => format!("memory at {bytes}, {registered}"),
            _ => registered.to_owned(),
        }
    }

    fn atomic(&self) -> String {
        match self.info.atomic {
            None => "no atomic writes".to_owned(),
            Some(Atomic { max, boundary: 0, .. }) => format!("atomic writes of up to {}", bytes_for_people(max.into())),
            Some(Atomic { max, boundary, .. }) => {
                let (max, boundary) = (bytes_for_people(max.into()), bytes_for_people(boundary));
                format!("atomic writes of up to {max} within {boundary}")
            }
        }
    }

    fn space(&self) -> [&'static str; 2] {
        let unmap = match self.info.discard {
            None => "no unmap",
            Some(Discard { zeroes: true, .. }) => "unmap to zeroes",
            Some(_) => "unmap",
        };
        [unmap, if self.info.write_zeroes_max > 0 { "write zeroes" } else { "no write zeroes" }]
    }
}

/// Where the memory of a command is best, as the kernel says of the queue in the folder `queue`: a mask.
pub(super) fn memory_alignment(queue: &Path) -> Option<u64> {
    sysfs::number::<u64>(&queue.join("dma_alignment"))?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::null::ram_info;

    #[test]
    fn says_what_was_found_and_what_was_chosen() {
        let mut page = [b' '; 4096];
        page[4..8].copy_from_slice(b"S123");
        page[24..29].copy_from_slice(b"Model");
        page[64..67].copy_from_slice(b"1.0");
        let controller = Controller::parse(&page);
        let limits = Limits::read(Path::new("/nowhere"), 512);
        let mut info = ram_info(String::new(), 8, 512, false);
        let describe = |info: &Info, fixed, memory_alignment, polling| {
            let (path, controller, limits) = (Path::new("/dev/ng0n1"), &controller, &limits);
            Found { path, controller, info, limits, memory_alignment, fixed, polling }.describe()
        };
        assert_eq!(
            describe(&info, Fixed::No, None, None),
            "NVMe namespace /dev/ng0n1 (Model, S123, 1.0), commands of up to 128 KiB, no registered memory: this kernel's \
             commands take none, no atomic writes, no unmap, no write zeroes, no compare, no verify"
        );
        (info.compare, info.verify_max, info.write_zeroes_max) = (true, 1, 1);
        info.discard = Some(Discard { granularity: 512, alignment: 0, max: 1 << 20, zeroes: true });
        info.atomic = Some(Atomic { unit: 512, max: 8192, natural: false, boundary: 0 });
        let said = describe(&info, Fixed::Piece, Some(4), Some(Err("why not")));
        let words = ", no iopoll: why not, memory at 4, registered memory in one piece (lists of pieces take Linux 6.15), \
                     atomic writes of up to 8 KiB, unmap to zeroes, write zeroes, compare, verify";
        assert!(said.ends_with(words), "{said}");
        info.atomic = Some(Atomic { unit: 512, max: 8192, natural: false, boundary: 65536 });
        let said = describe(&info, Fixed::Lists, Some(1), Some(Ok(())));
        assert!(said.contains(", iopoll, registered memory, atomic writes of up to 8 KiB within 64 KiB,"), "{said}");
        info.read_only = true;
        let said = describe(&info, Fixed::Lists, None, None);
        assert!(said.ends_with(", registered memory, compare, verify, read-only"), "{said}");
    }

    #[test]
    fn the_mask_of_a_queue_is_an_alignment() {
        let queue = tempfile::tempdir().unwrap();
        assert_eq!(memory_alignment(queue.path()), None);
        for (mask, bytes) in [("3\n", Some(4)), ("0\n", Some(1)), ("no\n", None), ("18446744073709551615\n", None)] {
            std::fs::write(queue.path().join("dma_alignment"), mask).unwrap();
            assert_eq!(memory_alignment(queue.path()), bytes);
        }
    }
}
