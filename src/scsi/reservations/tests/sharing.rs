//! Registering, reserving, releasing, and what the others may do meanwhile.

use super::*;
use ReservationType as Type;

const TYPES: [Type; 6] = [
    Type::WriteExclusive,
    Type::ExclusiveAccess,
    Type::WriteExclusiveRegistrantsOnly,
    Type::ExclusiveAccessRegistrantsOnly,
    Type::WriteExclusiveAllRegistrants,
    Type::ExclusiveAccessAllRegistrants,
];

#[test]
fn a_type_keeps_its_code() {
    let codes: Vec<_> = (0..=255).filter_map(|code| Type::from_code(code).map(|kind| (code, kind as u8))).collect();
    assert_eq!(codes, [1, 3, 5, 6, 7, 8].map(|code| (code, code)));
}

#[test]
fn each_type_leaves_to_others_what_it_says() {
    use Rights::{All, None, Read};
    // What a registrant and a stranger may do beside the holder.
    let expected = [(Read, Read), (None, None), (All, Read), (All, None), (All, Read), (All, None)];
    for (kind, (registrant, stranger)) in TYPES.into_iter().zip(expected) {
        let mut registry = Registry::default();
        register(&mut registry, 0);
        register(&mut registry, 1);
        act(&mut registry, 0, OutAction::Reserve(kind)).unwrap();
        assert_eq!(rights(&registry), [All, registrant, stranger], "{kind:?}");
    }
}

#[test]
fn a_key_that_is_not_ones_own_is_a_conflict() {
    let mut registry = registered();
    let wrong = keys(KEYS[1], 7);
    let reserve = OutAction::Reserve(Type::WriteExclusive);
    for action in [OutAction::Register, reserve, OutAction::Clear, OutAction::Preempt(Type::WriteExclusive)] {
        assert_eq!(registry.persistent_out(nexus(0), action, &wrong, &PORTS), Err(Refusal::Conflict), "{action:?}");
    }
    let stranger = Nexus { port: 2, ..nexus(0) };
    assert_eq!(registry.persistent_out(stranger, reserve, &keys(KEYS[0], 0), &PORTS), Err(Refusal::Conflict));
    assert_eq!(registry.persistent_out(stranger, reserve, &keys(0, 0), &PORTS), Err(Refusal::Conflict));
    assert_eq!(registered_keys(&registry), KEYS);
}

#[test]
fn registering_counts_generations_and_doing_nothing_does_not() {
    let mut registry = registered();
    assert_eq!(generation(&registry), 3);
    let ignore = OutAction::RegisterAndIgnore;
    registry.persistent_out(nexus(0), ignore, &keys(99, 0xd4), &PORTS).unwrap();
    assert_eq!((generation(&registry), registered_keys(&registry)), (4, vec![0xd4, KEYS[1], KEYS[2]]));
    for action in [OutAction::Register, ignore] {
        let stranger = Nexus { port: 2, ..nexus(0) };
        registry.persistent_out(stranger, action, &keys(0, 0), &PORTS).unwrap();
    }
    assert_eq!(generation(&registry), 4);
    registry.persistent_out(nexus(0), OutAction::Register, &keys(0xd4, 0), &PORTS).unwrap();
    assert_eq!((generation(&registry), registered_keys(&registry)), (5, KEYS[1..].to_vec()));
}

#[test]
fn reserving_again_is_good_for_the_holder_and_only_as_it_was() {
    for kind in TYPES {
        let mut registry = reserved(kind);
        assert_eq!(act(&mut registry, 0, OutAction::Reserve(kind)), Ok(Changes::default()));
        let other = if kind == Type::WriteExclusive { Type::ExclusiveAccess } else { Type::WriteExclusive };
        assert_eq!(act(&mut registry, 0, OutAction::Reserve(other)), Err(Refusal::Conflict));
        let second = act(&mut registry, 1, OutAction::Reserve(kind));
        assert_eq!(second.is_ok(), kind.is_all_registrants(), "{kind:?}");
        assert_eq!(generation(&registry), 3, "a reservation is no new generation");
    }
}

