use bdev::{Atomic, Info};

use super::*;
use crate::scsi::testing::{command, data, disk, info, refused};
use crate::scsi::{Condition, Facts, Outcome, Step, decode};

/// REPORT SUPPORTED OPERATION CODES with room for all.
fn cdb(byte_2: u8, opcode: u8, service_action: u16) -> [u8; 12] {
    let [high, low] = service_action.to_be_bytes();
    [0xa3, 0x0c, byte_2, opcode, high, low, 0, 1, 0, 0, 0, 0]
}

fn asked(byte_2: u8, opcode: u8, service_action: u16) -> Vec<u8> {
    data(&disk(&info()), &cdb(byte_2, opcode, service_action))
}

const UNSUPPORTED: [u8; 4] = [0, 1, 0, 0];

#[test]
fn one_without_service_action() {
    let read_10 = [0, 3, 0, 10, 0x28, 0x1c, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 4];
    assert_eq!(asked(1, 0x28, 0), read_10);
    assert_eq!(asked(1, 0x28, 0x0102), read_10, "the service action is not looked at");
    assert_eq!(asked(3, 0x28, 0), read_10);
    assert_eq!(asked(3, 0x28, 1), UNSUPPORTED);
    assert_eq!(asked(1, 0xff, 0), UNSUPPORTED);
    assert_eq!(asked(2, 0xff, 0), UNSUPPORTED);
    assert_eq!(asked(3, 0xff, 0), UNSUPPORTED);
}

#[test]
fn one_with_service_action() {
    let capacity = [0, 3, 0, 16, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 4];
    assert_eq!(asked(2, 0x9e, 0x10), capacity);
    assert_eq!(asked(3, 0x9e, 0x10), capacity);
    assert_eq!(asked(2, 0x9e, 0x1f), UNSUPPORTED);
    assert_eq!(asked(3, 0x9e, 0x110), UNSUPPORTED);
}

#[test]
fn questions_that_do_not_fit_the_command() {
    let unit = disk(&info());
    let wrong = Sense::invalid_field(2, Some(2));
    assert_eq!(refused(&unit, &cdb(1, 0x9e, 0x10)), wrong);
    assert_eq!(refused(&unit, &cdb(2, 0x28, 0)), wrong);
    for options in 4..8 {
        assert_eq!(refused(&unit, &cdb(options, 0x28, 0)), wrong);
    }
}

#[test]
fn timeouts() {
    let timeouts = [0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60];
    let test_unit_ready = [0, 0x83, 0, 6, 0, 0, 0, 0, 0, 4];
    assert_eq!(asked(0x81, 0x00, 0), [&test_unit_ready[..], &timeouts].concat());
    assert_eq!(asked(0x81, 0xff, 0), UNSUPPORTED);
    let all = asked(0x80, 0, 0);
    assert_eq!(all[4..24], [&[0, 0, 0, 0, 0, 2, 0, 6][..], &timeouts].concat());
    assert_eq!(all.len(), 4 + 20 * supported().filter(|command| disk(&info()).supports(&command.sample())).count());
}

/// What is listed decodes, and what decodes and is offered is listed.
#[test]
fn the_list_is_that_of_the_decoder() {
    let unit = disk(&Info { atomic: Some(Atomic { unit: 512, max: 4096, natural: false, boundary: 0 }), ..info() });
    let list = data(&unit, &cdb(0, 0, 0));
    assert_eq!(u32::from_be_bytes([list[0], list[1], list[2], list[3]]) as usize, list.len() - 4);
    let mut listed = std::collections::BTreeSet::new();
    for command in list[4..].chunks(8) {
        let (opcode, action, has_action) = (command[0], command[3], command[5] == 1);
        assert!(listed.insert((opcode, has_action.then_some(action))));
        let mut bytes = [0; 32];
        (bytes[0], bytes[1]) = (opcode, action);
        assert!(decode(&bytes[..command[7].into()]).is_ok(), "{opcode:02x} {action:02x}");
    }
    for opcode in 0..=255 {
        let is_there = |action: &u8| {
            decode(&[&[opcode, *action][..], &[0; 30]].concat()).is_ok_and(|command| unit.supports(&command))
        };
        let actions = (0..32).filter(is_there);
        let has_action = listed.iter().any(|(listed, action)| *listed == opcode && action.is_some());
        let decoded = actions.map(|action| (opcode, has_action.then_some(action)));
        for command in decoded {
            assert!(listed.contains(&command), "{command:02x?}");
        }
    }
}

#[test]
fn lists_are_cut_off_like_all_data() {
    let whole = asked(0x80, 0, 0);
    for room in [0, 1, 3, 4, 5, 8, 100] {
        let mut cdb = cdb(0x80, 0, 0);
        cdb[6..10].copy_from_slice(&(room as u32).to_be_bytes());
        assert_eq!(data(&disk(&info()), &cdb), whole[..room]);
    }
}

#[test]
fn task_management_functions() {
    let unit = disk(&info());
    let report = |task_functions, byte_2, room| {
        let facts = Facts { task_functions, ..Facts::default() };
        let condition = Condition { facts: Some(&facts), ..Condition::default() };
        let (cdb, mut reply) = ([0xa3, 0x0d, byte_2, 0, 0, 0, 0, 0, 0, room, 0, 0], Reply::new());
        assert_eq!(unit.start(&command(&cdb), &condition, &mut reply), Step::Done(Outcome::GOOD));
        reply.as_bytes().to_vec()
    };
    for (function, expected) in [
        (TaskFunctions::ABORT_TASK, [0x80, 0]),
        (TaskFunctions::ABORT_TASK_SET, [0x40, 0]),
        (TaskFunctions::CLEAR_ACA, [0x20, 0]),
        (TaskFunctions::CLEAR_TASK_SET, [0x10, 0]),
        (TaskFunctions::LOGICAL_UNIT_RESET, [0x08, 0]),
        (TaskFunctions::QUERY_TASK, [0x04, 0]),
        (TaskFunctions::QUERY_TASK_SET, [0, 0x02]),
        (TaskFunctions::I_T_NEXUS_RESET, [0, 0x01]),
        (TaskFunctions::ABORT_TASK.and(TaskFunctions::I_T_NEXUS_RESET), [0x80, 0x01]),
    ] {
        assert_eq!(report(function, 0, 255), [&expected[..], &[0, 0]].concat());
    }
    assert_eq!(report(TaskFunctions::QUERY_TASK, 0, 1), [0x04]);
    assert_eq!(report(TaskFunctions::QUERY_TASK, 0x80, 255), [&[0x04, 0, 0, 0x0c][..], &[0; 12]].concat());
}

#[test]
fn aliases_are_refused() {
    assert_eq!(decode(&[0xa3, 0x0b, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]), Err(Sense::invalid_field(1, Some(4))));
}
