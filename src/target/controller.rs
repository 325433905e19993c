//! One controller on its control thread: the device that a vfio-user client sees.
//!
//! Owns the PCI function, the virtio registers and the table of guest memory. Follows what the driver writes to its
//! registers by building queues, moving them to reactors, and bringing them to rest. Never on the way of an I/O.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bdev::LateRegistrar;
use reactor::{Gate, Handle};

use crate::config::RingFormat;
use crate::dma::Table;
use crate::observe::LogLimit;
use crate::pci::Function;
use crate::scsi::Attention;
use crate::vfio_user::ClientMemory;
use crate::virtio::ring::{Ring, RingFeatures, RingLayout};
use crate::virtio::spec::feature;
use crate::virtio::transport::{Action, Isr, Transport, TransportSpec};
use crate::virtio_scsi::DeviceConfig;
use crate::virtio_scsi::spec::{
    CONTROL_QUEUE, EVENT_QUEUE, FEATURE_CHANGE, FEATURE_HOTPLUG, FEATURE_INOUT, FIRST_REQUEST_QUEUE,
};

use super::adapter::Adapter;
use super::control_queue::ControlQueue;
use super::courier::Courier;
use super::event_queue::EventQueue;
use super::function;
use super::live::{Live, REST_MAX};
use super::lun_change::limits;
use super::lun_map::LunMap;
use super::message::Message;
use super::news::Wanted;
use super::peers::Crew;
use super::request_queue::RequestQueue;
use super::worker::{Queue, Worker};

/// Entries of a virtqueue, at most.
pub(crate) const QUEUE_SIZE_MAX: u16 = 256;
/// How long a write of 0 to the status register waits for the reset, for drivers that do not ask whether it is done.
const RESET_WAIT: Duration = Duration::from_millis(500);
/// What is offered, whatever the format of rings.
///
/// A doorbell's value does not matter: its address tells the queue, and the ring tells how far the driver has got. Addresses
/// are always those that the client has mapped for the device, translated or not.
const FEATURES: u64 = feature::VERSION_1
    | feature::RING_INDIRECT_DESC
    | feature::RING_EVENT_IDX
    | feature::RING_RESET
    | feature::NOTIFICATION_DATA
    | feature::NOTIF_CONFIG_DATA
    | feature::ACCESS_PLATFORM
    | FEATURE_INOUT
    | FEATURE_HOTPLUG
    | FEATURE_CHANGE;

/// What a controller offers to drivers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// Request queues.
    pub(crate) queues: u16,
    /// Formats of rings.
    pub(crate) ring: RingFormat,
}

/// One controller.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(super) adapter: Arc<Adapter>,
    pub(super) function: Function,
    pub(super) transport: Transport,
    pub(super) config: DeviceConfig,
    pub(super) memory: Table,
    pub(super) live: Option<Live>,
    courier: Courier,
    /// Registers the memory that queues work in.
    registrar: LateRegistrar,
    /// `DRIVER_OK` came while bus mastering was off: the queues start when it comes on.
    start_pending: bool,
    /// Queues of a former life that have not come to their end.
    retired: Vec<Retired>,
    pub(super) reactors: Arc<[Handle<Message>]>,
    /// Place of the reactor that serves each request queue. The control queue is with the first of them.
    homes: Box<[usize]>,
    /// Lines about clients that come and go.
    pub(super) visits: LogLimit,
    /// Lines about what a client asked for in vain.
    pub(super) refusals: LogLimit,
}

impl Controller {
    /// A controller whose request queues are at `homes`, places among `reactors`, as many as it offers; `bell` is the
    /// eventfd at which [`Device::wake`](crate::vfio_user::Device::wake) is called.
    pub(crate) fn new(
        name: String,
        luns: LunMap,
        offer: Offer,
        (reactors, homes): (Arc<[Handle<Message>]>, Box<[usize]>),
        bell: Arc<OwnedFd>,
    ) -> Self {
        let queues = offer.queues;
        assert_eq!(homes.len(), usize::from(queues), "each request queue has a home");
        let virtqueues = FIRST_REQUEST_QUEUE + queues;
        // One for each queue and one for changes of the configuration.
        let vectors = virtqueues + 1;
        let config = DeviceConfig::new(&limits(&luns, queues));
        let function = function::build(vectors, crate::virtio_scsi::config::CONFIG_LEN as u32);
        let (offered, required) = match offer.ring {
            RingFormat::Auto => (feature::RING_PACKED, 0),
            RingFormat::Split => (0, 0),
            RingFormat::Packed => (feature::RING_PACKED, feature::RING_PACKED),
        };
        let transport = Transport::new(TransportSpec {
            features: FEATURES | offered,
            required,
            queues: virtqueues,
            queue_size_max: QUEUE_SIZE_MAX,
            vectors,
        });
        let shared = (transport.status().clone(), Isr::default());
        let adapter = Arc::new(Adapter::new(name, luns, function.interrupts().clone(), shared, virtqueues, bell));
        super::job::show(&adapter, &reactors);
        let memory = Table::new(crate::dma::Limits::default());
        Self {
            adapter,
            function,
            transport,
            config,
            memory,
            live: None,
            courier: Courier::default(),
            registrar: LateRegistrar::default(),
            start_pending: false,
            retired: Vec::new(),
            reactors,
            homes,
            visits: LogLimit::new(),
            refusals: LogLimit::new(),
        }
    }

