//! A guest for tests: a driver on real rings in memory that a test can take away, and what a control thread would do.
//!
//! It keeps book of every request: each ends exactly once, and nothing that a task management function was about is still
//! open when the function is answered.

mod check;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use reactor::{Gate, Handle};
use rustix::event::{EventfdFlags, eventfd};

use super::far::Far;
use crate::dma::{MemMap, Region, testing};
use crate::pci::Function;
use crate::scsi::Port;
use crate::scsi::port_groups::AccessState;
use crate::target::adapter::Adapter;
use crate::target::control_queue::ControlQueue;
use crate::target::disk::Disk;
use crate::target::function;
use crate::target::live::{Live, Part};
use crate::target::lun_map::{LunMap, Placement};
use crate::target::message::{Message, Scope};
use crate::target::peers::Crew;
use crate::target::request_queue::RequestQueue;
use crate::target::target_port::TargetPort;
use crate::target::worker::{Queue, Worker};
use crate::virtio::ring::RingFeatures;
use crate::virtio::ring::testing::Buffer;
use crate::virtio::ring::testing::either::EitherDriver;
use crate::virtio::transport::{DeviceStatus, Isr};
use crate::virtio_scsi::spec::{
    CONTROL_QUEUE, CONTROL_TMF, FIRST_REQUEST_QUEUE, TASK_ATTR_ACA, TASK_ATTR_HEAD, TASK_ATTR_ORDERED, TMF_ABORT_TASK,
    TMF_ABORT_TASK_SET, TMF_CLEAR_TASK_SET, TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET,
};
use crate::virtio_scsi::{Address, Framing, LunAddress};

/// Entries of each ring.
pub(super) const RING_SIZE: u16 = 64;
/// Memory of the rings, from address 0 on.
const RINGS_LEN: usize = 0x1_0000;
const RING_LEN: u64 = 0x1000;
/// A place for an indirect table, behind the rings.
const TABLE_AT: u64 = 0xe000;
/// Memory of the requests.
const DATA_AT: u64 = 0x10_0000;
const DATA_LEN: usize = 0x8_0000;
/// What a request has: header, response, then data.
const BLOCK_LEN: u64 = 0x800;
const RESPONSE_AT: u64 = 0x80;
const BUFFER_AT: u64 = 0x200;
const OWN_TABLE_AT: u64 = 0x600;
const FRAMING: Framing = Framing { cdb_size: 32, sense_size: 96 };
const RESPONSE_LEN: u32 = 12 + 96;
/// Statuses with which a command ends before it is in the task set.
const ACA_ACTIVE: u8 = 0x30;
pub(super) const TASK_SET_FULL: u8 = 0x28;
/// TASK ABORTED: another initiator has ended it, before it was carried out or not.
pub(super) const TASK_ABORTED: u8 = 0x40;

/// The data of a command.
#[derive(Debug, Clone, Copy)]
pub(super) enum Data<'a> {
    /// None.
    Without,
    /// Room for so many bytes from the device.
    In(u32),
    /// Bytes for the device.
    Out(&'a [u8]),
    /// Bytes for the device, and room for so many from it.
    Both(&'a [u8], u32),
}

/// A request on its way.
#[derive(Debug, Clone)]
struct Sent {
    id: u64,
    block: u64,
    data_in: u32,
    what: What,
    /// Requests are counted in the order in which they were made available.
    order: u64,
    /// Changes of the logical units that had been made by then.
    changes: u32,
    attribute: u8,
    /// One that had to wait for it was carried out before: it may only be aborted.
    passed_by: Option<u64>,
    /// When the last ORDERED one before it in its queue came back: how many had been sent by then.
    freed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Command(Address),
    /// A function that ends commands, and which.
    Ends(Scope),
    Other,
}

/// A request that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: u64,
    /// Response code of virtio-scsi.
    pub(super) response: u8,
    /// SAM status.
    pub(super) status: u8,
    pub(super) resid: u32,
    /// Key and additional sense code with its qualifier.
    pub(super) sense: Option<(u8, u16)>,
    pub(super) sense_bytes: Vec<u8>,
    /// The sense data came in descriptor format.
    pub(super) descriptors: bool,
    /// The whole data buffer.
    pub(super) data: Vec<u8>,
    /// Bytes that the device says it has written.
    pub(super) written: u32,
}

