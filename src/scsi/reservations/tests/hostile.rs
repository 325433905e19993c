//! Parameter lists, right and wrong, and as many registrations as somebody likes to make.

use super::*;

/// A list with both keys and these bytes from byte 16 on.
fn list(rest: &[u8]) -> Vec<u8> {
    let mut list = vec![0, 0, 0, 0, 0, 0, 0, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0xb2];
    list.extend(rest);
    list
}

fn pointer(sense: Sense) -> (Asc, Option<(u16, Option<u8>)>) {
    let at = field(&sense).map(|pointer| {
        assert!(!pointer.in_cdb);
        (pointer.byte, pointer.bit)
    });
    (sense.asc, at)
}

const BAD: Asc = Asc::INVALID_FIELD_IN_PARAMETER_LIST;

#[test]
fn a_basic_list() {
    let bytes = list(&[0, 0, 0, 0, 0x05, 0, 0, 0]);
    let read = OutParameters::parse(OutAction::Register, &bytes).unwrap();
    assert_eq!(read, OutParameters { aptpl: true, all_ports: true, ..keys(0xa1, 0xb2) });
    let read = OutParameters::parse(OutAction::Clear, &bytes).unwrap();
    assert_eq!(read, keys(0xa1, 0xb2), "only a registration has them");
}

#[test]
fn a_list_with_initiator_ports() {
    let mut bytes = list(&[0, 0, 0, 0, 0x08, 0, 0, 0, 0, 0, 0, 48]);
    bytes.extend(nexus(1).initiator.transport_id());
    bytes.extend(nexus(2).initiator.transport_id());
    let read = OutParameters::parse(OutAction::Register, &bytes).unwrap();
    assert_eq!(read.initiators, Some(vec![nexus(1).initiator, nexus(2).initiator]));
    let said = OutParameters::parse(OutAction::RegisterAndIgnore, &bytes).unwrap_err();
    assert_eq!(pointer(said), (BAD, Some((20, Some(3)))));
    bytes[52] = 0x05;
    let said = OutParameters::parse(OutAction::Register, &bytes).unwrap_err();
    assert_eq!(pointer(said), (BAD, Some((52, None))), "another kind of port");
    bytes[27] = 47;
    let said = OutParameters::parse(OutAction::Register, &bytes).unwrap_err();
    assert_eq!(pointer(said), (BAD, Some((24, None))), "a length that is not that of the list");
}

#[test]
fn a_list_that_moves() {
    let mut bytes = list(&[0, 0x03, 0, 2, 0, 0, 0, 24]);
    bytes.extend(nexus(2).initiator.transport_id());
    let read = OutParameters::parse(OutAction::RegisterAndMove, &bytes).unwrap();
    let initiators = Some(vec![nexus(2).initiator]);
    let expected = OutParameters { aptpl: true, unregister: true, port: 2, initiators, ..keys(0xa1, 0xb2) };
    assert_eq!(read, expected);
    let none = list(&[0, 0, 0, 2, 0, 0, 0, 0]);
    let said = OutParameters::parse(OutAction::RegisterAndMove, &none).unwrap_err();
    assert_eq!(pointer(said), (BAD, Some((20, None))), "to nobody");
}

#[test]
fn lists_of_every_length_and_flag_are_read_or_refused() {
    let bytes = list(&[0; 4096]);
    for len in 0..bytes.len() {
        let basic = OutParameters::parse(OutAction::Clear, &bytes[..len]);
        assert_eq!(basic.is_ok(), len == 24, "{len}");
        let _ = OutParameters::parse(OutAction::RegisterAndMove, &bytes[..len]);
    }
    for flags in 0..=255 {
        let result = OutParameters::parse(OutAction::Register, &list(&[0, 0, 0, 0, flags, 0, 0, 0]));
        assert_eq!(result.is_ok(), flags & !0x05 == 0, "{flags:#x}");
    }
    let long = list(&vec![0; OutParameters::LEN_MAX]);
    assert_eq!(
        pointer(OutParameters::parse(OutAction::Register, &long).unwrap_err()).0,
        Asc::PARAMETER_LIST_LENGTH_ERROR
    );
}

#[test]
fn cdb_fields_matter_where_they_are_looked_at() {
    for action in 0..32 {
        for scope_and_type in 0..=255 {
            let result = OutAction::from_cdb(action, scope_and_type);
            let looks = matches!(action, 1 | 2 | 4 | 5 | 8);
            let fits = ReservationType::from_code(scope_and_type).is_some();
            assert_eq!(result.is_ok(), action <= 8 && (!looks || fits), "{action} {scope_and_type:#x}");
        }
    }
    assert_eq!(OutAction::from_cdb(1, 0x11), Err(Sense::invalid_field(2, Some(7))), "another scope");
    assert_eq!(OutAction::from_cdb(1, 0x02), Err(Sense::invalid_field(2, Some(3))), "another type");
}

#[test]
fn one_registration_too_many_changes_nothing() {
    let mut registry = Registry::default();
    for index in 0..REGISTRATIONS_MAX - 1 {
        registry.persistent_out(nexus(index), OutAction::Register, &keys(0, 9), &PORTS).unwrap();
    }
    let last = nexus(REGISTRATIONS_MAX);
    let two = OutParameters { all_ports: true, ..keys(0, 9) };
    let said = refusal(registry.persistent_out(last, OutAction::Register, &two, &PORTS));
    assert_eq!(said, (SenseKey::ILLEGAL_REQUEST, Asc::INSUFFICIENT_REGISTRATION_RESOURCES, None));
    assert_eq!(registered_keys(&registry).len(), REGISTRATIONS_MAX - 1);
    registry.persistent_out(last, OutAction::Register, &keys(0, 9), &PORTS).unwrap();
}
