use super::*;
use crate::virtio::ring::testing::chain_of;

/// What `writable` segments, all AAh before, hold after a response with `sense_size`: they and 8 bytes behind them.
fn written(writable: &[u32], response: &CommandResponse<'_>, sense_size: u32) -> (u32, Vec<u8>) {
    let (driver, chain, at) = chain_of(&[], writable);
    let count = write_command_response(chain.writable(), response, sense_size);
    (count, driver.read(at, writable.iter().sum::<u32>() as usize + 8))
}

const GOOD: CommandResponse<'static> =
    CommandResponse { response: ResponseCode::OK, status: 0, status_qualifier: 0, resid: 0, sense: &[] };

#[test]
fn good_is_all_zeros_as_far_as_the_response_goes() {
    let (count, bytes) = written(&[108, 4], &GOOD, 96);
    assert_eq!(count, 108);
    assert_eq!(bytes[..108], [0; 108]);
    assert_eq!(bytes[108..], [0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0, 0, 0, 0, 0, 0], "data is not touched");
}

#[test]
fn check_condition_in_any_framing() {
    let sense = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0];
    let response = CommandResponse {
        response: ResponseCode::OK,
        status: 2,
        status_qualifier: 0x0102,
        resid: 0x1000,
        sense: &sense,
    };
    let mut expected = vec![18, 0, 0, 0, 0, 0x10, 0, 0, 2, 1, 2, 0];
    expected.extend(sense);
    expected.resize(108, 0);
    for writable in [&[108][..], &[12, 96], &[1, 2, 3, 102], &[13, 95], &[107, 1], &[12, 0, 18, 78]] {
        let (count, bytes) = written(writable, &response, 96);
        assert_eq!((count, &bytes[..108]), (108, &expected[..]), "{writable:?}");
    }
}

#[test]
fn sense_is_cut_to_the_size_that_the_driver_set() {
    let response = CommandResponse { status: 2, sense: &[1, 2, 3, 4], ..GOOD };
    let (count, bytes) = written(&[14], &response, 2);
    assert_eq!((count, &bytes[..]), (14, &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0][..]));
    let (count, bytes) = written(&[12], &response, 0);
    assert_eq!((count, bytes[0], bytes[12]), (12, 0, 0));
    let longest = [0x5a; 300];
    let (count, bytes) = written(&[264], &CommandResponse { sense: &longest, ..response }, 252);
    assert_eq!((count, bytes[0], bytes[263]), (264, 252, 0x5a));
}

#[test]
fn a_command_that_was_not_executed_says_why() {
    let (_, bytes) = written(&[108], &CommandResponse::not_executed(ResponseCode::BAD_TARGET, 4096), 96);
    assert_eq!(bytes[..13], [0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 3, 0]);
    let (_, bytes) = written(&[108], &CommandResponse::not_executed(ResponseCode::FAILURE, 1 << 32), 96);
    assert_eq!(bytes[4..12], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9], "more than the field holds");
}

#[test]
fn a_plain_response_is_a_header_and_leaves_the_sense_field_alone() {
    for writable in [&[108_u32][..], &[12, 96], &[1, 2, 3, 102]] {
        let (driver, chain, at) = chain_of(&[], writable);
        assert_eq!(write_plain_response(chain.writable(), 8, 0x1234), 12);
        let bytes = driver.read(at, 108);
        assert_eq!(bytes[..13], [0, 0, 0, 0, 0x34, 0x12, 0, 0, 0, 0, 8, 0, 0xaa], "{writable:?}");
        assert_eq!(write_plain_response(chain.writable(), 0, 1 << 32), 12);
        assert_eq!(driver.read(at, 12), [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    }
}

#[test]
fn the_answer_good_is_a_header_and_leaves_the_sense_field_alone() {
    let good = CommandResponse { response: ResponseCode::OK, status: 0, status_qualifier: 0, resid: 0, sense: &[] };
    let (driver, chain, at) = chain_of(&[], &[108]);
    assert_eq!(write_command_response(chain.writable(), &good, 0), 12);
    let header = driver.read(at, 12);
    let (driver, chain, at) = chain_of(&[], &[108]);
    write_good(&chain.writable()[0]);
    assert_eq!(GOOD_LEN, 12);
    assert_eq!(driver.read(at, 13), [header, vec![0xaa]].concat());
}