/// A guest.
pub(super) struct Guest {
    pub(super) adapter: Arc<Adapter>,
    pub(super) live: Option<Live>,
    /// By number of the virtqueue.
    pub(super) drivers: Vec<EitherDriver>,
    /// What has ended, in order.
    pub(super) ended: Vec<Ended>,
    pub(super) features: RingFeatures,
    /// The rings are packed from the next start on.
    pub(super) packed: bool,
    /// Requests lie in indirect tables.
    pub(super) tables: bool,
    /// `VIRTIO_SCSI_F_INOUT` is agreed upon from the next start on.
    pub(super) both_ways: bool,
    /// Task attribute of what is sent.
    pub(super) attribute: u8,
    /// There if the memory of the requests is not shared.
    pub(super) far: Option<Far>,
    function: Function,
    status: DeviceStatus,
    reactors: Arc<[Handle<Message>]>,
    rings: Region,
    data: Region,
    /// Whether rings and data are mapped.
    mapped: (bool, bool),
    /// The picture of memory that the device was given last.
    shown: Weak<MemMap>,
    bells: Vec<OwnedFd>,
    sent: HashMap<(usize, u16), Sent>,
    free: Vec<u64>,
    next_id: u64,
    changes: u32,
}

impl Guest {
    /// The guest at target port `port`, which is a group of its own, with so many request queues, each with a vector of its own; disk `n` is target `n`, LUN 0.
    pub(super) fn new(port: u16, queues: u16, disks: &[Arc<Disk>], reactors: Arc<[Handle<Message>]>) -> Self {
        let place = |(target, disk): (usize, &Arc<Disk>)| {
            let address = Address { target: target as u8, lun: 0 };
            Placement { address, disk: disk.clone() }
        };
        let name = format!("guest {port}");
        let port = Port { group: Some(port), ..Port::derive(port, &name) };
        let port = Arc::new(TargetPort::new(port, &name, AccessState::default(), reactors.clone()));
        let luns = LunMap::at_port(disks.iter().enumerate().map(place).collect(), port);
        let virtqueues = FIRST_REQUEST_QUEUE + queues;
        let mut function = function::build(virtqueues, 36);
        // Memory space and bus mastering.
        let _ = function.write(4, &[6, 0]);
        let status = DeviceStatus::default();
        let shared = (status.clone(), Isr::default());
        let adapter = Arc::new(Adapter::new(
            "test".into(),
            luns,
            function.interrupts().clone(),
            shared,
            virtqueues,
            Arc::new(new_bell()),
        ));
        let bells: Vec<_> = (0..virtqueues).map(|_| new_bell()).collect();
        for (vector, bell) in (0..).zip(&bells) {
            let fd = bell.try_clone().expect("a copy of an eventfd");
            function.interrupts().attach(vector, Some(fd)).expect("an eventfd");
        }
        crate::target::job::show(&adapter, &reactors);
        adapter.set_vectors(0xffff, 0..virtqueues);
        Self {
            adapter,
            live: None,
            drivers: Vec::new(),
            ended: Vec::new(),
            features: RingFeatures { event_idx: false, indirect: true },
            packed: false,
            tables: false,
            both_ways: false,
            attribute: 0,
            far: None,
            function,
            status,
            reactors,
            rings: testing::region(0, RINGS_LEN),
            data: testing::region(DATA_AT, DATA_LEN),
            mapped: (true, true),
            shown: Weak::new(),
            bells,
            sent: HashMap::new(),
            free: Vec::new(),
            next_id: 0,
            changes: 0,
        }
    }

