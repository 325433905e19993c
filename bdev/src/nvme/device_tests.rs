use super::*;
use crate::info::Atomic;

/// A controller with everything, and a namespace of 1,000 blocks of 4096 bytes.
fn pages() -> (Page, Page) {
    let mut controller = [b' '; 4096];
    controller[4..9].copy_from_slice(b"S123 ");
    controller[24..29].copy_from_slice(b"Model");
    controller[64..68].copy_from_slice(b"1.0 ");
    controller[512..].fill(0);
    controller[520] = 0x0c;
    controller[525] = 1;
    controller[528] = 7;
    let mut namespace = [0; 4096];
    namespace[0..8].copy_from_slice(&1000_u64.to_le_bytes());
    namespace[24] = 0x11;
    namespace[33] = 0x09;
    namespace[64] = 3;
    namespace[68] = 15;
    namespace[72] = 31;
    namespace[130] = 12;
    (controller, namespace)
}

fn terms() -> Terms {
    let limits = Limits::read(Path::new("/nowhere"), 4096);
    Terms { nsid: 3, block_size: 4096, limits, zeroes_deallocate: true, fixed: Fixed::Piece }
}

#[test]
fn what_it_says_of_itself_is_what_guests_see() {
    let (controller, namespace) = pages();
    let (controller, namespace) = (Controller::parse(&controller), Namespace::parse(&namespace).unwrap());
    let info = info_of(&controller, &namespace, 1000, &terms());
    assert_eq!((info.block_size, info.blocks, info.physical_exponent), (4096, 1000, 2));
    assert_eq!((info.write_cache, info.thin, info.read_only), (WriteCache::WriteBack, true, false));
    assert_eq!(info.discard, Some(Discard { granularity: 65536, alignment: 0, max: 4 << 30, zeroes: true }));
    assert_eq!((info.write_zeroes_max, info.optimal_transfer, info.transfer_granularity), (4 << 30, 131_072, 16384));
    assert_eq!(info.atomic, Some(Atomic { unit: 4096, max: 8 * 4096, natural: false, boundary: 0 }));
}

#[test]
fn a_guest_is_told_what_the_device_moves_at_once() {
    let (mut controller, namespace) = pages();
    // The kernel knows nothing of the queue: 128 KiB, in 33 pages.
    let queue = Path::new("/nowhere");
    let mut of = |mdts: u8| {
        controller[77] = mdts;
        let (controller, namespace) = (Controller::parse(&controller), Namespace::parse(&namespace).unwrap());
        let device = Device { nsid: 3, controller, namespace, commands: Commands::default(), uuid: None };
        let info = device.info(Path::new("/dev/ng0n1"), &device.terms(queue)).unwrap();
        (info.max_transfer, info.segments_max, info.queue_depth)
    };
    assert_eq!(of(0), (128 << 10, 33, 0), "MDTS: no limit");
    assert_eq!(of(2), (16 << 10, 33, 0), "MDTS: 4 pages");
    assert_eq!(of(7), (128 << 10, 33, 0), "MDTS: more than the kernel lets through");
    assert_eq!(of(255).0, 128 << 10);
}

#[test]
fn what_it_cannot_do_is_not_offered() {
    let (_, namespace) = pages();
    let (controller, namespace) = (Controller::parse(&[0; 4096]), Namespace::parse(&namespace).unwrap());
    let info = info_of(&controller, &namespace, 1000, &terms());
    assert_eq!((info.discard, info.write_zeroes_max, info.write_cache), (None, 0, WriteCache::WriteThrough));
}

