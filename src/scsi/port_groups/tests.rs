use super::*;

/// Ports 1 and 3 in group 1, port 2 in group 0x0102.
fn groups() -> PortGroups {
    let mut groups = PortGroups::default();
    groups.add(2, 0x0102, AccessState::ActiveNonOptimized);
    groups.add(3, 1, AccessState::ActiveOptimized);
    groups.add(1, 1, AccessState::Standby);
    groups
}

fn report(groups: &PortGroups, extended: bool) -> Vec<u8> {
    let mut reply = Reply::new();
    reply.begin(4096);
    groups.report(extended, &mut reply);
    reply.as_bytes().to_vec()
}

#[test]
fn tells_groups_and_their_ports() {
    let first = [0, 0x0f, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3];
    let second = [1, 0x0f, 1, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    assert_eq!(report(&groups(), false), [&[0, 0, 0, 28][..], &first, &second].concat());
    assert_eq!(report(&groups(), true), [&[0, 0, 0, 32, 0x10, 0, 0, 0][..], &first, &second].concat());
    assert_eq!(report(&PortGroups::default(), false), [0, 0, 0, 0]);
}

#[test]
fn an_initiator_sets_states() {
    let mut groups = groups();
    let changed = groups.set_by_initiator(&[0, 0, 0, 0, 2, 0, 0, 1, 1, 0, 1, 2]).unwrap();
    assert_eq!(changed, [1], "the second had that state");
    assert_eq!(
        (groups.of(3), groups.of(2)),
        (Some((1, AccessState::Standby)), Some((0x0102, AccessState::ActiveNonOptimized)))
    );
    assert_eq!(report(&groups, false)[4..10], [2, 0x0f, 0, 1, 0, 1], "and says who did it");
    assert_eq!(groups.set_by_initiator(&[]), Ok(vec![]));
    assert_eq!(groups.set_by_initiator(&[0; 4]), Ok(vec![]));
}

#[test]
fn a_wrong_list_changes_nothing() {
    let bad = |byte, bit| Err(Sense::invalid_parameter(byte, bit));
    let length = Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR));
    let cases = [
        (&[0; 3][..], length.clone()),
        (&[0, 0, 0, 0, 2], length.clone()),
        (&[0; SET_LIST_LEN_MAX + 4], length),
        (&[0, 0, 0, 0, 2, 0, 0, 1, 2, 0, 0, 9], bad(10, None)),
        (&[0, 0, 0, 0, 2, 0, 0, 1, 0x0e, 0, 1, 2], bad(8, Some(3))),
        (&[0, 0, 0, 0, 0x0f, 0, 0, 1], bad(4, Some(3))),
    ];
    for (list, expected) in cases {
        let mut groups = groups();
        assert_eq!(groups.set_by_initiator(list), expected, "{list:?}");
        assert_eq!(groups, super::tests::groups());
    }
}

#[test]
fn the_user_sets_states_and_ports_come_and_go() {
    let mut groups = groups();
    assert_eq!(groups.set(1, AccessState::Unavailable), Some(true));
    assert_eq!(groups.set(1, AccessState::Unavailable), Some(false));
    assert_eq!(groups.set(9, AccessState::Standby), None);
    assert_eq!(report(&groups, false)[4..10], [3, 0x0f, 0, 1, 0, 2]);
    assert_eq!((groups.ports().collect::<Vec<_>>(), groups.ports_of(1)), (vec![1, 3, 2], &[1, 3][..]));
    groups.add(3, 0x0102, AccessState::Standby);
    assert_eq!(groups.of(3), Some((0x0102, AccessState::ActiveNonOptimized)), "a port is in one group");
    groups.remove(1);
    assert_eq!((groups.of(1), groups.set(1, AccessState::Standby)), (None, None), "a group goes with its last port");
}

#[test]
fn states_say_why_they_refuse() {
    let said = [0, 1, 2, 3]
        .map(|code| AccessState::from_code(code).unwrap().refusal().map(|sense| (sense.key.0, sense.asc.0)));
    assert_eq!(said, [None, None, Some((2, 0x040b)), Some((2, 0x040c))]);
    assert!((4..=255).all(|code| AccessState::from_code(code).is_none()));
}