#[test]
fn a_release_tells_the_registrants_that_shared() {
    for kind in TYPES {
        let mut registry = reserved(kind);
        let others = if kind.admits_registrants() { vec![nexus(1), nexus(2)] } else { vec![] };
        let expected: Vec<_> = others.into_iter().map(|nexus| (nexus, Attention::ReservationsReleased)).collect();
        let changes = act(&mut registry, 0, OutAction::Release(kind)).unwrap();
        assert_eq!((changes.attentions, rights(&registry)), (expected, [Rights::All; 3]), "{kind:?}");
        assert_eq!(registered_keys(&registry), KEYS);
    }
}

#[test]
fn a_release_by_others_does_nothing_and_of_another_type_is_refused() {
    let mut registry = reserved(Type::WriteExclusive);
    assert_eq!(act(&mut registry, 1, OutAction::Release(Type::WriteExclusive)), Ok(Changes::default()));
    let said = refusal(act(&mut registry, 0, OutAction::Release(Type::ExclusiveAccess)));
    assert_eq!(said, (SenseKey::ILLEGAL_REQUEST, Asc::INVALID_RELEASE_OF_PERSISTENT_RESERVATION, None));
    assert_eq!(rights(&registry), [Rights::All, Rights::Read, Rights::Read]);
}

#[test]
fn a_holder_that_unregisters_ends_its_reservation() {
    for kind in TYPES {
        let mut registry = reserved(kind);
        let changes = act_on(&mut registry, 0, OutAction::Register, 0).unwrap();
        let told = matches!(kind, Type::WriteExclusiveRegistrantsOnly | Type::ExclusiveAccessRegistrantsOnly);
        assert_eq!(changes.attentions.len(), if told { 2 } else { 0 }, "{kind:?}");
        let ended = registry.reservation.is_none();
        assert_eq!(ended, !kind.is_all_registrants(), "all registrants hold it as long as there is one");
        if !ended {
            act_on(&mut registry, 1, OutAction::Register, 0).unwrap();
            assert_eq!(registry.rights(nexus(2)), Rights::All);
            act_on(&mut registry, 2, OutAction::Register, 0).unwrap();
            assert_eq!(rights(&registry), [Rights::All; 3], "nobody is left to hold it");
        }
    }
}

#[test]
fn clear_ends_everything_and_tells_the_others() {
    let mut registry = reserved(Type::ExclusiveAccess);
    let changes = act(&mut registry, 1, OutAction::Clear).unwrap();
    let told = [nexus(0), nexus(2)].map(|nexus| (nexus, Attention::ReservationsPreempted));
    assert_eq!(changes.attentions, told);
    assert_eq!((registered_keys(&registry), generation(&registry)), (vec![], 4));
    assert_eq!(rights(&registry), [Rights::All; 3]);
}

#[test]
fn all_ports_and_other_initiators_are_registered_at_once() {
    let mut registry = Registry::default();
    let asked = OutParameters { all_ports: true, initiators: Some(vec![nexus(1).initiator]), ..keys(0, KEYS[0]) };
    registry.persistent_out(nexus(0), OutAction::Register, &asked, &PORTS).unwrap();
    assert_eq!(registered_keys(&registry), [KEYS[0]; 4]);
    assert!(registry.find(Nexus { port: 2, ..nexus(1) }).is_some());
    assert_eq!(generation(&registry), 1);
    let again = OutParameters { key: KEYS[0], ..asked };
    let said = refusal(registry.persistent_out(nexus(0), OutAction::Register, &again, &PORTS));
    assert_eq!(said, (SenseKey::ILLEGAL_REQUEST, Asc::INVALID_FIELD_IN_PARAMETER_LIST, Some(20)));
}

