//! What is refused, and whether the table says of each bit what its decoder does.

use super::*;

#[test]
fn fields_that_the_disk_does_not_have() {
    let cases: [(&[u8], u16, u8); 13] = [
        (&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0], 1, 7),
        (&[0x2a, 0xa0, 0, 0, 0, 0, 0, 0, 1, 0], 1, 7),
        (&[0xa8, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 1, 7),
        (&[0xaa, 0x20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 1, 7),
        (&[0x88, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 1, 7),
        (&[0x8a, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 1, 7),
        (&[0x8f, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 1, 7),
        (&[0x2a, 0x04, 0, 0, 0, 0, 0, 0, 1, 0], 1, 2),
        (&[0x1b, 0, 0, 0, 0x10, 0], 4, 7),
        (&[0x1b, 0, 0, 0x01, 0, 0], 3, 3),
        (&[0x25, 0, 0, 0, 0, 0, 0, 0, 1, 0], 8, 0),
        (&[0x00, 0, 0, 0, 0, 0x04], 5, 2),
        (&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x04], 15, 2),
    ];
    for (cdb, byte, bit) in cases {
        assert_eq!(decode(cdb), Err(Sense::invalid_field(byte, Some(bit))), "{cdb:x?}");
    }
}

#[test]
fn unknown_commands() {
    assert_eq!(decode(&[]), Err(Sense::illegal(Asc(0x2000))));
    assert_eq!(decode(&[0xff; 16]), Err(Sense::illegal(Asc(0x2000))));
    let mut cdb = [0; 16];
    cdb[0] = 0x9e;
    for action in (0..0x20).filter(|action| ![0x10, 0x12].contains(action)) {
        cdb[1] = action;
        assert_eq!(decode(&cdb), Err(Sense::invalid_field(1, Some(4))));
    }
    cdb[1] = 0x90;
    assert_eq!(decode(&cdb), Err(Sense::invalid_field(1, Some(7))), "the bits beside the service action count");
}

#[test]
fn the_table_is_in_order_and_each_length_is_that_of_its_group() {
    let codes: Vec<_> = table::TABLE.iter().map(|entry| (entry.usage[0], entry.service_action)).collect();
    assert!(codes.is_sorted_by(|a, b| a < b));
    for entry in table::TABLE {
        let len = match entry.usage[0] >> 5 {
            0 => 6,
            1 | 2 => 10,
            4 => 16,
            5 => 12,
            group => panic!("group {group} has no fixed length"),
        };
        assert_eq!(entry.usage.len(), len, "operation code {:02x}", entry.usage[0]);
    }
}

/// Every single bit that the usage data lack is refused with a pointer into its byte. Bits of the service action, of which
/// any may lead to another command, are looked at elsewhere.
#[test]
fn each_bit_that_may_not_be_set() {
    for entry in table::TABLE {
        for position in 8..8 * entry.usage.len() {
            let (byte, bit) = (position / 8, 7 - position % 8);
            if byte == 1 && bit < 5 && entry.service_action.is_some() {
                continue;
            }
            let mut cdb = [0; 16];
            cdb[0] = entry.usage[0];
            cdb[1] = entry.service_action.unwrap_or(0);
            cdb[byte] ^= 1 << bit;
            let is_naca = byte == entry.usage.len() - 1 && bit == 2;
            let allowed = entry.usage[byte] & 1 << bit != 0 && !is_naca;
            match decode(&cdb) {
                Ok(_) => assert!(allowed, "{cdb:x?}"),
                Err(sense) => {
                    assert!(!allowed, "{cdb:x?}");
                    assert_eq!(sense.encode_fixed()[16..], [0, byte as u8], "{cdb:x?}");
                }
            }
        }
    }
}

/// Bits of single commands that may be set and change nothing: where SEND DIAGNOSTIC lets the unit be away, and PREVENT,
/// for nothing can be removed.
const IGNORED: [(Opcode, usize, u8); 4] = [
    (Opcode::SEND_DIAGNOSTIC, 1, 0x03),
    (Opcode::PREVENT_ALLOW_MEDIUM_REMOVAL, 4, 0x03),
    // CMPLST: without defects every list is complete.
    (Opcode::FORMAT_UNIT, 1, 0x08),
    // ZNR: there are no zones.
    (Opcode::SANITIZE, 1, 0x40),
];

/// Where bits may stand that may be set and change nothing, for they are hints to functions that this disk does not have:
/// DPO, RARC of READ, SYNC_NV, and GROUP NUMBER.
fn may_be_hint(entry: &table::Entry, byte: usize, bit: usize) -> bool {
    let group_number = match entry.usage.len() {
        10 => 6,
        12 => 10,
        _ => 14,
    };
    let is_ignored =
        |&(opcode, at, bits): &(Opcode, usize, u8)| opcode.0 == entry.usage[0] && at == byte && bits & 1 << bit != 0;
    let is_group = byte == group_number && entry.usage[byte] == 0x3f;
    is_group || matches!((byte, bit), (1, 2 | 4)) || IGNORED.iter().any(is_ignored)
}

/// Whether a bit of a CDB, whose other bits are all clear or all set, makes a difference.
fn is_read(entry: &table::Entry, byte: usize, bit: usize) -> bool {
    [0x00, 0xff].into_iter().any(|fill| {
        let mut cdb: [u8; 16] = std::array::from_fn(|at| entry.usage.get(at).unwrap_or(&0) & fill);
        cdb[0] = entry.usage[0];
        cdb[1] |= entry.service_action.unwrap_or(0);
        let mut flipped = cdb;
        flipped[byte] ^= 1 << bit;
        (entry.decode)(&flipped) != (entry.decode)(&cdb)
    })
}

/// Every CDB may have it, and it is no part of the command.
#[test]
fn naca_is_taken_out() {
    for entry in table::TABLE {
        let at = entry.usage.len() - 1;
        let mut cdb = [0; 16];
        (cdb[0], cdb[1]) = (entry.usage[0], entry.service_action.unwrap_or(0));
        assert_eq!(without_naca(&cdb), None);
        assert_eq!(entry.usage[at], 0x04, "{:02x}", entry.usage[0]);
        let plain = cdb;
        cdb[at] = 0x04;
        assert_eq!(decode(&cdb), Err(Sense::invalid_field(at as u16, Some(2))));
        assert_eq!(without_naca(&cdb), Some(plain));
        assert_eq!((without_naca(&cdb[..at]), without_naca(&cdb[..=at])), (None, Some(plain)));
        cdb[at] = 0xc5;
        assert_eq!(without_naca(&cdb).map(|cdb| cdb[at]), Some(0xc1), "the other bits stay");
    }
    assert_eq!((without_naca(&[]), without_naca(&[0xff; 32])), (None, None));
    let unknown = [0x01, 0, 0, 0, 0, 0x04];
    assert_eq!(without_naca(&unknown).map(|cdb| cdb[5]), Some(0), "whoever it is for");
}

/// A decoder reads the bits that its usage data name, all of them, and no other.
#[test]
fn usage_data_are_what_a_decoder_reads() {
    let mut wrong = Vec::new();
    for entry in table::TABLE {
        for position in 8..128 {
            let (byte, bit) = (position / 8, 7 - position % 8);
            if byte == 1 && bit < 5 && entry.service_action.is_some() {
                continue;
            }
            let is_naca = byte == entry.usage.len() - 1 && bit == 2;
            let is_named = !is_naca && entry.usage.get(byte).is_some_and(|usage| usage & 1 << bit != 0);
            let is_read = is_read(entry, byte, bit);
            let may_differ = is_named && may_be_hint(entry, byte, bit);
            if is_read != is_named && !may_differ {
                wrong.push(format!("{:02x}: byte {byte}, bit {bit}", entry.usage[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(cdb in proptest::collection::vec(any::<u8>(), 0..=40)) {
        if let Err(sense) = decode(&cdb) {
            prop_assert_eq!(sense.key.0, 5);
            prop_assert!([0x2000, 0x2400].contains(&sense.asc.0));
        }
    }
}

proptest! {
    #[test]
    fn the_quick_way_decodes_as_the_table_does(
        opcode in prop::sample::select(vec![0x28_u8, 0x2a, 0x88, 0x8a, 0xa8, 0x08]),
        mut cdb: [u8; 16],
        mask in prop::sample::select(vec![0_u8, 0x08, 0x18, 0xff]),
    ) {
        cdb[0] = opcode;
        cdb[1] &= mask;
        cdb[if opcode < 0x80 { 6 } else { 14 }] &= mask;
        cdb[9] &= if opcode < 0x80 { mask } else { 0xff };
        cdb[15] &= mask;
        let word = |at| u64::from_le_bytes(*cdb[at..].first_chunk().expect("8 bytes"));
        let words = [word(0), word(8)];
        let usual = [false, true].map(|is_write| decode_usual(words, is_write).map(|usual| (is_write, usual)));
        prop_assert!(usual[0].is_none() || usual[1].is_none());
        let usual = usual[0].or(usual[1]);
        let expected = match decode(&cdb) {
            Ok(Command::Read { lba, blocks, fua, form: CdbForm::Ten | CdbForm::Sixteen, .. }) => Some((false, fua, lba, blocks)),
            Ok(Command::Write { lba, blocks, fua, form: CdbForm::Ten | CdbForm::Sixteen, .. }) => Some((true, fua, lba, blocks)),
            _ => None,
        };
        if let Some((is_write, UsualTransfer { fua, lba, blocks })) = usual {
            prop_assert_eq!(Some((is_write, fua, lba, blocks)), expected);
        } else if mask == 0x08 || mask == 0 {
            prop_assert_eq!(expected, None, "the usual fields are decoded");
        }
    }
}
