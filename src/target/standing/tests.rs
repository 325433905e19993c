use super::*;
use crate::scsi::{ModeValues, decode};

fn command(cdb: [u8; 16]) -> Command {
    decode(&cdb).unwrap()
}

const READ: [u8; 16] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
const TEST_UNIT_READY: [u8; 16] = [0; 16];
const REQUEST_SENSE: [u8; 16] = [3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn fields_do_not_touch_each_other() {
    let standing = Standing::new(Arc::default());
    assert!(standing.is_usual());
    let swp = ModeState { current: ModeValues::SWP, saved: ModeValues::D_SENSE };
    let unit = UnitState { mode: swp, prevented: true, ..UnitState::default() };
    standing.set_unit(unit);
    standing.set_rights(Rights::Lost);
    standing.set_access(AccessState::Unavailable);
    assert!(standing.is_prevented() && !standing.is_stopped() && !standing.is_hindered());
    standing.set_unit(UnitState { stopped: true, ..unit });
    standing.raise(Attention::CapacityChanged);
    assert!(standing.is_stopped() && standing.mode() == swp);
    standing.set_rights(Rights::All);
    assert_eq!(standing.access(), AccessState::Unavailable);
    standing.set_access(AccessState::ActiveOptimized);
    assert!(standing.is_in_the_way(), "an attention");
    standing.set_unit(UnitState::default());
    assert!(!standing.is_stopped() && standing.mode() == ModeState::default());
    assert!(standing.take_attention().is_some() && standing.is_usual() && !standing.is_prevented());
    let changes = standing.stir.count();
    standing.set_unit(UnitState { prevented: true, several_ports: true, ..UnitState::default() });
    assert!(standing.is_usual() && standing.has_several_ports(), "that keeps nobody from the medium");
    assert_eq!(standing.stir.count(), changes);
    standing.set_fenced(true);
    assert!(!standing.is_usual() && standing.is_in_the_way() && standing.is_prevented(), "operations may have to wait");
    standing.set_fenced(false);
    assert!(standing.is_usual() && !standing.is_fenced());
    standing.set_unit(UnitState { ejected: true, ..UnitState::default() });
    assert!(!standing.is_usual() && standing.is_hindered() && !standing.is_prevented());
}

#[test]
fn resets_go_before_conflicts_and_conflicts_before_the_rest() {
    let standing = Standing::new(Arc::default());
    standing.set_rights(Rights::None);
    standing.set_access(AccessState::Standby);
    standing.raise(Attention::ReservationsPreempted);
    standing.raise(Attention::LogicalUnitReset);
    let asc = |cdb| standing.check(&command(cdb), false).unwrap_err().sense.map(|sense| sense.asc.0);
    assert_eq!(asc(READ), Some(0x2903));
    assert_eq!(asc(READ), None, "a conflict");
    assert_eq!(standing.check(&command(REQUEST_SENSE), false), Ok(Some(Attention::ReservationsPreempted)));
    standing.raise(Attention::ReservationsPreempted);
    assert_eq!(asc(TEST_UNIT_READY), Some(0x2a03));
    assert_eq!(asc(TEST_UNIT_READY), Some(0x040b));
    standing.set_rights(Rights::Lost);
    assert_eq!(asc(READ), Some(0x4401));
}

#[test]
fn a_fault_with_naca_lets_one_command_at_a_time_look_into_it() {
    let standing = Standing::new(Arc::default());
    let invalid = Outcome::check(Sense::illegal(Asc::INVALID_MESSAGE_ERROR));
    standing.fault(Marks::empty());
    assert!(standing.is_usual());
    assert_eq!(standing.claim_aca(1), Err(invalid));
    standing.fault(Marks::NACA);
    standing.raise(Attention::CapacityChanged);
    assert!(standing.has_aca() && !standing.is_usual() && standing.is_in_the_way());
    assert_eq!(standing.check(&command(READ), false), Err(Outcome::ACA_ACTIVE));
    assert_eq!(standing.claim_aca(1), Ok(()));
    assert_eq!((standing.claim_aca(2), standing.claim_aca(1)), (Err(Outcome::ACA_ACTIVE), Ok(())));
    let attention = standing.check(&command(READ), true).unwrap_err();
    assert_eq!(attention.sense.map(|sense| sense.asc.0), Some(0x2a09));
    standing.aca_task_ended(2);
    assert_eq!(standing.aca_task(), Some(1));
    standing.aca_task_ended(1);
    assert_eq!(standing.claim_aca(2), Ok(()));
    standing.fault(Marks::ACA | Marks::NACA);
    assert!(standing.has_aca() && standing.aca_task().is_none(), "another allegiance");
    standing.fault(Marks::ACA);
    assert!(standing.is_usual());
    for attention in [Attention::LogicalUnitReset, Attention::NexusLoss, Attention::HardReset, Attention::PowerOn] {
        standing.fault(Marks::NACA);
        standing.raise(attention);
        assert!(!standing.has_aca(), "{attention:?}");
    }
    standing.fault(Marks::NACA);
    standing.raise(Attention::ReservationsPreempted);
    assert!(standing.has_aca());
}
