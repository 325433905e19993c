//! The additional sense codes of T10's list that a disk may use, and the check that every code named in `spec.rs` has
//! the number that T10 gave to that name.

use std::collections::BTreeMap;

/// Code, qualifier and name (SPC-5, annex of numeric order codes).
const T10: &[(u8, u8, &str)] = &[
    (0x00, 0x00, "NO ADDITIONAL SENSE INFORMATION"),
    (0x00, 0x06, "I/O PROCESS TERMINATED"),
    (0x00, 0x16, "OPERATION IN PROGRESS"),
    (0x00, 0x1e, "CONFLICTING SA CREATION REQUEST"),
    (0x00, 0x20, "EXTENDED COPY INFORMATION AVAILABLE"),
    (0x03, 0x00, "PERIPHERAL DEVICE WRITE FAULT"),
    (0x04, 0x00, "LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE"),
    (0x04, 0x01, "LOGICAL UNIT IS IN PROCESS OF BECOMING READY"),
    (0x04, 0x02, "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED"),
    (0x04, 0x03, "LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED"),
    (0x04, 0x04, "LOGICAL UNIT NOT READY, FORMAT IN PROGRESS"),
    (0x04, 0x07, "LOGICAL UNIT NOT READY, OPERATION IN PROGRESS"),
    (0x04, 0x09, "LOGICAL UNIT NOT READY, SELF-TEST IN PROGRESS"),
    (0x04, 0x0a, "LOGICAL UNIT NOT ACCESSIBLE, ASYMMETRIC ACCESS STATE TRANSITION"),
    (0x04, 0x0b, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE"),
    (0x04, 0x0c, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE"),
    (0x04, 0x14, "LOGICAL UNIT NOT READY, SPACE ALLOCATION IN PROGRESS"),
    (0x04, 0x1b, "LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS"),
    (0x08, 0x00, "LOGICAL UNIT COMMUNICATION FAILURE"),
    (0x08, 0x01, "LOGICAL UNIT COMMUNICATION TIME-OUT"),
    (0x0b, 0x00, "WARNING"),
    (0x0b, 0x08, "WARNING - POWER LOSS EXPECTED"),
    (0x0c, 0x00, "WRITE ERROR"),
    (0x0c, 0x02, "WRITE ERROR - AUTO REALLOCATION FAILED"),
    (0x0d, 0x00, "ERROR DETECTED BY THIRD PARTY TEMPORARY INITIATOR"),
    (0x0d, 0x01, "THIRD PARTY DEVICE FAILURE"),
    (0x0d, 0x02, "COPY TARGET DEVICE NOT REACHABLE"),
    (0x0d, 0x03, "INCORRECT COPY TARGET DEVICE TYPE"),
    (0x0d, 0x04, "COPY TARGET DEVICE DATA UNDERRUN"),
    (0x0d, 0x05, "COPY TARGET DEVICE DATA OVERRUN"),
    (0x0e, 0x00, "INVALID INFORMATION UNIT"),
    (0x10, 0x00, "ID CRC OR ECC ERROR"),
    (0x10, 0x01, "LOGICAL BLOCK GUARD CHECK FAILED"),
    (0x10, 0x02, "LOGICAL BLOCK APPLICATION TAG CHECK FAILED"),
    (0x10, 0x03, "LOGICAL BLOCK REFERENCE TAG CHECK FAILED"),
    (0x11, 0x00, "UNRECOVERED READ ERROR"),
    (0x11, 0x04, "UNRECOVERED READ ERROR - AUTO REALLOCATE FAILED"),
    (0x1a, 0x00, "PARAMETER LIST LENGTH ERROR"),
    (0x1b, 0x00, "SYNCHRONOUS DATA TRANSFER ERROR"),
    (0x1d, 0x00, "MISCOMPARE DURING VERIFY OPERATION"),
    (0x1d, 0x01, "MISCOMPARE VERIFY OF UNMAPPED LBA"),
    (0x20, 0x00, "INVALID COMMAND OPERATION CODE"),
    (0x20, 0x02, "ACCESS DENIED - NO ACCESS RIGHTS"),
    (0x20, 0x09, "ACCESS DENIED - INVALID LU IDENTIFIER"),
    (0x21, 0x00, "LOGICAL BLOCK ADDRESS OUT OF RANGE"),
    (0x21, 0x04, "UNALIGNED WRITE COMMAND"),
    (0x22, 0x00, "ILLEGAL FUNCTION"),
    (0x23, 0x00, "INVALID TOKEN OPERATION, CAUSE NOT REPORTABLE"),
    (0x23, 0x01, "INVALID TOKEN OPERATION, UNSUPPORTED TOKEN TYPE"),
    (0x23, 0x02, "INVALID TOKEN OPERATION, REMOTE TOKEN USAGE NOT SUPPORTED"),
    (0x23, 0x03, "INVALID TOKEN OPERATION, REMOTE ROD TOKEN CREATION NOT SUPPORTED"),
    (0x23, 0x04, "INVALID TOKEN OPERATION, TOKEN UNKNOWN"),
    (0x23, 0x05, "INVALID TOKEN OPERATION, TOKEN CORRUPT"),
    (0x23, 0x06, "INVALID TOKEN OPERATION, TOKEN REVOKED"),
    (0x23, 0x07, "INVALID TOKEN OPERATION, TOKEN EXPIRED"),
    (0x23, 0x08, "INVALID TOKEN OPERATION, TOKEN CANCELLED"),
    (0x23, 0x09, "INVALID TOKEN OPERATION, TOKEN DELETED"),
    (0x23, 0x0a, "INVALID TOKEN OPERATION, INVALID TOKEN LENGTH"),
    (0x24, 0x00, "INVALID FIELD IN CDB"),
    (0x24, 0x01, "CDB DECRYPTION ERROR"),
    (0x25, 0x00, "LOGICAL UNIT NOT SUPPORTED"),
    (0x26, 0x00, "INVALID FIELD IN PARAMETER LIST"),
    (0x26, 0x01, "PARAMETER NOT SUPPORTED"),
    (0x26, 0x02, "PARAMETER VALUE INVALID"),
    (0x26, 0x03, "THRESHOLD PARAMETERS NOT SUPPORTED"),
    (0x26, 0x04, "INVALID RELEASE OF PERSISTENT RESERVATION"),
    (0x26, 0x06, "TOO MANY TARGET DESCRIPTORS"),
    (0x26, 0x07, "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE"),
    (0x26, 0x08, "TOO MANY SEGMENT DESCRIPTORS"),
    (0x26, 0x09, "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE"),
    (0x26, 0x0a, "UNEXPECTED INEXACT SEGMENT"),
    (0x26, 0x0b, "INLINE DATA LENGTH EXCEEDED"),
    (0x26, 0x0c, "INVALID OPERATION FOR COPY SOURCE OR DESTINATION"),
    (0x26, 0x0d, "COPY SEGMENT GRANULARITY VIOLATION"),
    (0x27, 0x00, "WRITE PROTECTED"),
    (0x27, 0x01, "HARDWARE WRITE PROTECTED"),
    (0x27, 0x02, "LOGICAL UNIT SOFTWARE WRITE PROTECTED"),
    (0x27, 0x07, "SPACE ALLOCATION FAILED WRITE PROTECT"),
    (0x28, 0x00, "NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED"),
    (0x29, 0x00, "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED"),
    (0x29, 0x01, "POWER ON OCCURRED"),
    (0x29, 0x02, "SCSI BUS RESET OCCURRED"),
    (0x29, 0x03, "BUS DEVICE RESET FUNCTION OCCURRED"),
    (0x29, 0x04, "DEVICE INTERNAL RESET"),
    (0x29, 0x07, "I_T NEXUS LOSS OCCURRED"),
    (0x2a, 0x00, "PARAMETERS CHANGED"),
    (0x2a, 0x01, "MODE PARAMETERS CHANGED"),
    (0x2a, 0x02, "LOG PARAMETERS CHANGED"),
    (0x2a, 0x03, "RESERVATIONS PREEMPTED"),
    (0x2a, 0x04, "RESERVATIONS RELEASED"),
    (0x2a, 0x05, "REGISTRATIONS PREEMPTED"),
    (0x2a, 0x06, "ASYMMETRIC ACCESS STATE CHANGED"),
    (0x2a, 0x07, "IMPLICIT ASYMMETRIC ACCESS STATE TRANSITION FAILED"),
    (0x2a, 0x08, "PRIORITY CHANGED"),
    (0x2a, 0x09, "CAPACITY DATA HAS CHANGED"),
    (0x2a, 0x10, "TIMESTAMP CHANGED"),
    (0x2c, 0x00, "COMMAND SEQUENCE ERROR"),
    (0x2c, 0x07, "PREVIOUS BUSY STATUS"),
    (0x2c, 0x08, "PREVIOUS TASK SET FULL STATUS"),
    (0x2c, 0x09, "PREVIOUS RESERVATION CONFLICT STATUS"),
    (0x2e, 0x00, "INSUFFICIENT TIME FOR OPERATION"),
    (0x2f, 0x00, "COMMANDS CLEARED BY ANOTHER INITIATOR"),
    (0x2f, 0x02, "COMMANDS CLEARED BY DEVICE SERVER"),
    (0x31, 0x00, "MEDIUM FORMAT CORRUPTED"),
    (0x31, 0x01, "FORMAT COMMAND FAILED"),
    (0x31, 0x03, "SANITIZE COMMAND FAILED"),
    (0x32, 0x00, "NO DEFECT SPARE LOCATION AVAILABLE"),
    (0x32, 0x01, "DEFECT LIST UPDATE FAILURE"),
    (0x37, 0x00, "ROUNDED PARAMETER"),
    (0x38, 0x07, "THIN PROVISIONING SOFT THRESHOLD REACHED"),
    (0x39, 0x00, "SAVING PARAMETERS NOT SUPPORTED"),
    (0x3a, 0x00, "MEDIUM NOT PRESENT"),
    (0x3e, 0x00, "LOGICAL UNIT HAS NOT SELF-CONFIGURED YET"),
    (0x3e, 0x01, "LOGICAL UNIT FAILURE"),
    (0x3e, 0x02, "TIMEOUT ON LOGICAL UNIT"),
    (0x3e, 0x03, "LOGICAL UNIT FAILED SELF-TEST"),
    (0x3f, 0x00, "TARGET OPERATING CONDITIONS HAVE CHANGED"),
    (0x3f, 0x01, "MICROCODE HAS BEEN CHANGED"),
    (0x3f, 0x03, "INQUIRY DATA HAS CHANGED"),
    (0x3f, 0x05, "DEVICE IDENTIFIER CHANGED"),
    (0x3f, 0x0e, "REPORTED LUNS DATA HAS CHANGED"),
    (0x3f, 0x0f, "ECHO BUFFER OVERWRITTEN"),
    (0x44, 0x00, "INTERNAL TARGET FAILURE"),
    (0x44, 0x01, "PERSISTENT RESERVATION INFORMATION LOST"),
    (0x49, 0x00, "INVALID MESSAGE ERROR"),
    (0x4b, 0x00, "DATA PHASE ERROR"),
    (0x4e, 0x00, "OVERLAPPED COMMANDS ATTEMPTED"),
    (0x53, 0x02, "MEDIUM REMOVAL PREVENTED"),
    (0x55, 0x02, "INSUFFICIENT RESERVATION RESOURCES"),
    (0x55, 0x03, "INSUFFICIENT RESOURCES"),
    (0x55, 0x04, "INSUFFICIENT REGISTRATION RESOURCES"),
    (0x55, 0x0c, "INSUFFICIENT RESOURCES TO CREATE ROD"),
    (0x55, 0x0d, "INSUFFICIENT RESOURCES TO CREATE ROD TOKEN"),
    (0x5d, 0x00, "FAILURE PREDICTION THRESHOLD EXCEEDED"),
    (0x5d, 0xff, "FAILURE PREDICTION THRESHOLD EXCEEDED (FALSE)"),
    (0x67, 0x0a, "SET TARGET PORT GROUPS COMMAND FAILED"),
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
    assert!(named.len() >= 20, "{} codes were found", named.len());
    for (constant, code, comment) in named {
        let name = t10.get(&code).unwrap_or_else(|| panic!("{constant}: T10 has no {code:04x}, or add it above"));
        let rest = comment.strip_prefix(name).unwrap_or_else(|| panic!("{constant}: {code:04x} is {name}"));
        assert!(rest.starts_with(['.', ',']), "{constant}: {code:04x} is {name}");
    }
}
