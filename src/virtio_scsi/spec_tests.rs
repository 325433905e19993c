//! Byte literals, worked out by hand from virtio 1.2, section 5.6.

use zerocopy::{FromBytes, IntoBytes};

use super::*;

const LUN: [u8; 8] = [1, 2, 0x40, 3, 0, 0, 0, 0];

#[test]
fn command_header() {
    let header = CommandHeader { lun: LUN, id: 0x0807_0605_0403_0201.into(), task_attr: 2, prio: 0x11, crn: 0x22 };
    let bytes = [1, 2, 0x40, 3, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 2, 0x11, 0x22];
    assert_eq!(header.as_bytes(), bytes);
    assert_eq!(CommandHeader::read_from_bytes(&bytes), Ok(header));
}

#[test]
fn command_response_header() {
    let header = CommandResponseHeader {
        sense_len: 18.into(),
        resid: 0x0102_0304.into(),
        status_qualifier: 0x0506.into(),
        status: 2,
        response: ResponseCode::OVERRUN.0,
    };
    assert_eq!(header.as_bytes(), [18, 0, 0, 0, 4, 3, 2, 1, 6, 5, 2, 1]);
}

#[test]
fn task_management() {
    let request = TmfRequest {
        kind: CONTROL_TMF.into(),
        subtype: TMF_LOGICAL_UNIT_RESET.into(),
        lun: LUN,
        id: 0x1122_3344_5566_7788.into(),
    };
    let bytes = [0, 0, 0, 0, 5, 0, 0, 0, 1, 2, 0x40, 3, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11];
    assert_eq!(request.as_bytes(), bytes);
    assert_eq!(TmfResponse { response: ResponseCode::FUNCTION_REJECTED.0 }.as_bytes(), [11]);
}

#[test]
fn asynchronous_notification() {
    let request = AnRequest { kind: CONTROL_AN_SUBSCRIBE.into(), lun: LUN, event_requested: 0x7e.into() };
    assert_eq!(request.as_bytes(), [2, 0, 0, 0, 1, 2, 0x40, 3, 0, 0, 0, 0, 0x7e, 0, 0, 0]);
    let response = AnResponse { event_actual: ASYNC_MEDIA_CHANGE.into(), response: 0 };
    assert_eq!(response.as_bytes(), [0x10, 0, 0, 0, 0]);
}