#[test]
fn a_holder_hands_its_reservation_to_another_nexus() {
    let mut registry = reserved(Type::WriteExclusive);
    let heir = Nexus { port: 2, ..nexus(2) };
    let to = |heir: Nexus| OutParameters {
        initiators: Some(vec![heir.initiator]),
        port: heir.port,
        unregister: true,
        ..keys(KEYS[0], 0xd4)
    };
    let action = OutAction::RegisterAndMove;
    let said = refusal(registry.persistent_out(nexus(0), action, &to(nexus(0)), &PORTS));
    assert_eq!(said.2, Some(24), "not to itself");
    let said = refusal(registry.persistent_out(nexus(0), action, &to(Nexus { port: 3, ..heir }), &PORTS));
    assert_eq!(said.2, Some(18), "not to a port that is not there");
    let said = refusal(registry.persistent_out(nexus(0), action, &OutParameters { action_key: 0, ..to(heir) }, &PORTS));
    assert_eq!(said.2, Some(8), "not without a key");
    let foreign = OutParameters { key: KEYS[1], ..to(heir) };
    assert_eq!(registry.persistent_out(nexus(1), action, &foreign, &PORTS), Err(Refusal::Conflict), "not by others");
    registry.persistent_out(nexus(0), action, &to(heir), &PORTS).unwrap();
    assert_eq!(registered_keys(&registry), [KEYS[1], KEYS[2], 0xd4]);
    assert_eq!(registry.rights(heir), Rights::All);
    assert_eq!(rights(&registry), [Rights::Read; 3]);
}

#[test]
fn reserve_and_release_of_old_give_way_to_registrations() {
    let mut registry = Registry::default();
    registry.reserve_unit(nexus(0)).unwrap();
    registry.reserve_unit(nexus(0)).unwrap();
    assert_eq!(registry.reserve_unit(nexus(1)), Err(Refusal::Conflict));
    assert_eq!(rights(&registry), [Rights::All, Rights::Reserved, Rights::Reserved]);
    let register = registry.persistent_out(nexus(1), OutAction::Register, &keys(0, KEYS[1]), &PORTS);
    assert_eq!(register, Err(Refusal::Conflict));
    registry.release_unit(nexus(1)).unwrap();
    assert_eq!(registry.rights(nexus(1)), Rights::Reserved, "only the holder releases");
    registry.release_unit(nexus(0)).unwrap();

    let mut registry = reserved(Type::WriteExclusiveRegistrantsOnly);
    let stranger = Nexus { port: 2, ..nexus(0) };
    assert_eq!(registry.reserve_unit(nexus(1)), Ok(()), "it may use the disk already");
    assert_eq!(registry.reserve_unit(stranger), Err(Refusal::Conflict));
    assert_eq!(registry.release_unit(stranger), Err(Refusal::Conflict));
    assert_eq!(registered().reserve_unit(nexus(0)), Err(Refusal::Conflict), "registered, and nothing reserved");
}

#[test]
fn a_reset_or_a_lost_nexus_ends_the_reservation_of_old_alone() {
    let mut registry = Registry::default();
    registry.reserve_unit(nexus(0)).unwrap();
    registry.nexus_lost(nexus(1));
    assert_eq!(registry.rights(nexus(1)), Rights::Reserved);
    registry.nexus_lost(nexus(0));
    assert_eq!(rights(&registry), [Rights::All; 3]);
    registry.reserve_unit(nexus(0)).unwrap();
    registry.unit_reset();
    assert_eq!(rights(&registry), [Rights::All; 3]);
    let mut registry = reserved(Type::ExclusiveAccess);
    registry.nexus_lost(nexus(0));
    registry.unit_reset();
    assert_eq!(rights(&registry), [Rights::All, Rights::None, Rights::None]);
}

#[test]
fn rights_forbid_what_they_do_not_give() {
    use Access::{Always, Persistent, Read, Unit, Write};
    let all = [Always, Read, Write, Persistent, Unit];
    let allowed = |rights: Rights| all.map(|access| !rights.conflicts(access));
    assert_eq!(allowed(Rights::All), [true; 5]);
    assert_eq!(allowed(Rights::Read), [true, true, false, true, true]);
    assert_eq!(allowed(Rights::None), [true, false, false, true, true]);
    assert_eq!(allowed(Rights::Reserved), [true, false, false, false, true]);
    assert_eq!(allowed(Rights::Lost), [true, false, false, true, true]);
    for rights in [Rights::All, Rights::Read, Rights::None, Rights::Reserved, Rights::Lost] {
        assert_eq!(Rights::from_byte(rights as u8), rights);
    }
}
