//! Steps between the rings: translation, decoding, slots, responses.

use std::hint::black_box;

use bdev::Segment;

use super::measure;
use crate::dma::{Access, Gpa, MemMap, RegionCache, testing};
use crate::scsi::{Asc, Sense, decode};
use crate::target::slots::Slots;
use crate::virtio::ring::testing::{FakeDriver, chain_of, pop_one};
use crate::virtio::ring::{Chain, Head, RingFeatures};
use crate::virtio_scsi::{CommandRequest, CommandResponse, Framing, ResponseCode, write_command_response};

const FRAMING: Framing = Framing { cdb_size: 32, sense_size: 96 };
/// How often a step is done in a row.
const TIMES: usize = 32;
const REGION_LEN: u64 = 0x2000;

pub(super) fn measure_all() {
    translation();
    decoding();
    slots();
    responses();
}

fn translation() {
    for (name, regions) in [("dma: a buffer in the only region", 1), ("dma: a buffer in another of 32 regions", 32)] {
        let all = (0..regions).map(|region| testing::region(region * REGION_LEN, REGION_LEN as usize)).collect();
        let state = (MemMap::new(all), RegionCache::default());
        measure(
            name,
            TIMES,
            state,
            |_| (),
            |(map, cache)| {
                for turn in 0..TIMES as u64 {
                    // 7 and 32 have no common divisor: each region in turn, and never the next one.
                    let gpa = Gpa(turn * 7 % regions * REGION_LEN + 0x1000);
                    let emit = |segment, _| {
                        black_box::<Segment>(segment);
                        Ok(())
                    };
                    map.translate(cache, (black_box(gpa), 4096), Access::Write, emit).expect("it is mapped");
                }
            },
        );
    }
}

fn decoding() {
    let ten = |opcode| [opcode, 0, 0, 0x12, 0x34, 0x56, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
    let sixteen = |opcode| [opcode, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0, 0, 0, 8, 0, 0];
    for (name, bytes) in [
        ("scsi: READ(10) decoded", ten(0x28)),
        ("scsi: WRITE(10) decoded", ten(0x2a)),
        ("scsi: READ(16) decoded", sixteen(0x88)),
        ("scsi: WRITE(16) decoded", sixteen(0x8a)),
    ] {
        let mut cdb = [0; 32];
        cdb[..16].copy_from_slice(&bytes);
        measure(
            name,
            TIMES,
            cdb,
            |_| (),
            |cdb| {
                for _ in 0..TIMES {
                    black_box(decode(black_box(&cdb[..]))).expect("a legal command");
                }
            },
        );
    }
    let mut header = [0; 51];
    (header[0], header[19]) = (1, 0x28);
    let (_driver, chain, _) = chain_of(&[&header], &[108, 4096]);
    measure(
        "virtio-scsi: a request parsed",
        TIMES,
        chain,
        |_| (),
        |chain| {
            for _ in 0..TIMES {
                black_box(CommandRequest::parse(black_box(chain), FRAMING)).expect("a request");
            }
        },
    );
}

fn slots() {
    let mut driver = FakeDriver::new(64, RingFeatures::default());
    driver.add(&[crate::virtio::ring::testing::Buffer::readable(0x1_0000, 51)]).expect("there is room");
    let mut ring = driver.ring();
    assert_eq!(ring.available(), Ok(1));
    let head = pop_one(&mut ring, driver.map(), &mut Chain::new());
    let state: (Slots, Option<Head>) = (Slots::new(64), Some(head));
    measure(
        "target: a slot taken and given back",
        TIMES,
        state,
        |_| (),
        |(slots, head)| {
            for _ in 0..TIMES {
                let slot = slots.take(head.take().expect("it came back"), black_box(3));
                *head = Some(slots.give_back(black_box(slot)));
            }
        },
    );
}

fn responses() {
    let sense = Sense::illegal(Asc::INVALID_COMMAND_OPERATION_CODE).encode_fixed();
    for (name, status, sense) in [
        ("virtio-scsi: the response GOOD written", 0, &[][..]),
        ("virtio-scsi: CHECK CONDITION with sense data written", 2, &sense[..]),
    ] {
        let (_driver, chain, _) = chain_of(&[&[0; 51]], &[108]);
        let response = CommandResponse { response: ResponseCode::OK, status, status_qualifier: 0, resid: 0, sense };
        measure(
            name,
            TIMES,
            (chain, response),
            |_| (),
            |(chain, response)| {
                for _ in 0..TIMES {
                    black_box(write_command_response(chain.writable(), black_box(response), FRAMING.sense_size));
                }
            },
        );
    }
}