#[test]
fn event() {
    let event = Event { event: (EVENTS_MISSED | EVENT_TRANSPORT_RESET).into(), lun: LUN, reason: RESET_REMOVED.into() };
    assert_eq!(event.as_bytes(), [1, 0, 0, 0x80, 1, 2, 0x40, 3, 0, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn response_codes() {
    let codes = [
        ResponseCode::OK,
        ResponseCode::OVERRUN,
        ResponseCode::ABORTED,
        ResponseCode::BAD_TARGET,
        ResponseCode::RESET,
        ResponseCode::BUSY,
        ResponseCode::TRANSPORT_FAILURE,
        ResponseCode::TARGET_FAILURE,
        ResponseCode::NEXUS_FAILURE,
        ResponseCode::FAILURE,
        ResponseCode::FUNCTION_SUCCEEDED,
        ResponseCode::FUNCTION_REJECTED,
        ResponseCode::INCORRECT_LUN,
    ];
    for (value, code) in (0..).zip(codes) {
        assert_eq!(code, ResponseCode(value));
    }
    assert_eq!(ResponseCode::FUNCTION_COMPLETE.0, 0);
}

#[test]
fn numbers_that_an_independent_header_also_has() {
    use virtio_bindings::{virtio_ids, virtio_scsi};
    for (ours, theirs) in [
        (u32::from(DEVICE_ID), virtio_ids::VIRTIO_ID_SCSI),
        (FEATURE_INOUT.trailing_zeros(), virtio_scsi::VIRTIO_SCSI_F_INOUT),
        (FEATURE_HOTPLUG.trailing_zeros(), virtio_scsi::VIRTIO_SCSI_F_HOTPLUG),
        (FEATURE_CHANGE.trailing_zeros(), virtio_scsi::VIRTIO_SCSI_F_CHANGE),
        (FEATURE_T10_PI.trailing_zeros(), virtio_scsi::VIRTIO_SCSI_F_T10_PI),
        (CDB_SIZE_DEFAULT, virtio_scsi::VIRTIO_SCSI_CDB_DEFAULT_SIZE),
        (SENSE_SIZE_DEFAULT, virtio_scsi::VIRTIO_SCSI_SENSE_DEFAULT_SIZE),
        (CONTROL_AN_QUERY, virtio_scsi::VIRTIO_SCSI_T_AN_QUERY),
        (CONTROL_AN_SUBSCRIBE, virtio_scsi::VIRTIO_SCSI_T_AN_SUBSCRIBE),
        (TMF_ABORT_TASK, virtio_scsi::VIRTIO_SCSI_T_TMF_ABORT_TASK),
        (TMF_ABORT_TASK_SET, virtio_scsi::VIRTIO_SCSI_T_TMF_ABORT_TASK_SET),
        (TMF_CLEAR_ACA, virtio_scsi::VIRTIO_SCSI_T_TMF_CLEAR_ACA),
        (TMF_CLEAR_TASK_SET, virtio_scsi::VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET),
        (TMF_I_T_NEXUS_RESET, virtio_scsi::VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET),
        (TMF_LOGICAL_UNIT_RESET, virtio_scsi::VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET),
        (TMF_QUERY_TASK, virtio_scsi::VIRTIO_SCSI_T_TMF_QUERY_TASK),
        (TMF_QUERY_TASK_SET, virtio_scsi::VIRTIO_SCSI_T_TMF_QUERY_TASK_SET),
        (EVENTS_MISSED, virtio_scsi::VIRTIO_SCSI_T_EVENTS_MISSED),
        (EVENT_TRANSPORT_RESET, virtio_scsi::VIRTIO_SCSI_T_TRANSPORT_RESET),
        (EVENT_ASYNC_NOTIFY, virtio_scsi::VIRTIO_SCSI_T_ASYNC_NOTIFY),
        (EVENT_PARAM_CHANGE, virtio_scsi::VIRTIO_SCSI_T_PARAM_CHANGE),
        (RESET_HARD, virtio_scsi::VIRTIO_SCSI_EVT_RESET_HARD),
        (RESET_RESCAN, virtio_scsi::VIRTIO_SCSI_EVT_RESET_RESCAN),
        (RESET_REMOVED, virtio_scsi::VIRTIO_SCSI_EVT_RESET_REMOVED),
    ] {
        assert_eq!(ours, theirs);
    }
}

/// What has no number in that header: `EVENT_NONE` is its absence of others.
const WITHOUT_PEER: [&str; 2] = ["EVENT_QUEUE", "EVENT_NONE"];

#[test]
fn no_function_and_no_event_goes_without_a_test() {
    let (spec, tests) = (include_str!("spec.rs"), include_str!("spec_tests.rs"));
    let kinds = ["TMF_", "EVENT_", "EVENTS_", "RESET_", "CONTROL_AN"];
    let names: Vec<_> = spec.split("pub const ").skip(1).filter_map(|constant| constant.split(':').next()).collect();
    let of_kind = names.into_iter().filter(|name| kinds.iter().any(|kind| name.starts_with(kind)));
    for name in of_kind.filter(|name| !WITHOUT_PEER.contains(name)) {
        assert!(tests.contains(&format!("({name}, virtio_scsi::")), "{name} is not compared with that header");
    }
    let (event, tests) = (include_str!("event.rs"), include_str!("event_tests.rs"));
    let (_, variants) = event.split_once("pub enum Event {").expect("the events stand there");
    let variants = variants.split("\n}").next().expect("there is a first part").lines();
    let names =
        variants.filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with(char::is_uppercase));
    for name in names.map(|line| line.split([',', '(', ' ']).next().expect("a name")) {
        assert!(tests.contains(&format!("(Event::{name}")), "{name} has no bytes in the tests of events");
    }
}
