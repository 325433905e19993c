use super::*;
use crate::virtio::ring::testing::chain_of;

const LUN: [u8; 8] = [1, 2, 0x40, 3, 0, 0, 0, 0];

fn tmf(subtype: u8) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, subtype, 0, 0, 0];
    bytes.extend(LUN);
    bytes.extend([0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    bytes
}

fn an(kind: u8) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(LUN);
    bytes.extend([0x14, 0, 0, 0]);
    bytes
}

fn parse(readable: &[&[u8]], writable: &[u32]) -> Result<ControlRequest, RequestError> {
    ControlRequest::parse(&chain_of(readable, writable).1)
}

#[test]
fn task_management_is_fetched_in_whatever_pieces() {
    let id = 0x1122_3344_5566_7788;
    for subtype in 0..9 {
        let expected = Ok(ControlRequest::Tmf { subtype: subtype.into(), lun: LunAddress(LUN), id });
        let bytes = tmf(subtype);
        assert_eq!(parse(&[&bytes], &[1]), expected);
        assert_eq!(parse(&[&bytes[..3], &bytes[3..9], &bytes[9..]], &[1]), expected);
    }
}

#[test]
fn notification_requests_are_told_apart() {
    let (lun, events) = (LunAddress(LUN), 0x14);
    assert_eq!(parse(&[&an(1)], &[5]), Ok(ControlRequest::AnQuery { lun, events }));
    assert_eq!(parse(&[&an(2)], &[4, 1]), Ok(ControlRequest::AnSubscribe { lun, events }));
    assert_eq!(parse(&[&an(3)], &[5]), Ok(ControlRequest::Unknown(3)));
    assert_eq!(parse(&[&[0, 0, 1, 0]], &[]), Ok(ControlRequest::Unknown(0x1_0000)));
}

#[test]
fn what_is_too_short_is_no_request() {
    let header = |len, needed| Err(RequestError::HeaderTooShort { len, needed });
    let response = |len, needed| Err(RequestError::ResponseTooShort { len, needed });
    assert_eq!(parse(&[], &[1]), header(0, 4));
    assert_eq!(parse(&[&tmf(0)[..3]], &[1]), header(3, 4));
    assert_eq!(parse(&[&tmf(0)[..23]], &[1]), header(23, 24));
    assert_eq!(parse(&[&tmf(0)], &[]), response(0, 1));
    assert_eq!(parse(&[&an(1)[..15]], &[5]), header(15, 16));
    assert_eq!(parse(&[&an(2)], &[4]), response(4, 5));
}

#[test]
fn answers_go_where_they_belong() {
    let (driver, chain, at) = chain_of(&[], &[1, 2]);
    assert_eq!(write_tmf_response(chain.writable(), ResponseCode::FUNCTION_REJECTED), 1);
    assert_eq!(driver.read(at, 3), [11, 0xaa, 0xaa]);
    let (driver, chain, at) = chain_of(&[], &[3, 4]);
    assert_eq!(write_an_response(chain.writable(), 0x0102_0304, ResponseCode::FAILURE), 5);
    assert_eq!(driver.read(at, 7), [4, 3, 2, 1, 9, 0xaa, 0xaa]);
}
