use bdev::segment::{copy_from, copy_to, total_len};

use super::*;
use crate::virtio::ring::UsualChain;
use crate::virtio::ring::testing::chain_of;

const DEFAULT: Framing = Framing { cdb_size: 32, sense_size: 96 };

/// A READ(10) of 8 blocks from block 0x12345678, as a driver writes it: 51 bytes.
fn read_10() -> Vec<u8> {
    let mut bytes = vec![1, 7, 0x40, 3, 0, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0, 0, 0];
    bytes.extend([0x28, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 8, 0]);
    bytes.resize(51, 0);
    bytes
}

fn cut_at<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces: Vec<_> = Vec::new();
    for cut in cuts {
        let (piece, behind) = rest.split_at(*cut);
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

#[test]
fn the_header_is_read_in_any_framing() {
    let bytes = read_10();
    let every_byte = [1; 50];
    for cuts in [&[][..], &[1], &[8, 8], &[19], &[19, 10], &[16, 0, 3], &[50], &every_byte] {
        let (_driver, chain, _) = chain_of(&cut_at(&bytes, cuts), &[12, 96, 4096]);
        let (request, layout) = CommandRequest::parse(&chain, DEFAULT).expect("it is whole");
        assert_eq!((request.lun.0, request.id), ([1, 7, 0x40, 3, 0, 0, 0, 0], 0x0123_4567_89ab_cdef), "{cuts:?}");
        assert_eq!(request.cdb.as_bytes(), &bytes[19..], "{cuts:?}");
        assert_eq!((request.task_attr, layout.direction()), (0, Direction::In));
        assert_eq!(layout.data_in_len, 4096);
    }
}

#[test]
fn task_attribute_priority_and_number_are_told_apart() {
    let mut bytes = read_10();
    bytes[16..19].copy_from_slice(&[3, 0x55, 0x66]);
    let (_driver, chain, _) = chain_of(&[&bytes], &[108]);
    assert_eq!(CommandRequest::parse(&chain, DEFAULT).expect("it is whole").0.task_attr, 3);
}

#[test]
fn the_negotiated_sizes_decide_where_data_begins() {
    let mut bytes = read_10();
    bytes.truncate(19 + 16);
    bytes.extend(b"data");
    for cuts in [&[][..], &[35], &[36], &[34], &[10, 27, 1]] {
        let (_driver, chain, _) = chain_of(&cut_at(&bytes, cuts), &[7, 23]);
        let framing = Framing { cdb_size: 16, sense_size: 18 };
        let (request, layout) = CommandRequest::parse(&chain, framing).expect("it is whole");
        assert_eq!((layout.header_len, layout.response_len), (35, 30));
        assert_eq!((layout.direction(), request.cdb.as_bytes().len()), (Direction::Out, 16));
        let pieces: Vec<_> = layout.data_out(&chain).collect();
        let mut data = [0; 5];
        assert_eq!(copy_from(&pieces, 0, &mut data), 4, "{cuts:?}");
        assert_eq!(&data, b"data\0");
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
        assert_eq!(layout.response(&chain).map(|piece| piece.len()).collect::<Vec<_>>(), [7, 23]);
        assert_eq!(layout.data_in(&chain).count(), 0);
    }
}

#[test]
fn response_and_data_share_segments_in_any_way() {
    for writable in [&[108_u32, 20][..], &[128], &[12, 96, 20], &[12, 100, 16], &[100, 9, 19], &[1, 106, 21]] {
        let (driver, chain, at) = chain_of(&[&read_10()], writable);
        let layout = DataLayout::of(&chain, DEFAULT).expect("it is whole");
        let (response, data): (Vec<_>, Vec<_>) = (layout.response(&chain).collect(), layout.data_in(&chain).collect());
        assert_eq!((total_len(&response), total_len(&data)), (108, 20), "{writable:?}");
        copy_to(&response, 0, &[1; 200]);
        copy_to(&data, 0, &[2; 200]);
        let memory = driver.read(at, 129);
        assert_eq!((&memory[..108], &memory[108..128], memory[128]), (&[1; 108][..], &[2; 20][..], 0), "{writable:?}");
    }
}

#[test]
fn directions() {
    let header = read_10();
    let with_data: Vec<_> = [&header[..], &[0; 8]].concat();
    for (readable, writable, direction) in [
        (&header, 108, Direction::None),
        (&header, 109, Direction::In),
        (&with_data, 108, Direction::Out),
        (&with_data, 109, Direction::Both),
    ] {
        let (_driver, chain, _) = chain_of(&[readable], &[writable]);
        assert_eq!(DataLayout::of(&chain, DEFAULT).map(|layout| layout.direction()), Ok(direction));
    }
}

#[test]
fn what_is_too_short_is_no_request() {
    let header = read_10();
    let (_driver, chain, _) = chain_of(&[&header[..20], &header[20..50]], &[108]);
    let short = RequestError::HeaderTooShort { len: 50, needed: 51 };
    assert_eq!(CommandRequest::parse(&chain, DEFAULT), Err(short));
    for (writable, len) in [(&[][..], 0), (&[107], 107), (&[12, 95], 107)] {
        let (_driver, chain, _) = chain_of(&[&header], writable);
        let short = RequestError::ResponseTooShort { len, needed: 108 };
        assert_eq!(CommandRequest::parse(&chain, DEFAULT), Err(short));
    }
    // A header that the driver made device-writable is none.
    let (_driver, chain, _) = chain_of(&[], &[51, 108]);
    assert_eq!(CommandRequest::parse(&chain, DEFAULT), Err(RequestError::HeaderTooShort { len: 0, needed: 51 }));
}

#[test]
fn a_request_that_changes_meanwhile_was_fetched_once() {
    let (driver, chain, writable_at) = chain_of(&[&read_10()], &[108]);
    let (request, _) = CommandRequest::parse(&chain, DEFAULT).expect("it is whole");
    driver.write(writable_at - 51, &[0xff; 51]);
    assert_eq!((request.cdb.as_bytes()[0], request.lun.0[0]), (0x28, 1));
}

#[test]
fn a_chain_that_is_cut_as_usual_comes_in_its_parts() {
    let (header, data) = (read_10(), [7; 600]);
    let plain = |readable: &[&[u8]], writable: &[u32]| {
        let (_driver, chain, _) = chain_of(readable, writable);
        let (request, layout) = CommandRequest::parse(&chain, DEFAULT).ok()?;
        let usual = UsualChain::of(chain.readable(), chain.writable());
        let plain = Plain::of(&usual, DEFAULT)?;
        assert_eq!(CommandRequest::read(plain.header, DEFAULT), request);
        assert_eq!(layout.response(&chain).collect::<Vec<_>>(), [*plain.response]);
        let data: Vec<_> = layout.data_out(&chain).chain(layout.data_in(&chain)).collect();
        assert_eq!((plain.data, plain.data_len), (&data[..], layout.data_out_len + layout.data_in_len));
        assert_eq!(plain.data_out, layout.direction() == Direction::Out);
        Some(data.len())
    };
    assert_eq!(plain(&[&header], &[108]), Some(0));
    assert_eq!(plain(&[&header], &[108, 4096]), Some(1));
    assert_eq!(plain(&[&header], &[108, 1, 511, 4096]), Some(3));
    assert_eq!(plain(&[&header, &data], &[108]), Some(1));
    assert_eq!(plain(&[&header, &data[..1], &data], &[108]), Some(2));
    for (readable, writable) in [
        (&[&header[..50], &header[50..]][..], &[108, 512][..]),
        (&[&header], &[620]),
        (&[&header], &[12, 96, 512]),
        (&[&[&header[..], &data].concat()], &[108]),
        (&[&header, &data], &[108, 512]),
        (&[&header[..50]], &[108]),
        (&[&header], &[107]),
        (&[], &[51, 108]),
        (&[&header], &[]),
    ] {
        assert_eq!(plain(readable, writable), None, "{} and {writable:?}", readable.len());
    }
}

#[test]
fn a_header_of_another_size_is_read_in_one_piece_too() {
    let bytes = read_10();
    for cdb_size in [0, 16, 31, 33, 64] {
        let mut header = bytes.clone();
        header.resize(19 + cdb_size, 0x5a);
        let (_driver, chain, _) = chain_of(&[&header], &[108]);
        let framing = Framing { cdb_size: cdb_size as u32, sense_size: 96 };
        let usual = UsualChain::of(chain.readable(), chain.writable());
        let plain = Plain::of(&usual, framing).expect("it is cut as usual");
        let request = CommandRequest::read(plain.header, framing);
        assert_eq!(request.cdb.as_bytes(), &header[19..], "{cdb_size}");
        assert_eq!(Ok(request), CommandRequest::parse(&chain, framing).map(|(request, _)| request));
    }
}
