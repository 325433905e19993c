//! That README names each command there is: those that REPORT SUPPORTED OPERATION CODES lists of a disk that has all of them.

use super::left_out::full;
use crate::scsi::testing::data;

/// What README says, with one space between two words.
fn readme() -> String {
    include_str!("../../../README.md").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The number and what is written above it, of each constant between `from` and the next brace at the same place.
fn numbers(text: &'static str, from: &str) -> Vec<(u8, &'static str)> {
    let (before, rest) = text.split_once(from).expect("the constants stand there");
    let indent = before.rsplit('\n').next().expect("a line").len();
    let its = rest.split(&format!("\n{}}}", " ".repeat(indent))).next().expect("there is a first part");
    let constants = its.split("/// ").skip(1).map(|constant| {
        let (name, rest) = constant.split_once(".\n").expect("a comment of one line");
        let (_, digits) = rest.split_once("0x").expect("a number is hexadecimal");
        (u8::from_str_radix(&digits[..2], 16).expect("two digits"), name)
    });
    constants.collect()
}

/// What a command is called.
fn name(opcode: u8, action: Option<u16>) -> String {
    const IN: [&str; 4] = ["READ KEYS", "READ RESERVATION", "REPORT CAPABILITIES", "READ FULL STATUS"];
    const OUT: [&str; 9] = [
        "REGISTER",
        "RESERVE",
        "RELEASE",
        "CLEAR",
        "PREEMPT",
        "PREEMPT AND ABORT",
        "REGISTER AND IGNORE EXISTING KEY",
        "REGISTER AND MOVE",
        "REPLACE LOST RESERVATION",
    ];
    let (spec, actions) = (include_str!("../spec.rs"), include_str!("actions.rs"));
    let of = |number: u8, text, from| {
        let found = numbers(text, from).into_iter().find(|(its, _)| *its == number);
        found.unwrap_or_else(|| panic!("{number:02x} is not behind {from}")).1.to_owned()
    };
    match (opcode, action.map(|action| action as u8)) {
        (0x48, Some(action)) => of(action, actions, "pub mod sanitize {"),
        (0x5e, Some(action)) => IN[usize::from(action)].to_owned(),
        (0x5f, Some(action)) => OUT[usize::from(action)].to_owned(),
        (0x83, Some(action)) => of(action, actions, "pub mod copy_out {"),
        (0x84, Some(action)) => of(action, actions, "pub mod copy_in {"),
        (0x9e, Some(0x10)) => "READ CAPACITY (16)".to_owned(),
        (0x9e, Some(0x12)) => "GET LBA STATUS (16)".to_owned(),
        (0xa3, Some(action)) => of(action, spec, "pub mod maintenance_in {"),
        (0xa4, Some(action)) => of(action, spec, "pub mod maintenance_out {"),
        (_, Some(action)) => panic!("{opcode:02x}/{action:02x} has a name: say it here"),
        (opcode, None) => {
            let name = of(opcode, spec, "impl Opcode {");
            name.rsplit_once(" (S").expect("the standard is named").0.to_owned()
        }
    }
}

/// Whether a text has a name, and where that has a number in brackets, that number among those of its brackets or of the next
/// ones behind names that are listed with it: "MODE SENSE, MODE SELECT (6, 10)".
fn has(text: &str, name: &str) -> bool {
    let (base, number) = match name.strip_suffix(')').and_then(|name| name.split_once(" (")) {
        Some((base, number)) => (base, Some(number)),
        None => (name, None),
    };
    let is_name = |letter: char| letter.is_ascii_uppercase();
    text.match_indices(base).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + base.len()..]);
        let begins = !before.trim_end_matches(' ').ends_with(is_name) && !before.ends_with('-');
        let ends = !after.trim_start_matches(' ').starts_with(is_name);
        let numbers = after.split_once('(').and_then(|(between, rest)| {
            let is_list = ["", " "].contains(&between) || between.starts_with(", ") || between.starts_with(" and ");
            rest.split_once(')')
                .filter(|_| is_list && !between.contains(['|', '.', ';', ')']))
                .map(|(numbers, _)| numbers)
        });
        let is_there = |number| numbers.is_some_and(|numbers| numbers.split(", ").any(|its| its == number));
        begins && ends && number.is_none_or(is_there)
    })
}

#[test]
fn every_command_has_its_place_in_the_readme() {
    let readme = readme();
    let all = data(&full(), &[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0]);
    let rows = all[4..].chunks(8).map(|row| {
        let action = u16::from_be_bytes([row[2], row[3]]);
        name(row[0], (row[5] & 1 != 0).then_some(action))
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 80, "{} commands", rows.len());
    let missing: Vec<_> = rows.iter().filter(|name| !has(&readme, name)).collect();
    assert!(missing.is_empty(), "README does not name {missing:?}");
}

#[test]
fn names_are_found_as_they_are_written() {
    let text = "| MODE SENSE, MODE SELECT (6, 10) | READ and WRITE (6, 16) | COMPARE AND WRITE, ORWRITE (32) | UNMAP |";
    for there in
        ["MODE SENSE (6)", "MODE SELECT (10)", "READ (16)", "WRITE (6)", "ORWRITE (32)", "COMPARE AND WRITE", "UNMAP"]
    {
        assert!(has(text, there), "{there}");
    }
    for missing in ["MODE SENSE (16)", "WRITE (32)", "READ (10)", "MODE", "AND WRITE", "UNMAP (10)", "VERIFY"] {
        assert!(!has(text, missing), "{missing}");
    }
}
