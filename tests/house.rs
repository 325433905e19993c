//! The rules of the house, checked on the source tree: who may import whom, where `unsafe` may stand, how long a file
//! may be. ARCHITECTURE.md says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms of the root crate and what each may import of the others and of the workspace's crates.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("config", &["bdev"]),
    ("dma", &["bdev"]),
    ("observe", &[]),
    ("pci", &[]),
    ("scsi", &["bdev"]),
    ("target", &["bdev", "config", "dma", "observe", "pci", "reactor", "scsi", "vfio_user", "virtio", "virtio_scsi"]),
    ("vfio_user", &["dma", "observe", "pci"]),
    ("virtio", &["bdev", "dma", "observe"]),
    ("virtio_scsi", &["bdev", "dma", "observe", "virtio"]),
    ("main.rs", &["annulus", "config", "observe", "target"]),
    ("lib.rs", &[]),
];

/// Names that count as one of ours when a path starts with them.
const OURS: &[&str] = &["annulus", "annulus_bench", "bdev", "reactor"];

/// Files and folders that may hold `unsafe`: mapped memory, rings, io_uring.
const MAY_BE_UNSAFE: &[&str] = &[
    "bdev/examples/ublk.rs",
    "bdev/src/segment.rs",
    "bdev/src/pool/lane_tests.rs",
    "bdev/src/pool/raw.rs",
    "bdev/src/uring",
    "bdev/src/file/fiemap.rs",
    "bdev/src/file/tests.rs",
    "bdev/src/mapping.rs",
    "bdev/src/nvme/ioctl.rs",
    "bdev/src/nvme/jobs/tests.rs",
    "bdev/src/nvme/ring.rs",
    "bdev/src/nvme/ring/tests.rs",
    "bdev/tests/allocations.rs",
    "bdev/tests/support/arena.rs",
    "bdev/tests/support/memory.rs",
    "bench/src/guest/memory.rs",
    "bench/src/load/uring/buffers.rs",
    "bench/src/load/uring/enter.rs",
    "bench/src/load/uring/ring.rs",
    "src/dma",
    "src/target/long/space.rs",
    "src/target/at_once.rs",
    "src/target/lookout.rs",
    "src/target/slots.rs",
    "src/virtio/ring",
    "tests/allocations.rs",
    "tests/system_calls.rs",
];

/// Longest file, in lines. A longer one has more than one idea.
const MAX_LINES: usize = 400;
/// Longest file of those that are [`MAY_BE_LONG`].
const MAX_LINES_EVER: usize = 600;

/// Files that may have more than [`MAX_LINES`], and why.
const MAY_BE_LONG: &[(&str, &str)] = &[
    ("bench/src/guest/memory.rs", "the memory of the test guest: all that needs raw pointers is here"),
    ("src/target/tests/guest.rs", "the driver that all tests of the target share"),
    ("src/vfio_user/tests/mod.rs", "the device and the client that all tests of the server share"),
    ("src/virtio/ring/hostile_tests.rs", "one list of what a hostile driver writes into a ring"),
    ("src/virtio/transport/tests.rs", "one table of what the registers answer, step by step"),
    ("tests/hostile_rings.rs", "one list of what a hostile driver does to a running target's rings"),
    ("tests/hostile_sockets.rs", "one list of what a hostile client does to a running target's socket"),
];

