//! PERSISTENT RESERVE IN, byte by byte.

use super::*;

#[test]
fn keys() {
    let expected = [
        &[0, 0, 0, 3, 0, 0, 0, 24][..],
        &[0, 0, 0, 0, 0, 0, 0, 0xa1],
        &[0, 0, 0, 0, 0, 0, 0, 0xb2],
        &[0, 0, 0, 0, 0, 0, 0, 0xc3],
    ];
    assert_eq!(read(&registered(), 0), expected.concat());
    assert_eq!(read(&Registry::default(), 0), [0; 8]);
}

#[test]
fn the_reservation() {
    assert_eq!(read(&registered(), 1), [0, 0, 0, 3, 0, 0, 0, 0]);
    let held = [0, 0, 0, 3, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0xa1, 0, 0, 0, 0, 0, 0x03, 0, 0];
    assert_eq!(read(&reserved(ReservationType::ExclusiveAccess), 1), held);
    let shared = [0, 0, 0, 3, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x07, 0, 0];
    assert_eq!(read(&reserved(ReservationType::WriteExclusiveAllRegistrants), 1), shared);
}

#[test]
fn capabilities() {
    let mut registry = Registry::default();
    assert_eq!(read(&registry, 2), [0, 8, 0x9d, 0x80, 0xea, 0x01, 0, 0]);
    let asked = OutParameters { aptpl: true, ..super::keys(0, 1) };
    assert!(registry.persistent_out(nexus(0), OutAction::Register, &asked, &PORTS).unwrap().save);
    assert_eq!(read(&registry, 2), [0, 8, 0x9d, 0x81, 0xea, 0x01, 0, 0]);
}

#[test]
fn full_status() {
    let mut registry = reserved(ReservationType::WriteExclusive);
    act_on(&mut registry, 2, OutAction::Register, 0).unwrap();
    let status = read(&registry, 3);
    assert_eq!(status[..8], [0, 0, 0, 4, 0, 0, 0, 96]);
    let mut first = vec![0, 0, 0, 0, 0, 0, 0, 0xa1, 0, 0, 0, 0, 0x01, 0x01, 0, 0, 0, 0, 0, 1, 0, 0, 0, 24];
    first.extend(nexus(0).initiator.transport_id());
    assert_eq!(status[8..56], first);
    assert_eq!(status[56..82], [0, 0, 0, 0, 0, 0, 0, 0xb2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 24, 6, 0]);
    let shared = read(&reserved(ReservationType::ExclusiveAccessAllRegistrants), 3);
    let flags: Vec<_> = shared[8..].chunks_exact(48).map(|one| (one[12], one[13])).collect();
    assert_eq!(flags, [(1, 8); 3], "each holds it");
}

#[test]
fn an_unknown_service_action_is_refused() {
    let mut reply = Reply::new();
    for action in 4..32 {
        let sense = Registry::default().persistent_in(action, true, &mut reply).unwrap_err();
        assert_eq!(sense, Sense::invalid_field(1, Some(4)));
    }
}
