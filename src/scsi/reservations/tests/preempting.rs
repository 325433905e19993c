//! PREEMPT and PREEMPT AND ABORT.

use super::*;
use ReservationType as Type;

fn preempted(indexes: &[usize]) -> Vec<(Nexus, Attention)> {
    indexes.iter().map(|&index| (nexus(index), Attention::RegistrationsPreempted)).collect()
}

#[test]
fn the_holders_key_takes_the_reservation_over() {
    let mut registry = reserved(Type::WriteExclusive);
    let changes = act_on(&mut registry, 1, OutAction::Preempt(Type::WriteExclusive), KEYS[0]).unwrap();
    assert_eq!(changes.attentions, preempted(&[0]));
    assert!(changes.aborts.is_empty());
    assert_eq!((registered_keys(&registry), generation(&registry)), (KEYS[1..].to_vec(), 4));
    assert_eq!(rights(&registry), [Rights::Read, Rights::All, Rights::Read]);
}

#[test]
fn another_type_is_told_to_those_that_stay() {
    let mut registry = reserved(Type::WriteExclusive);
    let changes = act_on(&mut registry, 1, OutAction::Preempt(Type::ExclusiveAccess), KEYS[0]).unwrap();
    let mut expected = preempted(&[0]);
    expected.push((nexus(2), Attention::ReservationsReleased));
    assert_eq!(changes.attentions, expected);
    assert_eq!(rights(&registry), [Rights::None, Rights::All, Rights::None]);
}

#[test]
fn a_holder_may_preempt_itself_to_change_the_type() {
    let mut registry = reserved(Type::WriteExclusive);
    let changes = act_on(&mut registry, 0, OutAction::Preempt(Type::ExclusiveAccess), KEYS[0]).unwrap();
    let told = [nexus(1), nexus(2)].map(|nexus| (nexus, Attention::ReservationsReleased));
    assert_eq!(changes.attentions, told);
    assert_eq!(registered_keys(&registry), KEYS, "its registration stays");
    assert_eq!(rights(&registry), [Rights::All, Rights::None, Rights::None]);
}

#[test]
fn another_key_ends_registrations_and_leaves_the_reservation() {
    let mut registry = reserved(Type::ExclusiveAccess);
    let changes = act_on(&mut registry, 1, OutAction::Preempt(Type::WriteExclusive), KEYS[2]).unwrap();
    assert_eq!(changes.attentions, preempted(&[2]));
    assert_eq!(registered_keys(&registry), KEYS[..2]);
    assert_eq!(rights(&registry), [Rights::All, Rights::None, Rights::None]);
}

#[test]
fn without_a_reservation_it_ends_registrations_its_own_included() {
    let mut registry = registered();
    let changes = act_on(&mut registry, 0, OutAction::Preempt(Type::WriteExclusive), KEYS[0]).unwrap();
    assert_eq!(changes.attentions, [], "it knows what it did");
    assert_eq!(registered_keys(&registry), KEYS[1..]);
    assert_eq!(rights(&registry), [Rights::All; 3]);
}

#[test]
fn a_key_that_nobody_has_is_a_conflict_and_none_at_all_is_refused() {
    for mut registry in [registered(), reserved(Type::WriteExclusive), reserved(Type::WriteExclusiveAllRegistrants)] {
        let action = OutAction::Preempt(Type::WriteExclusive);
        assert_eq!(act_on(&mut registry, 1, action, 0xdead), Err(Refusal::Conflict));
        if !registry.reservation.is_some_and(|held| held.kind.is_all_registrants()) {
            let said = refusal(act_on(&mut registry, 1, action, 0));
            assert_eq!(said, (SenseKey::ILLEGAL_REQUEST, Asc::INVALID_FIELD_IN_PARAMETER_LIST, Some(8)));
        }
        assert_eq!((registered_keys(&registry), generation(&registry)), (KEYS.to_vec(), 3));
    }
}

#[test]
fn a_reservation_of_all_registrants_is_taken_over_with_no_key() {
    let mut registry = reserved(Type::WriteExclusiveAllRegistrants);
    let changes = act_on(&mut registry, 1, OutAction::Preempt(Type::ExclusiveAccess), 0).unwrap();
    assert_eq!(changes.attentions, preempted(&[0, 2]));
    assert_eq!(registered_keys(&registry), [KEYS[1]]);
    assert_eq!(rights(&registry), [Rights::None, Rights::All, Rights::None]);
}

#[test]
fn a_reservation_of_all_registrants_outlives_the_one_who_made_it() {
    let mut registry = reserved(Type::ExclusiveAccessAllRegistrants);
    act_on(&mut registry, 1, OutAction::Preempt(Type::WriteExclusive), KEYS[0]).unwrap();
    assert_eq!(rights(&registry), [Rights::None, Rights::All, Rights::All]);
    act_on(&mut registry, 1, OutAction::Preempt(Type::WriteExclusive), KEYS[2]).unwrap();
    act_on(&mut registry, 1, OutAction::Preempt(Type::WriteExclusive), KEYS[1]).unwrap();
    assert_eq!(rights(&registry), [Rights::All; 3], "none is left");
}

#[test]
fn and_abort_names_whose_commands_end() {
    let mut registry = reserved(Type::WriteExclusive);
    let action = OutAction::PreemptAndAbort(Type::ExclusiveAccess);
    let changes = act_on(&mut registry, 1, action, KEYS[0]).unwrap();
    assert_eq!(changes.aborts, [nexus(0)], "not those who are only told of another type");
}
