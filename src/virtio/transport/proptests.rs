//! Any sequence of accesses keeps the invariants of the status machine.

use proptest::prelude::*;

use super::super::spec::{NO_VECTOR, common, feature, status};
use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Any bytes anywhere.
    Raw(u64, Vec<u8>),
    /// A register at its own width, with a value that often matters.
    Register(u64, usize, u64),
    Read(u64, usize),
    ResetDone,
    QueueResetDone(u16),
    Fail,
    BeginReset,
}

fn registers() -> impl Strategy<Value = Step> {
    let register = prop::sample::select(vec![
        (common::DRIVER_FEATURE_SELECT, 4),
        (common::DRIVER_FEATURE, 4),
        (common::CONFIG_MSIX_VECTOR, 2),
        (common::QUEUE_SELECT, 2),
        (common::QUEUE_SIZE, 2),
        (common::QUEUE_MSIX_VECTOR, 2),
        (common::QUEUE_ENABLE, 2),
        (common::QUEUE_DESC, 8),
        (common::QUEUE_DRIVER, 8),
        (common::QUEUE_DEVICE, 8),
        (common::QUEUE_RESET, 2),
    ]);
    let value =
        prop_oneof![0u64..4, (0u64..16).prop_map(|shift| 1 << shift), (0u64..64).prop_map(|n| n << 12), any::<u64>()];
    let set = (register, value).prop_map(|((at, width), value)| Step::Register(at, width, value));
    let step = prop::sample::select(vec![0u64, 1, 3, 0x0b, 0x0f, 0x0f, 0x80, 0x40]);
    let status =
        prop_oneof![4 => step, 1 => any::<u64>()].prop_map(|value| Step::Register(common::DEVICE_STATUS, 1, value));
    prop_oneof![3 => set, 1 => status]
}

fn steps() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![9 => 0..0x50u64, 1 => any::<u64>()];
    let raw = (offset.clone(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(at, data)| Step::Raw(at, data));
    prop_oneof![
        12 => registers(),
        2 => raw,
        2 => (offset, 0usize..100).prop_map(|(at, len)| Step::Read(at, len)),
        1 => Just(Step::ResetDone),
        1 => (0u16..5).prop_map(Step::QueueResetDone),
        1 => Just(Step::Fail),
        1 => Just(Step::BeginReset),
    ]
}

/// What of a device an invariant is about.
#[derive(Debug, Clone, PartialEq)]
struct View {
    status: u8,
    resetting: bool,
    features: u64,
    queues: Vec<QueueConfig>,
}

fn view(transport: &Transport) -> View {
    View {
        status: transport.status().get(),
        resetting: transport.is_resetting(),
        features: transport.features(),
        queues: (0..transport.queue_count()).filter_map(|n| transport.queue(n)).collect(),
    }
}

fn apply(transport: &mut Transport, step: &Step) -> Option<Action> {
    match step {
        Step::Raw(at, data) => return transport.write(*at, data),
        Step::Register(at, width, value) => return transport.write(*at, &value.to_le_bytes()[..*width]),
        Step::Read(at, len) => transport.read(*at, &mut vec![0xee; *len]),
        Step::ResetDone => transport.reset_done(),
        Step::QueueResetDone(n) => transport.queue_reset_done(*n),
        Step::Fail => drop(transport.status().fail()),
        Step::BeginReset => transport.begin_reset(),
    }
    None
}

fn check(step: &Step, action: Option<Action>, before: &View, after: &View, offered: u64) {
    if before.resetting && matches!(step, Step::ResetDone) {
        assert_eq!((after.status, after.features, after.resetting), (0, 0, false));
        assert!(after.queues.iter().all(|queue| !queue.enabled && queue.vector == NO_VECTOR));
        return;
    }
    assert_eq!(after.status & before.status, before.status, "bits only go with a reset");
    assert!(!after.resetting || after.status != 0);
    let came = after.status & !before.status;
    assert_eq!(came & status::DRIVER_OK != 0, action == Some(Action::DriverOk));
    if came & status::DRIVER_OK != 0 {
        assert_eq!(before.status & (status::FAILED | status::DEVICE_NEEDS_RESET), 0);
        assert_ne!(after.status & status::FEATURES_OK, 0);
    }
    if after.status & status::FEATURES_OK != 0 {
        assert_eq!(after.features & !offered, 0);
        assert_ne!(after.features & feature::VERSION_1, 0);
    }
    if before.status & status::FEATURES_OK != 0 {
        assert_eq!(before.features, after.features);
    }
    if before.resetting {
        assert_eq!(action, None);
        assert!(before.queues == after.queues || matches!(step, Step::QueueResetDone(_)));
    }
    check_queues(step, action, before, after);
}

fn check_queues(step: &Step, action: Option<Action>, before: &View, after: &View) {
    let packed = after.features & feature::RING_PACKED != 0;
    for (n, (before, after)) in (0..).zip(before.queues.iter().zip(&after.queues)) {
        assert_eq!(!before.enabled && after.enabled, action == Some(Action::QueueEnabled(n)));
        assert!(after.vector < 4 || after.vector == NO_VECTOR);
        assert!((1..=128).contains(&after.size));
        assert!(!after.enabled || after.is_valid(packed));
        if before.enabled && !matches!(step, Step::QueueResetDone(_)) {
            assert_eq!(QueueConfig { vector: 0, ..*before }, QueueConfig { vector: 0, ..*after });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn invariants_hold(packed: bool, start in 0..3u8, steps in prop::collection::vec(steps(), 1..80)) {
        let extra = if packed { feature::RING_PACKED } else { 0 };
        let features = feature::VERSION_1 | feature::RING_EVENT_IDX | feature::RING_RESET | extra;
        let mut transport = Transport::new(TransportSpec { features, required: 0, queues: 3, queue_size_max: 128, vectors: 4 });
        if start > 0 {
            transport.driver_features = features;
            prop_assert_eq!(transport.write(common::DEVICE_STATUS, &[0x0b]), Some(Action::FeaturesOk));
        }
        for step in &steps {
            let before = view(&transport);
            let action = apply(&mut transport, step);
            check(step, action, &before, &view(&transport), features);
        }
    }
}