    /// A new life: fresh rings in fresh memory, every queue on a reactor. What was on its way is forgotten.
    pub(super) fn start(&mut self) {
        self.sent.clear();
        (self.rings, self.data) = (testing::region(0, RINGS_LEN), testing::region(DATA_AT, DATA_LEN));
        self.free = (0..DATA_LEN as u64 / BLOCK_LEN).map(|n| DATA_AT + n * BLOCK_LEN).rev().collect();
        let own = Arc::new(MemMap::new(vec![self.rings.clone(), self.data.clone()]));
        if let Some(far) = &mut self.far {
            (far.client.memory, far.waits_for_rest) = (own.clone(), false);
        }
        let shown = self.map_of(true, true);
        self.mapped = (true, true);
        let at = |queue| RING_LEN * (queue + 1);
        let driver = |queue| EitherDriver::in_map(own.clone(), at(queue), RING_SIZE, self.features, self.packed);
        self.drivers = (0..self.bells.len() as u64).map(driver).collect();
        let (mut live, virtqueues) = (Live::new(self.reactors.clone()), self.bells.len() as u16);
        for (number, driver) in (0..virtqueues).zip(&self.drivers).filter(|&(number, _)| number != 1).rev() {
            let ring = driver.ring_in(&shown, self.features);
            let queue = Queue::new(live.life(), number, self.adapter.clone(), ring, shown.clone());
            let place = self.place_of(number);
            let crew = Crew { home: self.reactors[place].clone(), reactors: self.reactors.clone() };
            let worker = if number == CONTROL_QUEUE {
                Worker::Control(Box::new(ControlQueue::new(queue, crew)))
            } else {
                Worker::Request(Box::new(RequestQueue::new(queue, FRAMING, crew).both_ways(self.both_ways)))
            };
            live.add(number, place, worker);
        }
        self.adapter.luns().port.begin(live.life());
        self.shown = Arc::downgrade(&shown);
        self.live = Some(live);
    }

    /// The core of a virtqueue.
    pub(super) fn place_of(&self, number: u16) -> usize {
        usize::from(number.saturating_sub(FIRST_REQUEST_QUEUE)) % self.reactors.len()
    }

    fn map_of(&self, rings: bool, data: bool) -> Arc<MemMap> {
        let known = self.far.as_ref().map_or(&self.data, |far| &far.shadow);
        let regions = [(rings, &self.rings), (data, known)];
        Arc::new(MemMap::new(regions.iter().filter(|(there, _)| *there).map(|(_, region)| (*region).clone()).collect()))
    }

    /// Memory for the device: rings, data, or both.
    pub(super) fn show(&mut self, rings: bool, data: bool) -> Arc<MemMap> {
        let map = self.map_of(rings, data);
        self.shown = Arc::downgrade(&map);
        self.mapped = (rings, data);
        if let Some(far) = &mut self.far {
            far.rested(&self.adapter);
        }
        map
    }

    /// The memory of the requests is not shared from the next start on.
    pub(super) fn share_no_data(&mut self) -> &mut Far {
        self.far.insert(Far::new(testing::region_with(DATA_AT, DATA_LEN, false)))
    }

    /// The far side of such memory.
    pub(super) fn far(&mut self) -> &mut Far {
        self.far.as_mut().expect("it does not share its memory")
    }

    /// The control thread does what it can.
    pub(super) fn serve(&mut self) {
        let (rings, data) = self.mapped;
        let map = self.map_of(rings, data);
        if let Some(far) = &mut self.far {
            far.serve(&self.adapter, self.live.as_ref(), &map);
        }
    }

    /// Whether anybody still holds the picture of memory that was shown last.
    pub(super) fn memory_is_held(&self) -> bool {
        self.shown.strong_count() > 0
    }

    /// Asks queues to rest: the control queue first.
    pub(super) fn rest(&mut self, part: Part) -> Gate {
        if let Some(far) = &mut self.far {
            far.waits_for_rest = true;
        }
        self.live.as_ref().expect("it lives").begin_rest(part)
    }

    /// Lets the queues go on with all memory.
    pub(super) fn go_on(&mut self) {
        let map = self.show(true, true);
        self.live.as_mut().expect("it lives").go_on(&map);
    }

    /// Sends the queues to their end.
    pub(super) fn retire(&mut self) -> Gates {
        self.adapter.luns().port.end();
        Gates(self.live.take().expect("it lives").retire())
    }

