use super::*;

/// Guests have found their disks by these: they may never change.
#[test]
fn derived_names_are_pinned() {
    let identity = Identity::derive("/var/lib/disks/a.img");
    assert_eq!(identity.serial(), "3562607a5505f7f3");
    assert_eq!(identity.naa().to_string(), "399712b1b5b52bc5");
    assert_eq!(identity.vendor(), b"ANNULUS ");
    assert_eq!(identity.product(), b"ANNULUS DISK    ");
    assert_eq!(identity.revision(), b"1.0 ");
}

/// Test vectors that the authors of FNV published.
#[test]
fn different_names_differ() {
    let [a, b] = ["disk0", "disk1"].map(Identity::derive);
    assert_ne!(a.serial(), b.serial());
    assert_ne!(a.naa(), b.naa());
    assert_ne!(a.naa().to_string()[1..], a.serial()[1..], "one is not the other");
}

#[test]
fn a_local_name_keeps_its_authority() {
    assert_eq!(Naa::local(u64::MAX).as_bytes(), [0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(Naa::local(0x1122).as_bytes(), [0x30, 0, 0, 0, 0, 0, 0x11, 0x22]);
}

#[test]
fn names_are_read_from_digits() {
    for text in ["3000000000001122", "2abcdef012345678", "5000C500A1B2C3D4", "6001405deadbeef00000000000000001"] {
        let naa = Naa::parse(text).unwrap();
        assert_eq!(naa.to_string(), text.to_lowercase());
        assert_eq!(Naa::parse(&format!("0x{text}")), Ok(naa));
    }
    let wrong = [
        "",
        "0x",
        "3",
        "1000000000000000",
        "6000000000000000",
        "300000000000112g",
        "3000000000001122 ",
        "3ä00000000000112",
    ];
    for text in wrong {
        assert_eq!(Naa::parse(text), Err(IdentityError::Naa { text: text.into() }));
    }
}

#[test]
fn texts_are_padded() {
    let identity = Identity::derive("x").with_vendor("ACME").unwrap().with_product("Thing 1").unwrap();
    assert_eq!(identity.vendor(), b"ACME    ");
    assert_eq!(identity.product(), b"Thing 1         ");
    assert_eq!(identity.with_revision("12").unwrap().revision(), b"12  ");
}

#[test]
fn texts_that_do_not_fit_are_refused() {
    let message = |result: Result<Identity, IdentityError>| result.unwrap_err().to_string();
    let identity = || Identity::derive("x");
    assert_eq!(message(identity().with_vendor("123456789")), r#"vendor "123456789" has 9 bytes: at most 8 fit"#);
    assert_eq!(message(identity().with_product("")), "product is empty");
    assert!(message(identity().with_revision("a\tb")).contains("printable"));
    assert!(message(identity().with_serial("ä")).contains("printable"));
    assert!(message(identity().with_serial(" A1")).contains("space"));
    assert!(message(identity().with_serial("A1 ")).contains("space"));
    assert!(identity().with_serial(&"A".repeat(SERIAL_LEN_MAX)).is_ok());
    assert!(identity().with_serial(&"A".repeat(SERIAL_LEN_MAX + 1)).is_err());
}

#[test]
fn uuids_with_hyphens_and_without() {
    let expected = Ok(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes());
    assert_eq!(parse_uuid("00112233-4455-6677-8899-AABBCCDDEEFF"), expected);
    assert_eq!(parse_uuid("00112233445566778899aabbccddeeff"), expected);
    let wrong = ["", "0011", "0011223-34455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeefg"];
    let others =
        ["00112233445566778899aabbccddeeff00", "{00112233-4455-6677-8899-aabbccddee}", "\u{e4}".repeat(16).leak()];
    for text in wrong.into_iter().chain(others) {
        assert_eq!(parse_uuid(text), Err(IdentityError::Uuid { text: text.to_owned() }));
    }
}
