//! The additional sense codes of T10's list that this disk uses, and the check that every code named in `spec.rs` has the number
//! that T10 gave to that name. Whoever adds a constant adds it here, from the list.

use std::collections::BTreeMap;

use super::left_out::{has_word, sources};

/// Code, qualifier and name (SPC-5, annex of numeric order codes).
const T10: &[(u8, u8, &str)] = &[
    (0x00, 0x00, "NO ADDITIONAL SENSE INFORMATION"),
    (0x00, 0x16, "OPERATION IN PROGRESS"),
    (0x03, 0x00, "PERIPHERAL DEVICE WRITE FAULT"),
    (0x04, 0x00, "LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE"),
    (0x04, 0x02, "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED"),
    (0x04, 0x04, "LOGICAL UNIT NOT READY, FORMAT IN PROGRESS"),
    (0x04, 0x0b, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE"),
    (0x04, 0x0c, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE"),
    (0x04, 0x1b, "LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS"),
    (0x0b, 0x01, "WARNING - SPECIFIED TEMPERATURE EXCEEDED"),
    (0x0b, 0x08, "WARNING - POWER LOSS EXPECTED"),
    (0x0c, 0x00, "WRITE ERROR"),
    (0x0d, 0x01, "THIRD PARTY DEVICE FAILURE"),
    (0x0d, 0x02, "COPY TARGET DEVICE NOT REACHABLE"),
    (0x0d, 0x03, "INCORRECT COPY TARGET DEVICE TYPE"),
    (0x0d, 0x04, "COPY TARGET DEVICE DATA UNDERRUN"),
    (0x10, 0x01, "LOGICAL BLOCK GUARD CHECK FAILED"),
    (0x10, 0x02, "LOGICAL BLOCK APPLICATION TAG CHECK FAILED"),
    (0x10, 0x03, "LOGICAL BLOCK REFERENCE TAG CHECK FAILED"),
    (0x11, 0x00, "UNRECOVERED READ ERROR"),
    (0x1a, 0x00, "PARAMETER LIST LENGTH ERROR"),
    (0x1d, 0x00, "MISCOMPARE DURING VERIFY OPERATION"),
    (0x20, 0x00, "INVALID COMMAND OPERATION CODE"),
    (0x20, 0x09, "ACCESS DENIED - INVALID LU IDENTIFIER"),
    (0x21, 0x00, "LOGICAL BLOCK ADDRESS OUT OF RANGE"),
    (0x23, 0x00, "INVALID TOKEN OPERATION, CAUSE NOT REPORTABLE"),
    (0x23, 0x01, "INVALID TOKEN OPERATION, UNSUPPORTED TOKEN TYPE"),
    (0x23, 0x02, "INVALID TOKEN OPERATION, REMOTE TOKEN USAGE NOT SUPPORTED"),
    (0x23, 0x04, "INVALID TOKEN OPERATION, TOKEN UNKNOWN"),
    (0x23, 0x07, "INVALID TOKEN OPERATION, TOKEN EXPIRED"),
    (0x23, 0x08, "INVALID TOKEN OPERATION, TOKEN CANCELLED"),
    (0x23, 0x09, "INVALID TOKEN OPERATION, TOKEN DELETED"),
    (0x23, 0x0a, "INVALID TOKEN OPERATION, INVALID TOKEN LENGTH"),
    (0x24, 0x00, "INVALID FIELD IN CDB"),
    (0x25, 0x00, "LOGICAL UNIT NOT SUPPORTED"),
    (0x26, 0x00, "INVALID FIELD IN PARAMETER LIST"),
    (0x26, 0x04, "INVALID RELEASE OF PERSISTENT RESERVATION"),
    (0x26, 0x06, "TOO MANY TARGET DESCRIPTORS"),
    (0x26, 0x07, "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE"),
    (0x26, 0x08, "TOO MANY SEGMENT DESCRIPTORS"),
    (0x26, 0x09, "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE"),
    (0x26, 0x0a, "UNEXPECTED INEXACT SEGMENT"),
    (0x26, 0x0b, "INLINE DATA LENGTH EXCEEDED"),
    (0x26, 0x0d, "COPY SEGMENT GRANULARITY VIOLATION"),
    (0x27, 0x00, "WRITE PROTECTED"),
    (0x27, 0x02, "LOGICAL UNIT SOFTWARE WRITE PROTECTED"),
    (0x27, 0x07, "SPACE ALLOCATION FAILED WRITE PROTECT"),
    (0x28, 0x00, "NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED"),
    (0x29, 0x01, "POWER ON OCCURRED"),
    (0x29, 0x02, "SCSI BUS RESET OCCURRED"),
    (0x29, 0x03, "BUS DEVICE RESET FUNCTION OCCURRED"),
    (0x29, 0x07, "I_T NEXUS LOSS OCCURRED"),
    (0x2a, 0x01, "MODE PARAMETERS CHANGED"),
    (0x2a, 0x03, "RESERVATIONS PREEMPTED"),
    (0x2a, 0x04, "RESERVATIONS RELEASED"),
    (0x2a, 0x05, "REGISTRATIONS PREEMPTED"),
    (0x2a, 0x06, "ASYMMETRIC ACCESS STATE CHANGED"),
    (0x2a, 0x09, "CAPACITY DATA HAS CHANGED"),
    (0x2a, 0x10, "TIMESTAMP CHANGED"),
    (0x2c, 0x00, "COMMAND SEQUENCE ERROR"),
    (0x2f, 0x00, "COMMANDS CLEARED BY ANOTHER INITIATOR"),
    (0x2f, 0x02, "COMMANDS CLEARED BY DEVICE SERVER"),
    (0x31, 0x00, "MEDIUM FORMAT CORRUPTED"),
    (0x31, 0x01, "FORMAT COMMAND FAILED"),
    (0x31, 0x03, "SANITIZE COMMAND FAILED"),
    (0x38, 0x07, "THIN PROVISIONING SOFT THRESHOLD REACHED"),
    (0x39, 0x00, "SAVING PARAMETERS NOT SUPPORTED"),
    (0x3a, 0x00, "MEDIUM NOT PRESENT"),
    (0x3e, 0x01, "LOGICAL UNIT FAILURE"),
    (0x3e, 0x03, "LOGICAL UNIT FAILED SELF-TEST"),
    (0x3f, 0x05, "DEVICE IDENTIFIER CHANGED"),
    (0x3f, 0x0e, "REPORTED LUNS DATA HAS CHANGED"),
    (0x44, 0x00, "INTERNAL TARGET FAILURE"),
    (0x44, 0x01, "PERSISTENT RESERVATION INFORMATION LOST"),
    (0x49, 0x00, "INVALID MESSAGE ERROR"),
    (0x53, 0x02, "MEDIUM REMOVAL PREVENTED"),
    (0x55, 0x04, "INSUFFICIENT REGISTRATION RESOURCES"),
    (0x5d, 0x00, "FAILURE PREDICTION THRESHOLD EXCEEDED"),
];

/// The codes that `spec.rs` names: the constant, its number, and what is written above it.
fn named() -> Vec<(String, u16, String)> {
    let text = include_str!("../spec.rs");
    let start = text.find("impl Asc {").expect("the codes stand there");
    let mut named = Vec::new();
    let mut comment = String::new();
    for line in text[start..].lines().skip(1).map(str::trim) {
        if line == "}" {
            break;
        } else if let Some(more) = line.strip_prefix("///") {
            comment = format!("{comment} {}", more.trim()).trim().to_owned();
        } else if let Some(constant) = line.strip_prefix("pub const ") {
            let (name, _) = constant.split_once(':').expect("a constant has a type");
            let (_, digits) = line.split_once("Self(0x").expect("a code is hexadecimal");
            let code = u16::from_str_radix(digits.trim_end_matches(");"), 16).expect("four digits");
            named.push((name.to_owned(), code, std::mem::take(&mut comment)));
        }
    }
    named
}

#[test]
fn every_code_is_that_of_its_name() {
    let t10: BTreeMap<u16, &str> =
        T10.iter().map(|&(code, qualifier, name)| (u16::from_be_bytes([code, qualifier]), name)).collect();
    assert_eq!(t10.len(), T10.len(), "no code twice");
    let named = named();
    for (constant, code, comment) in &named {
        let name = t10.get(code).unwrap_or_else(|| panic!("{constant}: add {code:04x} above, as T10's list has it"));
        let rest = comment.strip_prefix(name).unwrap_or_else(|| panic!("{constant}: {code:04x} is {name}"));
        assert!(rest.starts_with(['.', ',']), "{constant}: {code:04x} is {name}");
    }
    let mut unnamed = t10;
    unnamed.retain(|code, _| !named.iter().any(|(_, its, _)| its == code));
    assert!(
        unnamed.is_empty(),
        "no constant has these, so that the next one that does would go unseen: {unnamed:04x?}"
    );
}

#[test]
fn there_are_no_codes_but_those_that_have_a_name_and_a_use() {
    let codes = sources();
    let used = |constant: &str| codes.iter().any(|(_, code)| has_word(code, &format!("Asc::{constant}")));
    let mut written = 0;
    for (path, code) in &codes {
        if path.ends_with("scsi/spec.rs") {
            let (_, its) = code.split_once("impl Asc {").expect("the codes stand there");
            written += its.matches("Self(0x").count();
        } else {
            assert!(
                !code.contains("Asc(0x") && !code.contains("impl Asc "),
                "{} has a code of its own",
                path.display()
            );
        }
    }
    let named = named();
    assert_eq!(named.len(), written, "each constant is on a line of its own, with what it is above it");
    for (constant, ..) in &named {
        assert!(used(constant), "{constant} is used nowhere");
    }
}