    /// What a life that has ended leaves behind, to look at later.
    pub(super) fn leave(&mut self) -> Left {
        let responses = self.sent.values().map(|sent| sent.block + RESPONSE_AT).collect();
        Left { drivers: std::mem::take(&mut self.drivers), shown: std::mem::take(&mut self.shown), responses }
    }

    /// Whether the device waits for a reset.
    pub(super) fn is_broken(&self) -> bool {
        self.status.needs_reset()
    }

    /// Puts a command into request queue `queue`, counted from 0. Returns its name.
    pub(super) fn send(&mut self, queue: usize, target: u8, cdb: &[u8], data: Data<'_>) -> u64 {
        let lun = LunAddress::of(Address { target, lun: 0 });
        self.send_to(queue, lun.0, cdb, data)
    }

    /// From now on other logical units than before may be meant by the same address.
    pub(super) fn luns_changed(&mut self) {
        crate::target::job::show(&self.adapter, &self.reactors);
        self.changes += 1;
    }

    /// The same with any eight bytes of address.
    pub(super) fn send_to(&mut self, queue: usize, lun: [u8; 8], cdb: &[u8], data: Data<'_>) -> u64 {
        let mut header = [0; 51];
        header[..8].copy_from_slice(&lun);
        header[19..19 + cdb.len()].copy_from_slice(cdb);
        let address = Address { target: lun[1], lun: 0 };
        self.queue_request(queue + 2, &mut header, data, What::Command(address))
    }

    /// The same as [`Guest::read`] with a task attribute.
    pub(super) fn read_as(&mut self, attribute: u8, queue: usize, target: u8, lba: u8) -> u64 {
        self.attribute = attribute;
        let id = self.read(queue, target, lba);
        self.attribute = 0;
        id
    }

    /// A read of one block.
    pub(super) fn read(&mut self, queue: usize, target: u8, lba: u8) -> u64 {
        self.send(queue, target, &read_10(lba, 1), Data::In(512))
    }

    /// A write of one block, all of whose bytes are `value`.
    pub(super) fn write(&mut self, queue: usize, target: u8, lba: u8, value: u8) -> u64 {
        self.send(queue, target, &write_10(lba, 1), Data::Out(&[value; 512]))
    }

    /// Puts a task management function into the control queue. Returns its name.
    pub(super) fn manage(&mut self, subtype: u32, target: u8, id: u64) -> u64 {
        let address = Address { target, lun: 0 };
        let what = match subtype {
            TMF_ABORT_TASK => What::Ends(Scope::Task { address, id }),
            TMF_I_T_NEXUS_RESET => What::Ends(Scope::Target(target)),
            TMF_ABORT_TASK_SET | TMF_CLEAR_TASK_SET | TMF_LOGICAL_UNIT_RESET => What::Ends(Scope::Unit(address)),
            _ => What::Other,
        };
        let mut request = [0; 24];
        request[..4].copy_from_slice(&CONTROL_TMF.to_le_bytes());
        request[4..8].copy_from_slice(&subtype.to_le_bytes());
        request[8..16].copy_from_slice(&LunAddress::of(address).0);
        request[16..].copy_from_slice(&id.to_le_bytes());
        self.queue_request(0, &mut request, Data::Without, what)
    }