#[test]
fn what_is_best_fits_sizes_and_alignments() {
    let (controller, page) = pages();
    let controller = Controller::parse(&controller);
    let of = |changes: &[(usize, u8)]| {
        let mut page = page;
        changes.iter().for_each(|(at, byte)| page[*at] = *byte);
        info_of(&controller, &Namespace::parse(&page).unwrap(), 1000, &terms())
    };
    // NPWG 4 and NPWA 6 blocks; NPDG 16 and NPDA 32.
    let both = of(&[(66, 5), (70, 31)]);
    assert_eq!((both.transfer_granularity, both.discard.unwrap().granularity), (12 * 4096, 32 * 4096));
    // NOIOB of 64 blocks counts where no NOWS is said.
    assert_eq!(of(&[(46, 64)]).optimal_transfer, 131_072);
    let quiet = of(&[(24, 0), (46, 64)]);
    assert_eq!((quiet.optimal_transfer, quiet.transfer_granularity), (262_144, 0));
    assert_eq!((quiet.discard.unwrap().granularity, quiet.physical_exponent), (4096, 0));
}

#[test]
fn names_are_the_best_that_it_has() {
    let (controller, mut namespace) = pages();
    let controller = Controller::parse(&controller);
    let mut named = |at: usize, uuid| {
        if at > 0 {
            namespace[at..at + 8].fill(0xab);
        }
        names(&controller, &Namespace::parse(&namespace).unwrap(), 3, uuid)
    };
    let none = named(0, None);
    assert_eq!((none.unique.as_str(), none.serial.as_deref()), ("nvme:Model S123 3", Some("S123_3")));
    assert_eq!((none.eui64, none.nguid, none.uuid), (None, None, None));
    let eui64 = named(120, None);
    assert_eq!((eui64.unique.as_str(), eui64.eui64), ("nvme:abababababababab", Some([0xab; 8])));
    assert_eq!(named(0, Some([0x12; 16])).unique, format!("nvme:{}", "12".repeat(16)));
    let nguid = named(104, Some([0x12; 16]));
    assert_eq!((nguid.unique.as_str(), nguid.uuid), ("nvme:abababababababab0000000000000000", Some([0x12; 16])));
}

#[test]
fn who_may_not_ask_is_told_what_to_give_instead() {
    let said = |errno| unidentified(Path::new("/dev/ng0n1"), io::Error::from_raw_os_error(errno)).to_string();
    assert!(said(libc::EACCES).contains("/dev/nvme0n1") && said(libc::EPERM).contains("CAP_SYS_ADMIN"));
    assert!(said(libc::ENODEV).contains("cannot identify the namespace of"));
}

#[test]
fn other_command_sets_are_refused() {
    let said = |set| check_command_set(Path::new("/dev/ng0n1"), CommandSet(set)).map_err(|error| error.to_string());
    assert_eq!(said(0), Ok(()));
    assert!(said(1).unwrap_err().contains("command set 01h"));
    assert!(said(2).unwrap_err().contains("/dev/ng0n1: is a zoned device"));
}

#[test]
fn what_cannot_be_served_is_refused_in_words() {
    let path = Path::new("/dev/ng0n1");
    let said = |change: &dyn Fn(&mut Page), options| {
        let mut namespace = pages().1;
        change(&mut namespace);
        let parsed = parse_namespace(path, &namespace);
        parsed.and_then(|namespace| check(path, &namespace, options)).map_err(|error| error.to_string())
    };
    let any = NvmeOptions::default();
    assert_eq!(said(&|_| {}, any), Ok(()));
    let why = |change: &dyn Fn(&mut Page), options| said(change, options).unwrap_err();
    assert!(why(&|page| page[128] = 8, any).contains("8 bytes of metadata"));
    assert!(why(&|page| page[130] = 0, any).contains("no block size"));
    assert!(why(&|page| page[130] = 13, any).contains("8192"));
    assert!(why(&|page| page[0..8].fill(0xff), any).contains("2^64"));
    assert!(why(&|page| page[99] = 1, any).contains("write-protected"));
    assert_eq!(said(&|page| page[99] = 1, NvmeOptions { read_only: true, ..any }), Ok(()));
    assert!(why(&|_| {}, NvmeOptions { block_size: Some(512), ..any }).contains("4096 bytes, not 512"));
    assert_eq!(said(&|_| {}, NvmeOptions { block_size: Some(4096), ..any }), Ok(()));
}
