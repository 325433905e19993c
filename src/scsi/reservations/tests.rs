//! A disk with two ports and three initiators, and what they do to each other.

use super::*;
use crate::scsi::reply::Reply;
use crate::scsi::sense::{FieldPointer, SenseKeySpecific};
use crate::scsi::spec::{Asc, SenseKey};

mod hostile;
mod image;
mod preempting;
mod reporting;
mod sharing;

/// Keys of the initiators.
const KEYS: [u64; 3] = [0xa1, 0xb2, 0xc3];
const PORTS: [u16; 2] = [1, 2];

/// Initiator `index` at the first port.
fn nexus(index: usize) -> Nexus {
    Nexus { initiator: SasAddress(0x3000_0000_0000_0001 + index as u64), port: 1 }
}

/// The basic parameter list with both keys.
fn keys(key: u64, action_key: u64) -> OutParameters {
    OutParameters { key, action_key, ..OutParameters::default() }
}

fn register(registry: &mut Registry, index: usize) -> Changes {
    registry.persistent_out(nexus(index), OutAction::Register, &keys(0, KEYS[index]), &PORTS).unwrap()
}

/// What initiator `index` does under its own key.
fn act(registry: &mut Registry, index: usize, action: OutAction) -> Result<Changes, Refusal> {
    registry.persistent_out(nexus(index), action, &keys(KEYS[index], 0), &PORTS)
}

/// The same about the key of `other`.
fn act_on(registry: &mut Registry, index: usize, action: OutAction, other: u64) -> Result<Changes, Refusal> {
    registry.persistent_out(nexus(index), action, &keys(KEYS[index], other), &PORTS)
}

/// All three are registered.
fn registered() -> Registry {
    let mut registry = Registry::default();
    (0..3).for_each(|index| assert_eq!(register(&mut registry, index), Changes::default()));
    registry
}

/// All three are registered, and the first holds a reservation.
fn reserved(kind: ReservationType) -> Registry {
    let mut registry = registered();
    act(&mut registry, 0, OutAction::Reserve(kind)).unwrap();
    registry
}

fn rights(registry: &Registry) -> [Rights; 3] {
    [0, 1, 2].map(|index| registry.rights(nexus(index)))
}

fn read(registry: &Registry, service_action: u8) -> Vec<u8> {
    let mut reply = Reply::new();
    reply.begin(4096);
    registry.persistent_in(service_action, true, &mut reply).unwrap();
    reply.as_bytes().to_vec()
}

fn registered_keys(registry: &Registry) -> Vec<u64> {
    let keys = read(registry, 0);
    keys[8..].chunks_exact(8).map(|key| u64::from_be_bytes(key.try_into().unwrap())).collect()
}

fn generation(registry: &Registry) -> u32 {
    u32::from_be_bytes(read(registry, 0)[..4].try_into().unwrap())
}

/// Sense key, additional code and field pointer of a refusal.
fn refusal(result: Result<Changes, Refusal>) -> (SenseKey, Asc, Option<u16>) {
    match result.unwrap_err() {
        Refusal::Check(sense) => {
            let byte = field(&sense).map(|pointer| pointer.byte);
            (sense.key, sense.asc, byte)
        }
        Refusal::Conflict => panic!("a conflict"),
    }
}

/// Where the sense data points to.
fn field(sense: &Sense) -> Option<FieldPointer> {
    sense.specific.map(|specific| match specific {
        SenseKeySpecific::Field(pointer) => pointer,
        other => panic!("no field: {other:?}"),
    })
}