    /// From now on the memory of live queues is registered, as soon as there is something to do it.
    pub(crate) fn register_with(&mut self, registrar: LateRegistrar) {
        self.registrar = registrar;
    }

    /// Has memory registered that data may be in. Not before there is a queue for it: firmware and drivers that never start
    /// one pin nothing.
    pub(super) fn register_memory(&mut self) {
        if let Some(registrar) = self.registrar.get()
            && self.live.as_ref().is_some_and(Live::has_requests)
        {
            self.memory.snapshot().register(registrar);
        }
    }

    /// Follows what the driver wrote to the common configuration.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Reset => self.driver_reset(),
            Action::DriverOk => self.start(),
            Action::QueueEnabled(number) if self.live.is_some() => self.start_queue(number),
            Action::DriverFailed => self.retire(),
            Action::NeedsReset => self.adapter.report_failure(&"the driver broke a rule of virtio"),
            Action::QueueEnabled(_) | Action::FeaturesOk => {}
            Action::QueueReset(number) => self.reset_queue(number),
            Action::QueueVector(_) | Action::ConfigVector => {
                self.take_vectors();
                self.wake_queues();
            }
        }
    }

    fn take_vectors(&self) {
        let transport = &self.transport;
        let queues = (0..transport.queue_count())
            .map(|number| transport.queue(number).map_or(crate::virtio::spec::NO_VECTOR, |queue| queue.vector));
        self.adapter.set_vectors(transport.config_vector(), queues);
    }

    /// The driver is ready: every queue that it has enabled goes to its reactor.
    fn start(&mut self) {
        if !self.function.may_master() {
            self.start_pending = true;
            return;
        }
        self.start_pending = false;
        self.take_vectors();
        let live = Live::new(self.reactors.clone());
        self.adapter.luns().port.begin(live.life());
        self.live = Some(live);
        self.start_queues();
    }

    /// Starts the queues that are enabled and have not been started, the control queue last.
    fn start_queues(&mut self) {
        for number in (0..self.transport.queue_count()).rev() {
            self.start_queue(number);
        }
    }

    fn start_queue(&mut self, number: u16) {
        let Some(layout) = self.transport.queue(number).filter(|queue| queue.enabled) else { return };
        // While the others rest, it waits for them to go on.
        let Some(live) = self.live.as_mut().filter(|live| !live.is_resting()) else { return };
        if live.has(number) {
            return;
        }
        let memory = self.memory.snapshot();
        let features = RingFeatures {
            event_idx: self.transport.has(feature::RING_EVENT_IDX),
            indirect: self.transport.has(feature::RING_INDIRECT_DESC),
        };
        let layout = RingLayout { size: layout.size, desc: layout.desc, avail: layout.avail, used: layout.used };
        let ring = if self.transport.has(feature::RING_PACKED) {
            Ring::packed(layout, features, &memory)
        } else {
            Ring::split(layout, features, &memory)
        };
        let ring = match ring {
            Ok(ring) => ring,
            Err(error) => return self.adapter.fail(&format_args!("queue {number}: {error}")),
        };
        let queue = Queue::new(live.life(), number, self.adapter.clone(), ring, memory);
        let place = self.homes[usize::from(number.saturating_sub(FIRST_REQUEST_QUEUE))];
        let crew = Crew { home: self.reactors[place].clone(), reactors: self.reactors.clone() };
        let has = |feature| self.transport.has(feature);
        let worker = match number {
            CONTROL_QUEUE => Worker::Control(Box::new(ControlQueue::new(queue, crew))),
            EVENT_QUEUE => {
                let wanted = Wanted { hotplug: has(FEATURE_HOTPLUG), change: has(FEATURE_CHANGE) };
                self.adapter.news.open(wanted, crew.home);
                Worker::Event(Box::new(EventQueue::new(queue)))
            }
            _ => {
                let worker = RequestQueue::new(queue, self.config.framing(), crew).both_ways(has(FEATURE_INOUT));
                Worker::Request(Box::new(worker))
            }
        };
        live.add(number, place, worker);
        if number >= FIRST_REQUEST_QUEUE {
            self.register_memory();
        }
    }

    /// Bus mastering went on or off, by the command register or the power state.
    pub(super) fn bus_master_changed(&mut self) {
        if self.function.may_master() {
            if self.start_pending {
                self.start();
            } else {
                self.go_on();
            }
        } else {
            self.rest();
        }
    }

    /// Brings the queues to rest, so that memory may change. A device whose disks do not let it is failed: its queues are
    /// left behind with the memory that they use, until their disks answer.
    pub(super) fn rest(&mut self) {
        let began = Instant::now();
        if self.live.as_mut().is_some_and(|live| !live.rest()) {
            self.adapter.fail(&format_args!("its disks did not answer within {} s", REST_MAX.as_secs()));
            self.retire_since(began);
        }
        self.courier.forget_fetches(&self.adapter);
    }

    /// Lets the queues go on with the memory that there is now.
    pub(super) fn go_on(&mut self) {
        if self.function.may_master()
            && let Some(live) = &mut self.live
        {
            live.go_on(&self.memory.snapshot());
            self.start_queues();
            self.register_memory();
            self.courier.remind(&self.adapter);
        }
    }

    /// Guest memory has grown.
    pub(super) fn memory_grew(&mut self) {
        if let Some(live) = &self.live {
            live.add_memory(&self.memory.snapshot());
            self.courier.remind(&self.adapter);
            self.register_memory();
        }
    }

    /// Reaches into memory that the client does not share, for the queues.
    pub(super) fn carry(&mut self, client: &mut dyn ClientMemory) {
        // Without bus mastering there is no access; with it comes a reminder.
        if self.function.may_master() {
            self.courier.carry(&self.adapter, self.live.as_ref(), &self.memory.snapshot(), client);
        }
    }

    /// Sends the queues to their end.
    fn retire(&mut self) {
        self.retire_since(Instant::now());
    }

    /// The same for queues that were waited for since `began`.
    fn retire_since(&mut self, began: Instant) {
        self.start_pending = false;
        self.adapter.news.close();
        self.adapter.luns().port.end();
        let give_up = began + REST_MAX;
        let gates = self.live.take().map_or(Vec::new(), Live::retire);
        self.retired.extend(gates.into_iter().map(|gate| Retired { gate, give_up }));
    }

    /// The driver wrote 0 to the status.
    fn driver_reset(&mut self) {
        self.retire();
        self.wait_retired(RESET_WAIT);
        self.finish_reset();
    }

    /// The driver resets one queue. Of a device that has not started, or of a queue that is not served, nothing has to end.
    fn reset_queue(&mut self, number: u16) {
        if number == EVENT_QUEUE {
            self.adapter.news.close();
        }
        match &mut self.live {
            Some(live) => live.reset_queue(number, RESET_WAIT),
            None if self.retired.is_empty() => self.transport.queue_reset_done(number),
            // The whole device is on its way to a reset, which alone tells when nothing is in flight.
            None => {}
        }
        self.finish_reset();
    }

    /// Waits until queues of former lives are gone, if that is soon. However often a client asks, and in one message it
    /// can ask several times: for each life no longer than [`REST_MAX`] in all.
    fn wait_retired(&self, longest: Duration) {
        let deadline = Instant::now() + longest;
        for Retired { gate, give_up } in &self.retired {
            gate.wait_until(deadline.min(*give_up));
        }
    }

    /// Ends resets that are in progress, of single queues and of the device, if nothing is in flight any more: only then do
    /// the registers tell so.
    pub(super) fn finish_reset(&mut self) {
        let reset = self.live.as_mut().map_or(Vec::new(), Live::take_reset);
        if !reset.is_empty() {
            reset.into_iter().for_each(|number| self.transport.queue_reset_done(number));
            self.take_vectors();
        }
        self.retired.retain(|retired| !retired.gate.is_open());
        if self.retired.is_empty() && self.transport.is_resetting() {
            self.transport.reset_done();
            self.config.reset();
            self.take_vectors();
            self.adapter.luns().raise(Attention::HardReset, |_| true);
        }
    }

    /// Resets device and function, as the client asked or because it is gone. What does not come to rest in time is left
    /// behind.
    pub(super) fn reset_function(&mut self) {
        self.transport.begin_reset();
        self.retire();
        self.wait_retired(REST_MAX);
        self.finish_reset();
        self.function.reset();
    }

    /// Forgets a client, and with it whatever of its device does not come to an end: that has no effect on the next one.
    pub(super) fn forget_client(&mut self) {
        self.reset_function();
        self.retired.clear();
        self.finish_reset();
        self.memory.unmap_all();
        self.adapter.interrupts.detach_all();
        self.adapter.luns().raise(Attention::PowerOn, |_| true);
    }
}

/// Queues of a former life that have not come to their end.
#[derive(Debug)]
struct Retired {
    gate: Gate,
    /// From when on nobody waits for them any more.
    give_up: Instant,
}
