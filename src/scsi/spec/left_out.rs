//! That nothing is left out: each name of `spec` has a use, each page that a disk has is compared with bytes, and no field is
//! called invalid without saying which.

use std::path::{Path, PathBuf};

use bdev::{Atomic, Discard, Info};

use crate::scsi::testing::{data, disk, info};
use crate::scsi::{LogicalUnit, Port, Threshold};

/// The source files of the target and what they hold before their tests, without comments; files that are tests alone are not
/// among them.
pub(super) fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files.into_iter().map(|path| (path.clone(), code_of(&path))).collect()
}

fn code_of(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a source file");
    let code = text.split("#[cfg(test)]\nmod").next().expect("there is a first part");
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn find(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        match path.is_dir() {
            true if name != "tests" => find(&path, found),
            false if name.ends_with(".rs") && !name.ends_with("tests.rs") && !TESTS.contains(&name) => found.push(path),
            _ => {}
        }
    }
}

/// Files that are tests alone, and are not called so.
const TESTS: [&str; 5] = ["t10.rs", "left_out.rs", "readme.rs", "testing.rs", "sim_disk.rs"];

/// Whether `word` stands in a text, and not as the beginning of a longer one.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let goes_on = |at: usize| text[at + word.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_');
    text.match_indices(word).any(|(at, _)| !goes_on(at))
}

/// The names of the constants that stand in `impl NAME` of a text.
fn constants<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (_, its) = text.split_once(&format!("impl {name} {{")).expect("the constants stand there");
    let its = its.split("\n}").next().expect("there is a first part");
    let names = its.split("pub const ").skip(1).filter_map(|constant| constant.split(':').next());
    names.collect()
}

#[test]
fn every_sense_key_and_every_status_is_used() {
    let sources = sources();
    for (text, name) in [(include_str!("../spec.rs"), "SenseKey"), (include_str!("status.rs"), "Status")] {
        for constant in constants(text, name) {
            let path = format!("{name}::{constant}");
            assert!(sources.iter().any(|(_, code)| has_word(code, &path)), "{path} is used nowhere");
        }
    }
}

#[test]
fn a_field_is_invalid_only_with_a_pointer_to_it() {
    let makers = ["scsi/sense.rs", "scsi/spec.rs"];
    for (path, code) in sources().iter().filter(|(path, _)| !makers.iter().any(|maker| path.ends_with(maker))) {
        let (is_named, path) = (code.contains("INVALID_FIELD_IN"), path.display());
        assert!(!is_named, "{path}: Sense::invalid_field and invalid_parameter say which field");
    }
    let sense = include_str!("../sense.rs");
    assert_eq!(sense.matches("INVALID_FIELD_IN").count(), sense.matches("SenseKeySpecific::Field(pointer)").count());
}

/// A disk that has all pages there are, and all commands.
pub(super) fn full() -> LogicalUnit {
    let discard = Some(Discard { granularity: 4096, alignment: 0, max: 1 << 30, zeroes: true });
    let atomic = Some(Atomic { unit: 512, max: 4096, boundary: 0, natural: false });
    let thin = Info { discard, atomic, thin: true, ..info() };
    let port = Port { group: Some(1), ..Port::derive(1, "") };
    disk(&thin).with_threshold(Some(Threshold::of(&thin))).at_port(port)
}

/// Whether a literal of bytes that begins with these two stands in a text.
fn stands(first: u8, second: u8, text: &str) -> bool {
    let literals = [format!("[{first:#04x}, {second:#04x}"), format!("[{first:#04x}, {second}")];
    let ends = |at: usize| text[at..].starts_with([',', ']']);
    literals.iter().any(|literal| text.match_indices(literal).any(|(at, _)| ends(at + literal.len())))
}

#[test]
fn every_vpd_page_is_compared_with_bytes() {
    let tests = [
        include_str!("../vpd/tests.rs"),
        include_str!("../vpd/limits/tests.rs"),
        include_str!("../third_party_copy/page.rs"),
    ];
    let listed = data(&full(), &[0x12, 1, 0, 1, 0, 0])[4..].to_vec();
    for page in listed {
        let literal = format!("[0, {page:#04x}, ");
        assert!(tests.iter().any(|text| text.contains(&literal)), "VPD page {page:02x}: no {literal}...] in its tests");
    }
}

#[test]
fn every_mode_page_is_compared_with_bytes() {
    let all = data(&full(), &[0x5a, 0x08, 0x3f, 0xff, 0, 0, 0, 4, 0, 0]);
    let (mut rest, mut count) = (&all[8..], 0);
    while let &[first, second, high, low, ..] = rest {
        let len =
            if first & 0x40 == 0 { 2 + usize::from(second) } else { 4 + usize::from(u16::from_be_bytes([high, low])) };
        let is_tested = stands(first & 0x7f, second, include_str!("../mode/tests.rs"))
            || stands(first | 0x80, second, include_str!("../mode/tests.rs"));
        assert!(is_tested, "mode page {:02x}: no [{first:#04x}, {second:#04x}, ...] in its tests", first & 0x3f);
        (rest, count) = (&rest[len..], count + 1);
    }
    assert_eq!((rest.len(), count), (0, 8));
}

#[test]
fn every_log_page_is_compared_with_bytes() {
    let all = data(&full(), &[0x4d, 0, 0x40, 0xff, 0, 0, 0, 4, 0, 0]);
    for page in all[4..].chunks(2) {
        let bytes = data(&full(), &[0x4d, 0, 0x40 | page[0], page[1], 0, 0, 0, 4, 0, 0]);
        // What the lists of subpages are made of is the same for all.
        let is_list = page[1] == 0xff && page[0] != 0;
        assert!(
            is_list || stands(bytes[0], bytes[1], include_str!("../log/tests.rs")),
            "log page {:02x}: no [{:#04x}, {}, ...] in its tests",
            page[0],
            bytes[0],
            bytes[1]
        );
    }
}
