use super::*;

fn page(fields: &[(usize, &[u8])]) -> Page {
    let mut page = [0; IDENTIFY_LEN];
    for (at, bytes) in fields {
        page[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    page
}

#[test]
fn a_controller_says_who_it_is_and_what_it_can() {
    let full = page(&[
        (4, b"SER1                "),
        (24, b"Model\0                                  "),
        (64, b"1.0     "),
        (520, &[0x0c, 0]),
        (525, &[1]),
        (528, &[7, 0]),
    ]);
    let controller = Controller::parse(&full);
    assert_eq!((&*controller.serial, &*controller.model, &*controller.firmware), ("SER1", "Model", "1.0"));
    assert!(controller.write_cache && controller.dataset_management && controller.write_zeroes);
    assert!(!controller.compare && !controller.verify);
    assert_eq!(controller.atomic_blocks, 8);
    let plain = Controller::parse(&page(&[(520, &[0x81, 0])]));
    assert!(!plain.write_cache && !plain.dataset_management && !plain.write_zeroes);
    assert!(plain.compare && plain.verify);
    assert_eq!(plain.atomic_blocks, 1);
}

#[test]
fn a_namespace_has_the_blocks_of_its_active_format() {
    let with = |flbas: u8, format: usize, exponent: u8| {
        Namespace::parse(&page(&[(0, &[0x00, 0x10]), (26, &[flbas]), (128 + 4 * format, &[8, 0, exponent])]))
    };
    let namespace = with(2, 2, 12).unwrap();
    assert_eq!((namespace.blocks, namespace.block_size, namespace.metadata_size), (4096, 4096, 8));
    assert_eq!(with(0x21, 17, 9).unwrap().block_size, 512, "the upper bits of the index are bits 5 and 6");
    assert!(with(0, 0, 8).is_none() && with(0, 0, 32).is_none() && with(1, 0, 12).is_none());
}

#[test]
fn hints_count_only_where_the_namespace_says_so() {
    let fields: [(usize, &[u8]); 11] = [
        (33, &[0x09]),
        (36, &[15, 0]),
        (46, &[0, 1]),
        (64, &[7, 0]),
        (66, &[3, 0]),
        (68, &[31, 0]),
        (70, &[47, 0]),
        (72, &[63, 0]),
        (99, &[1]),
        (128, &[0, 0, 9]),
        (104, &[0; 24]),
    ];
    let silent = Namespace::parse(&page(&fields)).unwrap();
    let sizes = |Namespace { write, deallocate, optimal_write, .. }: &Namespace| {
        (write.size, write.alignment, deallocate.size, deallocate.alignment, *optimal_write)
    };
    assert_eq!((sizes(&silent), silent.thin, silent.read_only), ((0, 0, 0, 0, 0), false, true));
    assert_eq!(silent.optimal_boundary, 256, "it counts from 1, and stands for itself");
    assert!(silent.deallocated_zeroes && silent.zeroes_deallocate);
    assert_eq!((silent.nguid, silent.eui64), (None, None));
    let said = Namespace::parse(&page(&[&fields[..], &[(24, &[0x13])]].concat())).unwrap();
    assert_eq!((sizes(&said), said.thin), ((8, 4, 32, 48, 64), true));
    let elsewhere = Namespace::parse(&page(&[&fields[..], &[(24, &[0x20])]].concat())).unwrap();
    assert_eq!(sizes(&elsewhere), (8, 4, 0, 0, 64), "what is about deallocation has more bits elsewhere");
    assert_eq!((said.write.pieces(), said.deallocate.pieces()), (8, 96));
    let controller = Controller::parse(&page(&[(528, &[3, 0])]));
    let any = |max| Some(Atomic { unit: 512, max, natural: false, boundary: 0 });
    assert_eq!(silent.atomic(&controller, 1 << 20), any(4 * 512), "the controller's");
    assert_eq!(said.atomic(&controller, 1 << 20), any(16 * 512), "its own");
    assert_eq!(said.atomic(&controller, 4096), any(4096), "no more than one command takes");
    assert_eq!(silent.atomic(&Controller::parse(&page(&[])), 1 << 20), None, "one block is no offer");
}

#[test]
fn pieces_fit_a_size_and_an_alignment() {
    let pieces = |size, alignment| Preferred { size, alignment }.pieces();
    assert_eq!([pieces(0, 0), pieces(8, 0), pieces(0, 8), pieces(8, 8), pieces(4, 6)], [0, 8, 8, 8, 12]);
    assert_eq!(pieces(65536, 65535), 65536 * 65535);
}

#[test]
fn limits_of_commands_count_pages_and_blocks() {
    let said = Commands::parse(&page(&[(0, &[5, 3, 9, 1]), (4, &[0, 1, 0, 0]), (8, &[0, 0, 1, 0, 0, 0, 0, 0])]));
    let expected =
        Commands { verify_bytes: Some(4096 << 5), zeroes_bytes: 4096 << 3, range_blocks: 256, ranges_blocks: 65536 };
    assert_eq!(said, expected);
    let none = Commands { verify_bytes: Some(0), ..Commands::default() };
    assert_eq!(Commands::parse(&page(&[])), none);
    let huge = Commands::parse(&[0xff; IDENTIFY_LEN]);
    assert_eq!(huge.verify_bytes, Some(1 << 63), "more than any device has");
}

#[test]
fn boundaries_of_atomic_writes_are_heeded() {
    let controller = Controller::parse(&page(&[(528, &[0xff, 0xff])]));
    let of = |features: u8, first: u8, normal: u8, power_fail: u8| {
        let fields: [(usize, &[u8]); 6] = [
            (24, &[features]),
            (36, &[63, 0]),
            (40, &[normal, 0]),
            (42, &[first, 0]),
            (44, &[power_fail, 0]),
            (128, &[0, 0, 9]),
        ];
        Namespace::parse(&page(&fields)).unwrap().atomic(&controller, 1 << 20)
    };
    let any = |max, boundary| Some(Atomic { unit: 512, max, natural: false, boundary });
    assert_eq!(of(2, 0, 0, 0), any(64 * 512, 0), "none");
    assert_eq!(of(2, 0, 0, 127), any(64 * 512, 128 * 512));
    assert_eq!(of(2, 0, 127, 0), any(64 * 512, 128 * 512), "of normal operation alone");
    assert_eq!(of(2, 0, 127, 63), any(64 * 512, 64 * 512), "both at once");
    assert_eq!(of(2, 0, 127, 95), None, "multiples of neither fit the other");
    assert_eq!(of(2, 0, 0, 15), any(16 * 512, 16 * 512), "longer ones always cross one");
    assert_eq!(of(2, 8, 0, 127), None, "they do not begin where the blocks do");
    assert_eq!(of(2, 8, 0, 0), any(64 * 512, 0), "the beginning of none");
    assert_eq!(of(0, 8, 0, 127), any(65536, 0), "fields that the namespace says nothing with");
}

#[test]
fn a_namespace_without_a_size_of_its_own_for_atomic_writes_has_that_of_the_controller() {
    let controller = Controller::parse(&page(&[(528, &[3, 0])]));
    let of = |own: u8| Namespace::parse(&page(&[(24, &[2]), (36, &[own, 0]), (128, &[0, 0, 9])])).unwrap();
    let max = |own| of(own).atomic(&controller, 1 << 20).map(|atomic| atomic.max);
    assert_eq!([max(0), max(1), max(7)], [Some(4 * 512), Some(2 * 512), Some(8 * 512)]);
}

#[test]
fn names_are_found() {
    let nguid = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    let named = Namespace::parse(&page(&[(104, &nguid), (120, &[8; 8]), (128, &[0, 0, 9])])).unwrap();
    assert_eq!((named.nguid, named.eui64), (Some(nguid), Some([8; 8])));
    let list = page(&[(0, &[1, 8, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 3, 16, 0, 0]), (16, &nguid)]);
    assert_eq!(uuid(&list), Some(nguid));
    assert_eq!(uuid(&page(&[(0, &[1, 8])])), None);
}

#[test]
fn a_namespace_names_its_command_set() {
    let of = |list: &[u8]| CommandSet::parse(&page(&[(0, list)]));
    assert_eq!(of(&[4, 1, 0, 0, 2]), CommandSet::ZONED);
    assert_eq!(of(&[1, 8, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 4, 1, 0, 0, 1]), CommandSet(1), "behind a name");
    assert_eq!(of(&[4, 1, 0, 0, 0]), CommandSet::NVM);
    assert_eq!(of(&[1, 8]), CommandSet::NVM, "not said");
    assert_eq!(of(&[4, 2, 0, 0, 2, 2]), CommandSet::NVM, "of a length that it cannot have");
}

#[test]
fn a_list_of_names_that_never_ends_or_lies_about_its_lengths_is_survived() {
    assert_eq!(uuid(&[1; IDENTIFY_LEN]), None);
    assert_eq!(uuid(&[0xff; IDENTIFY_LEN]), None);
    assert_eq!(uuid(&page(&[(0, &[3, 8])])), None, "a UUID of another length");
    for byte in 0..=255 {
        let _ = (Namespace::parse(&[byte; IDENTIFY_LEN]), Controller::parse(&[byte; IDENTIFY_LEN]));
    }
}