    fn queue_request(&mut self, queue: usize, header: &mut [u8], data: Data<'_>, what: What) -> u64 {
        let (id, block) = (self.next_id, self.free.pop().expect("a free block"));
        self.next_id += 1;
        if queue > 0 {
            header[8..16].copy_from_slice(&id.to_le_bytes());
            header[16] = self.attribute;
        }
        let driver = &mut self.drivers[queue];
        driver.write(block, header);
        let response_len = if queue > 0 { RESPONSE_LEN } else { 1 };
        driver.write(block + RESPONSE_AT, &vec![0xee; response_len as usize]);
        let response = Buffer::writable(block + RESPONSE_AT, response_len);
        let mut buffers = vec![Buffer::readable(block, header.len() as u32), response];
        let at = block + BUFFER_AT;
        let data_in = match data {
            Data::Without => 0,
            Data::In(len) => {
                driver.write(at, &vec![0xee; len as usize]);
                buffers.push(Buffer::writable(at, len));
                len
            }
            Data::Out(bytes) => {
                driver.write(at, bytes);
                buffers.insert(1, Buffer::readable(at, bytes.len() as u32));
                0
            }
            Data::Both(bytes, len) => {
                let out_at = at + u64::from(len);
                driver.write(out_at, bytes);
                driver.write(at, &vec![0xee; len as usize]);
                buffers.insert(1, Buffer::readable(out_at, bytes.len() as u32));
                buffers.push(Buffer::writable(at, len));
                len
            }
        };
        let head = if self.tables || self.far.as_ref().is_some_and(|far| far.tables) {
            driver.add_indirect(block + OWN_TABLE_AT, &buffers)
        } else {
            driver.add(&buffers)
        };
        let head = head.expect("room in the ring");
        let sent = self.note(id, block, data_in, what);
        let before = self.sent.insert((queue, head), sent);
        assert!(before.is_none(), "a free head has no request");
        id
    }

    /// What is remembered of a request that is sent now.
    fn note(&self, id: u64, block: u64, data_in: u32, what: What) -> Sent {
        let (changes, attribute) = (self.changes, self.attribute);
        Sent { id, block, data_in, what, order: id, changes, attribute, passed_by: None, freed: 0 }
    }

    /// A read of block `lba` of target 0 through queue 0, in an indirect table: its readable and its writable part cut into
    /// pieces of these lengths. Returns its name, and where its data will be.
    pub(super) fn read_in_pieces(&mut self, lba: u8, readable: &[u32], writable: &[u32]) -> (u64, u64) {
        let (id, block, driver) = (self.next_id, self.free.pop().expect("a free block"), &mut self.drivers[2]);
        self.next_id += 1;
        let mut header = [0; 51];
        header[0] = 1;
        header[8..16].copy_from_slice(&id.to_le_bytes());
        header[19..29].copy_from_slice(&read_10(lba, 1));
        driver.write(block, &header);
        let pieces = |from: u64, lens: &[u32], piece: fn(u64, u32) -> Buffer| {
            let cut = lens.iter().scan(from, |at, &len| {
                *at += u64::from(len);
                Some(piece(*at - u64::from(len), len))
            });
            cut.collect::<Vec<_>>()
        };
        let mut buffers = pieces(block, readable, Buffer::readable);
        buffers.extend(pieces(block + RESPONSE_AT, writable, Buffer::writable));
        let head = driver.add_indirect(TABLE_AT, &buffers).expect("room in the ring");
        let sent = self.note(id, block, 0, What::Command(Address { target: 0, lun: 0 }));
        self.sent.insert((2, head), sent);
        (id, block + RESPONSE_AT + u64::from(RESPONSE_LEN))
    }

    /// The next request lies in memory that is shared, whatever the others do.
    pub(super) fn share_next(&mut self) {
        self.free.push(TABLE_AT);
    }

    /// A read of block `lba` of target 0 through queue 0, whose data buffer goes on for `extra` times the memory of all
    /// requests.
    pub(super) fn read_with_room(&mut self, lba: u8, extra: usize) -> u64 {
        let (id, block, driver) = (self.next_id, self.free.pop().expect("a free block"), &mut self.drivers[2]);
        self.next_id += 1;
        let mut header = [0; 51];
        header[0] = 1;
        header[8..16].copy_from_slice(&id.to_le_bytes());
        header[19..29].copy_from_slice(&read_10(lba, 1));
        driver.write(block, &header);
        let (response, data) = (block + RESPONSE_AT, block + BUFFER_AT);
        let mut buffers = vec![Buffer::readable(block, 51), Buffer::writable(response, RESPONSE_LEN)];
        buffers.push(Buffer::writable(data, 512));
        buffers.extend((0..extra).map(|_| Buffer::writable(DATA_AT, DATA_LEN as u32)));
        let head = driver.add_indirect(TABLE_AT + (block - DATA_AT) / 2, &buffers).expect("room in the ring");
        let sent = self.note(id, block, 512, What::Command(Address { target: 0, lun: 0 }));
        self.sent.insert((2, head), sent);
        id
    }

