use super::*;
use crate::scsi::ModeValues;
use crate::scsi::long::testing::Rig;
use crate::scsi::reservations::{Rights, SasAddress};

const NEXUS: Nexus = Nexus { initiator: SasAddress(0x3000_0000_0000_0001), port: 1 };

fn out(service_action: u8, scope_and_type: u8, len: u8) -> [u8; 10] {
    [0x5f, service_action, scope_and_type, 0, 0, 0, 0, 0, len, 0]
}

fn keys(key: u8, action_key: u8, flags: u8) -> [u8; 24] {
    let mut list = [0; 24];
    (list[7], list[15], list[20]) = (key, action_key, flags);
    list
}

fn shared(keeps: bool) -> Shared {
    let mut shared = Shared { keeps, ports: [1, 2].map(|port| Port::derive(port, "test")).into(), ..Shared::default() };
    shared.groups.add(1, 1, Default::default());
    shared
}

#[test]
fn lists_become_demands() {
    let mut rig = Rig::plain();
    let demand = rig.demand(&out(6, 0, 24), &keys(0, 7, 0));
    let parameters = OutParameters { action_key: 7, ..OutParameters::default() };
    assert_eq!(demand, Demand::Persistent(OutAction::RegisterAndIgnore, parameters));
    for opcode in [0x16, 0x56] {
        assert_eq!(rig.demand(&[opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]), Demand::Reserve);
        assert_eq!(rig.demand(&[opcode + 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]), Demand::Release);
    }
    let set = [0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
    let list = [0, 0, 0, 0, 2, 0, 0, 1];
    let mut rig = Rig::plain_in_group(1);
    assert_eq!(rig.demand(&set, &list), Demand::PortGroups(list.to_vec()));
}

#[test]
fn refusals() {
    let mut rig = Rig::plain();
    const LENGTH: Sense = Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR);
    assert_eq!(rig.refused(&out(0, 0, 23), &[0; 23]), LENGTH);
    let mut long = out(0, 0, 0);
    long[6] = 1;
    assert_eq!(rig.refused(&long, &[0; 0x1_0000]), LENGTH, "longer than any list");
    assert_eq!(rig.refused(&out(9, 0, 24), &[0; 24]), Sense::invalid_field(1, Some(4)));
    assert_eq!(rig.refused(&out(1, 0x11, 24), &[0; 24]), Sense::invalid_field(2, Some(7)), "scope");
    assert_eq!(rig.refused(&out(1, 0x02, 24), &[0; 24]), Sense::invalid_field(2, Some(3)), "type");
    assert_eq!(rig.refused(&out(6, 0, 24), &keys(0, 1, 8)), Sense::invalid_parameter(20, Some(3)), "SPEC_I_PT");
    assert_eq!(rig.refused(&[0x16, 0x01, 0, 0, 0, 0], &[]), Sense::invalid_field(1, Some(0)), "extents");
    assert_eq!(
        rig.refused(&[0x56, 0x10, 0, 0, 0, 0, 0, 0, 0, 0], &[]),
        Sense::invalid_field(1, Some(4)),
        "third party"
    );
    let set = [0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
    let unsupported = Sense::illegal(Asc::INVALID_COMMAND_OPERATION_CODE);
    assert_eq!(rig.refused(&set, &[0; 8]), unsupported, "the port is in no group");
}

#[test]
fn demands_are_carried_out() {
    let mut shared = shared(true);
    let register = OutParameters { action_key: 7, aptpl: true, ..OutParameters::default() };
    let demand = Demand::Persistent(OutAction::Register, register);
    assert!(shared.carry_out(NEXUS, &demand).unwrap().changes.save);
    let other = Nexus { port: 2, ..NEXUS };
    assert_eq!(shared.carry_out(other, &Demand::Reserve), Err(Refusal::Conflict));
    let set = Demand::PortGroups(vec![0, 0, 0, 0, 2, 0, 0, 1]);
    assert_eq!(shared.carry_out(NEXUS, &set).unwrap().groups, [1]);
}

#[test]
fn mode_pages_are_changed_saved_and_restored() {
    let mut shared = shared(true);
    let change = |values, save| Demand::Mode(ModeChange::of(ModeValues::SWP.and(ModeValues::TAS), values, save));
    let swp = shared.carry_out(NEXUS, &change(ModeValues::SWP, false)).unwrap();
    assert_eq!((swp.modes, swp.keep, shared.mode.current), (true, false, ModeValues::SWP));
    assert_eq!(shared.carry_out(NEXUS, &change(ModeValues::SWP, false)), Ok(Consequences::default()), "as it was");
    let saved = shared.carry_out(NEXUS, &change(ModeValues::TAS, true)).unwrap();
    assert_eq!((saved.modes, saved.keep, shared.kept().mode), (true, true, shared.mode));
    shared.carry_out(NEXUS, &change(ModeValues::SWP, false)).unwrap();
    assert_eq!(shared.kept().mode.current, ModeValues::TAS);
    shared.restore_modes();
    assert_eq!(shared.mode.current, ModeValues::TAS);
}

#[test]
fn names_are_kept_where_there_is_a_place() {
    let set = Demand::Identifying(Identifying::Text, b"boot\0".to_vec());
    for keeps in [false, true] {
        let mut shared = shared(keeps);
        assert_eq!(
            shared.carry_out(NEXUS, &set),
            Ok(Consequences { names: true, keep: keeps, ..Consequences::default() })
        );
        assert!(!shared.carry_out(NEXUS, &set).unwrap().names, "it has it already");
        assert_eq!(shared.kept().names.of(Identifying::Text), b"boot\0");
    }
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let mut shared = shared(false);
    let aptpl = OutParameters { action_key: 7, aptpl: true, ..OutParameters::default() };
    let refused = shared.carry_out(NEXUS, &Demand::Persistent(OutAction::Register, aptpl.clone()));
    assert_eq!(refused, Err(Refusal::Check(Sense::invalid_parameter(20, Some(0)))));
    let refused = shared.carry_out(NEXUS, &Demand::Persistent(OutAction::RegisterAndMove, aptpl));
    assert_eq!(refused, Err(Refusal::Check(Sense::invalid_parameter(17, Some(0)))));
    assert_eq!(shared.carry_out(NEXUS, &Demand::Reserve), Ok(Consequences::default()));
    let other = Nexus { port: 2, ..NEXUS };
    assert_eq!(shared.registry.rights(other), Rights::Reserved);
    assert_eq!(Outcome::from(shared.carry_out(other, &Demand::Reserve).unwrap_err()), Outcome::RESERVATION_CONFLICT);
}