#[test]
fn rooms_import_only_what_they_may() {
    let mut breaches = Vec::new();
    for (path, text) in sources("src") {
        let room = room_of(&path);
        let allowed = MAY_IMPORT.iter().find(|(name, _)| *name == room);
        let (_, allowed) =
            allowed.unwrap_or_else(|| panic!("{} is in no known room; add it to MAY_IMPORT", path.display()));
        for name in imports(&text).into_iter().chain(climbs(&path, &text)) {
            if name != room && !allowed.contains(&name.as_str()) {
                breaches.push(format!("{} imports {name}", path.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn crates_of_the_workspace_stand_on_their_own() {
    for (folder, allowed) in [("bdev", vec![]), ("reactor", vec![]), ("bench", vec!["annulus_bench"])] {
        for (path, text) in sources(folder) {
            for name in imports(&text).into_iter().filter(|name| OURS.contains(&name.as_str())) {
                let itself = name == folder || allowed.contains(&name.as_str());
                assert!(itself, "{} imports {name}", path.display());
            }
        }
    }
}

/// What a user writes leads to a device through the tables of `bdev::wanted` alone: nobody else knows which backends there are.
#[test]
fn no_room_names_a_backend() {
    for (path, text) in sources("src") {
        if path.to_string_lossy().contains("tests") {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let mut words = code.split(|letter: char| !letter.is_ascii_alphanumeric());
        let named = words.find(|word| word.len() > "Bdev".len() && word.ends_with("Bdev"));
        assert_eq!(named, None, "{} names a backend", path.display());
    }
}

#[test]
fn unsafe_stands_only_where_it_may() {
    for (path, text) in ["src", "tests", "bdev", "reactor", "bench"].into_iter().flat_map(sources) {
        let allowed = MAY_BE_UNSAFE.iter().any(|place| path.starts_with(place));
        let uses = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains(concat!("unsafe", " ")) || code.contains(concat!("allow(", "unsafe_code"))
        });
        assert!(allowed || !uses, "{} holds code that is unsafe; see MAY_BE_UNSAFE", path.display());
    }
}

#[test]
fn files_are_short() {
    for (path, text) in ["src", "bdev", "reactor", "bench", "tests"].into_iter().flat_map(sources) {
        let lines = text.lines().count();
        let excused = MAY_BE_LONG.iter().any(|(name, _)| path == Path::new(name));
        let limit = if excused { MAX_LINES_EVER } else { MAX_LINES };
        assert!(lines <= limit, "{} has {lines} lines and may have {limit}; split it", path.display());
    }
}

#[test]
fn the_checker_sees_imports_in_every_form() {
    let text = "
        use crate::dma::{Gpa, MemMap};
        use crate::{pci, virtio::ring};
        pub use bdev::Op;
        let x = crate::scsi::decode(y);
        // use crate::target;
        let z = reactor::spawn();
    ";
    let found: Vec<_> = imports(text).into_iter().collect();
    assert_eq!(found, ["bdev", "dma", "pci", "reactor", "scsi", "virtio"]);
}

#[test]
fn the_checker_follows_every_way_up() {
    let climbed = |path: &str, text: &str| climbs(Path::new(path), text).into_iter().collect::<Vec<_>>();
    assert_eq!(climbed("src/dma/mod.rs", "use super::target::Target;"), ["target"]);
    assert_eq!(climbed("src/dma/map.rs", "use super::super::{scsi::cdb, virtio};"), ["scsi", "virtio"]);
    assert_eq!(climbed("src/dma/map.rs", "self::super::super::target::stop()"), ["target"]);
    // Within the room, or a module of ours that is named like a room.
    assert!(climbed("src/dma/map.rs", "use super::target;\n// super::super::target").is_empty());
    assert!(climbed("src/dma/map.rs", "use super::super::strange;").is_empty());
    let inside =
        "use super::super::target;\nmod tests {\n    use super::super::scsi;\n    use super::super::super::pci;\n}\n";
    assert_eq!(climbed("src/dma/map.rs", inside), ["pci", "target"]);
    assert!(climbed("src/dma/map_tests.rs", "use super::super::target;").is_empty());
    assert_eq!(climbed("src/dma/map_tests.rs", "use super::super::super::target;"), ["target"]);
}

/// Rooms that `text`, the file at `path`, reaches by `super::`.
fn climbs(path: &Path, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // How far the modules are indented that are open, each within the one before.
    let mut open: Vec<usize> = Vec::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        let (trimmed, indent) = (code.trim(), code.len() - code.trim_start().len());
        if trimmed == "}" && open.last() == Some(&indent) {
            open.pop();
        }
        for (position, _) in code.match_indices("super::") {
            if code[..position].ends_with("super::") {
                continue;
            }
            let rest = code[position..].trim_start_matches("super::");
            let steps = (code.len() - position - rest.len()) / "super::".len();
            if steps >= depth_of(path) + open.len() {
                let names = rest.strip_prefix('{').map_or_else(|| identifier(rest).into_iter().collect(), group_heads);
                found.extend(names.into_iter().filter(|name| MAY_IMPORT.iter().any(|(room, _)| room == name)));
            }
        }
        if trimmed.ends_with('{') && trimmed.trim_start_matches("pub").trim_start().starts_with("mod ") {
            open.push(indent);
        }
    }
    found
}

/// How many steps up from the file at `path` the root of its crate is. A `x_tests.rs` is a module of `x.rs`.
fn depth_of(path: &Path) -> usize {
    let stem = path.file_stem().expect("a file name").to_string_lossy();
    let folders = path.strip_prefix("src").expect("a path below src").components().count() - 1;
    match &*stem {
        "mod" | "main" | "lib" => folders,
        stem if stem.ends_with("_tests") => folders + 2,
        _ => folders + 1,
    }
}

/// Names of rooms and of our crates that `text` mentions as the start of a path.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (position, _) in code.match_indices("crate::") {
        let rest = &code[position + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.extend(identifier(rest)),
        }
    }
    for name in OURS {
        let path = format!("{name}::");
        let starts = code.match_indices(&path).any(|(position, _)| {
            let before = code[..position].chars().next_back().unwrap_or(' ');
            !before.is_alphanumeric() && before != '_' && before != ':'
        });
        if starts {
            found.insert((*name).to_string());
        }
    }
    found
}

/// First names of the members of a `{a::x, b::{y, z}}` group, from behind its brace.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut at_start) = (0, Vec::new(), true);
    for (position, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && depth == 0 && !c.is_whitespace() => {
                heads.extend(identifier(&group[position..]));
                at_start = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_string())
}

fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix("src").expect("a path below src");
    inside.components().next().expect("a file name").as_os_str().to_string_lossy().into_owned()
}

/// Every Rust file below `folder`, with a path relative to the project.
fn sources(folder: &str) -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                found.insert(path.strip_prefix(root).expect("below the root").to_path_buf(), text);
            }
        }
    }
    assert!(!found.is_empty(), "no source in {folder}");
    found
}