    /// Takes what the device gave back, and checks it against the book.
    pub(super) fn collect(&mut self) {
        // The control queue first: what a function ended has been published, and so collected, in a pass before.
        for queue in 0..self.drivers.len() {
            while let Some((head, written)) = self.drivers[queue].take_used() {
                let sent = self.sent.remove(&(queue, head));
                let sent = sent.unwrap_or_else(|| panic!("head {head} of queue {queue} was given back twice"));
                let ended = self.parse(queue, &sent, written);
                self.free_those_behind(queue, &sent);
                if let What::Ends(scope) = sent.what
                    && ended.response == 0
                {
                    self.check_ended(scope, sent.order);
                }
                if ended.response == 0 && ![ACA_ACTIVE, TASK_SET_FULL, TASK_ABORTED].contains(&ended.status) {
                    self.check_order(queue, &sent, &ended);
                }
                self.free.push(sent.block);
                self.ended.push(ended);
            }
        }
    }

    /// From here on memory for requests is taken in the same order as from any other call of this with as many open.
    pub(super) fn sort_free(&mut self) {
        self.free.sort_unstable();
    }

    /// Requests that are open.
    pub(super) fn open(&self) -> usize {
        self.sent.len()
    }

    /// Open requests of a virtqueue.
    pub(super) fn open_in(&self, queue: usize) -> usize {
        self.sent.keys().filter(|(number, _)| *number == queue).count()
    }

    /// Names of what has ended since the last call, with their response codes.
    pub(super) fn take_ended(&mut self) -> Vec<(u64, u8)> {
        self.ended.drain(..).map(|ended| (ended.id, ended.response)).collect()
    }

    /// Whether the request of this name is open.
    pub(super) fn is_open(&self, id: u64) -> bool {
        self.sent.values().any(|sent| sent.id == id)
    }

    /// The one request that has ended since the last call.
    pub(super) fn take_one(&mut self) -> Ended {
        assert_eq!(self.ended.len(), 1, "{:?}", self.ended);
        self.ended.remove(0)
    }

    /// Interrupts of a virtqueue since the last call.
    pub(super) fn interrupts(&self, queue: usize) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(&self.bells[queue], &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }

    /// Turns bus mastering, and with it interrupts, on or off.
    pub(super) fn set_bus_master(&mut self, on: bool) {
        let _ = self.function.write(4, &[if on { 6 } else { 2 }, 0]);
    }
}

/// Gates that are all open, or not.
pub(super) struct Gates(Vec<Gate>);

impl Gates {
    pub(super) fn is_open(&self) -> bool {
        self.0.iter().all(Gate::is_open)
    }
}

/// What a life leaves behind.
pub(super) struct Left {
    drivers: Vec<EitherDriver>,
    shown: Weak<MemMap>,
    /// Where the responses of open requests would be.
    responses: Vec<u64>,
}

impl Left {
    /// All that the device has told its driver: used indices and responses.
    pub(super) fn told(&self) -> (Vec<u16>, Vec<u8>) {
        let used = self.drivers.iter().map(|driver| driver.split().used_idx()).collect();
        let response = |&at: &u64| self.drivers[0].read(at, RESPONSE_LEN as usize);
        (used, self.responses.iter().flat_map(response).collect())
    }

    /// As [`Guest::memory_is_held`].
    pub(super) fn memory_is_held(&self) -> bool {
        self.shown.strong_count() > 0
    }
}

/// An eventfd.
pub(super) fn new_bell() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd")
}

/// READ(10).
pub(super) fn read_10(lba: u8, blocks: u8) -> [u8; 10] {
    [0x28, 0, 0, 0, 0, lba, 0, 0, blocks, 0]
}

/// WRITE(10).
pub(super) fn write_10(lba: u8, blocks: u8) -> [u8; 10] {
    [0x2a, 0, 0, 0, 0, lba, 0, 0, blocks, 0]
}

/// TEST UNIT READY.
pub(super) const TEST_UNIT_READY: [u8; 6] = [0; 6];
