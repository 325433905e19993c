//! From options in their order, or the tables of a file, to controllers: which option belongs to whom, and where each
//! disk goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    AccessState, ConfigError, ControllerConfig, CpuSet, DiskConfig, Idle, MAX_QUEUES, MAX_TARGETS, PlacedDisk,
    QueueCpus, RingFormat, port,
};

/// What was said for one controller, or (without a socket) for all.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) socket: Option<PathBuf>,
    pub(super) cpus: Option<CpuSet>,
    pub(super) queues: Option<u32>,
    pub(super) queue_cpus: Option<QueueCpus>,
    pub(super) idle: Option<Idle>,
    pub(super) ring: Option<RingFormat>,
    pub(super) port_group: Option<u16>,
    pub(super) access_state: Option<AccessState>,
    pub(super) disks: Vec<Arc<DiskConfig>>,
}

/// One option of the command line that belongs to the controller whose `--socket` stands before it.
#[derive(Debug, Clone)]
pub(super) enum Scoped {
    Socket(PathBuf),
    CpuMask(CpuSet),
    Queues(u32),
    QueueCpus(QueueCpus),
    Idle(Idle),
    Ring(RingFormat),
    PortGroup(u16),
    AccessState(AccessState),
    Disk(Arc<DiskConfig>),
}

/// Gives each option to its controller. The first draft holds what stands before the first socket: it is for all.
pub(super) fn gather(options: Vec<Scoped>) -> Result<Vec<Draft>, ConfigError> {
    let mut drafts = vec![Draft::default()];
    for option in options {
        if let Scoped::Socket(socket) = option {
            drafts.push(Draft { socket: Some(socket), ..Draft::default() });
            continue;
        }
        let draft = drafts.last_mut().expect("the first draft is always there");
        match option {
            Scoped::CpuMask(cpus) => set_once(&mut draft.cpus, cpus, "--cpumask", &draft.socket)?,
            Scoped::Queues(queues) => set_once(&mut draft.queues, queues, "--queues", &draft.socket)?,
            Scoped::QueueCpus(homes) => set_once(&mut draft.queue_cpus, homes, "--queue-cpus", &draft.socket)?,
            Scoped::Idle(idle) => set_once(&mut draft.idle, idle, "--idle", &draft.socket)?,
            Scoped::Ring(ring) => set_once(&mut draft.ring, ring, "--ring", &draft.socket)?,
            Scoped::PortGroup(group) => set_once(&mut draft.port_group, group, "--port-group", &draft.socket)?,
            Scoped::AccessState(state) => {
                set_once(&mut draft.access_state, state, "--access-state", &draft.socket)?;
            }
            Scoped::Disk(disk) => draft.disks.push(disk),
            Scoped::Socket(_) => unreachable!("handled above"),
        }
    }
    Ok(drafts)
}

fn set_once<T>(
    place: &mut Option<T>,
    value: T,
    option: &'static str,
    socket: &Option<PathBuf>,
) -> Result<(), ConfigError> {
    if place.replace(value).is_some() {
        let scope = socket.as_deref().map_or("all controllers".into(), |socket| format!("controller {}", show(socket)));
        return Err(ConfigError::Twice { option, scope });
    }
    Ok(())
}

/// Finished controllers from `common`, which is for all, and one draft for each.
pub(super) fn finish(common: &Draft, drafts: &[Draft]) -> Result<Vec<ControllerConfig>, ConfigError> {
    if drafts.is_empty() {
        return Err(ConfigError::NoController);
    }
    let controllers: Vec<_> = drafts.iter().map(|draft| finish_one(common, draft)).collect::<Result<_, _>>()?;
    for (index, controller) in controllers.iter().enumerate() {
        if controllers[..index].iter().any(|before| before.socket == controller.socket) {
            return Err(ConfigError::SameSocket(show(&controller.socket)));
        }
    }
    port::check_all(&controllers)?;
    Ok(controllers)
}

fn finish_one(common: &Draft, draft: &Draft) -> Result<ControllerConfig, ConfigError> {
    let socket = draft.socket.clone().ok_or(ConfigError::NoController)?;
    let cpus = draft.cpus.clone().or_else(|| common.cpus.clone()).unwrap_or_else(|| CpuSet::single(0));
    let queues = draft.queues.or(common.queues).unwrap_or(cpus.cpus().len().min(MAX_QUEUES.into()) as u32);
    if queues == 0 || queues > MAX_QUEUES.into() {
        return Err(ConfigError::Queues { socket: show(&socket), queues });
    }
    let queue_cpus = draft.queue_cpus.clone().or_else(|| common.queue_cpus.clone()).unwrap_or_default();
    check_homes(&socket, &queue_cpus, queues, &cpus)?;
    let disks: Vec<_> = common.disks.iter().chain(&draft.disks).cloned().collect();
    if disks.is_empty() {
        return Err(ConfigError::NoDisk(show(&socket)));
    }
    let ring = draft.ring.or(common.ring).unwrap_or_default();
    let idle = draft.idle.or(common.idle).unwrap_or_default();
    let disks = place(&socket, disks)?;
    let port_group = draft.port_group.or(common.port_group);
    let access_state = draft.access_state.or(common.access_state);
    port::check(&show(&socket), port_group, access_state)?;
    let access_state = access_state.unwrap_or_default();
    let queues = queues as u16;
    Ok(ControllerConfig { socket, cpus, queues, queue_cpus, idle, ring, port_group, access_state, disks })
}

/// Each queue that was given a home is there, and its home is one of the controller's CPUs.
fn check_homes(socket: &Path, homes: &QueueCpus, queues: u32, cpus: &CpuSet) -> Result<(), ConfigError> {
    for (queue, cpu) in homes.iter() {
        if u32::from(queue) >= queues {
            return Err(ConfigError::NoSuchQueue { socket: show(socket), queue, queues });
        }
        if !cpus.cpus().contains(&cpu) {
            let cpus = cpus.to_string();
            return Err(ConfigError::NotItsCpu { socket: show(socket), queue, cpu, cpus });
        }
    }
    Ok(())
}

/// Gives each disk its address: the one that it asked for, else LUN 0 of the next target that no disk has.
fn place(socket: &Path, disks: Vec<Arc<DiskConfig>>) -> Result<Vec<PlacedDisk>, ConfigError> {
    let mut placed: BTreeMap<(u8, u16), Arc<DiskConfig>> = BTreeMap::new();
    let (fixed, floating): (Vec<_>, Vec<_>) =
        disks.into_iter().partition(|disk| disk.target.is_some() || disk.lun.is_some());
    for disk in fixed {
        let (target, lun) = (disk.target.unwrap_or(0), disk.lun.unwrap_or(0));
        if let Some(first) = placed.insert((target, lun), disk.clone()) {
            let (first, second) = (first.text.clone(), disk.text.clone());
            return Err(ConfigError::SameAddress { socket: show(socket), target, lun, first, second });
        }
    }
    let mut next = 0_u16;
    for disk in floating {
        while next < MAX_TARGETS && placed.keys().any(|&(target, _)| u16::from(target) == next) {
            next += 1;
        }
        if next == MAX_TARGETS {
            return Err(ConfigError::NoTargetLeft(show(socket)));
        }
        placed.insert((next as u8, 0), disk);
    }
    Ok(placed.into_iter().map(|((target, lun), disk)| PlacedDisk { target, lun, disk }).collect())
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServeConfig;

    fn controllers(options: Vec<Scoped>) -> Result<Vec<ControllerConfig>, ConfigError> {
        let drafts = gather(options)?;
        finish(&drafts[0], &drafts[1..])
    }

    fn socket(path: &str) -> Scoped {
        Scoped::Socket(path.into())
    }

    fn disk(text: &str) -> Scoped {
        Scoped::Disk(Arc::new(DiskConfig::parse(text).expect(text)))
    }

    fn addresses(controller: &ControllerConfig) -> Vec<(u8, u16, &str)> {
        controller.disks.iter().map(|placed| (placed.target, placed.lun, placed.disk.text.as_str())).collect()
    }

    #[test]
    fn options_belong_to_the_socket_before_them_and_the_first_ones_to_all() {
        let found = controllers(vec![
            Scoped::Queues(2),
            Scoped::Ring(RingFormat::Split),
            disk("all.img"),
            socket("a"),
            disk("a.img"),
            socket("b"),
            Scoped::Queues(3),
            Scoped::CpuMask("0x2".parse().unwrap()),
            Scoped::Ring(RingFormat::Packed),
        ])
        .unwrap();
        assert_eq!(addresses(&found[0]), [(0, 0, "all.img"), (1, 0, "a.img")]);
        assert_eq!(addresses(&found[1]), [(0, 0, "all.img")]);
        assert_eq!((found[0].queues, found[1].queues), (2, 3));
        assert_eq!((found[0].ring, found[1].ring), (RingFormat::Split, RingFormat::Packed));
        assert_eq!((found[0].cpus.cpus(), found[1].cpus.cpus()), (&[0][..], &[1][..]));
        assert!(Arc::ptr_eq(&found[0].disks[0].disk, &found[1].disks[0].disk));
    }

    #[test]
    fn disks_without_an_address_fill_the_free_targets() {
        let found =
            controllers(vec![socket("a"), disk("x"), disk("y,target=0,lun=1"), disk("z"), disk("v,target=2")]).unwrap();
        assert_eq!(addresses(&found[0]), [(0, 1, "y,target=0,lun=1"), (1, 0, "x"), (2, 0, "v,target=2"), (3, 0, "z")]);
    }

    #[test]
    fn queues_default_to_the_number_of_cpus_and_either_kind_of_ring() {
        let found = controllers(vec![socket("a"), disk("x"), Scoped::CpuMask("[0-2]".parse().unwrap())]).unwrap();
        assert_eq!((found[0].queues, found[0].ring), (3, RingFormat::Auto));
    }

    #[test]
    fn mistakes() {
        assert_eq!(controllers(vec![]), Err(ConfigError::NoController));
        assert_eq!(controllers(vec![socket("a")]), Err(ConfigError::NoDisk("a".into())));
        let same = controllers(vec![socket("a"), disk("x,lun=1"), disk("y,target=0,lun=1")]).unwrap_err().to_string();
        assert!(same.contains("target 0, lun 1 (x,lun=1 and y,target=0,lun=1)"), "{same}");
        let twice = controllers(vec![disk("x"), socket("a"), socket("a")]);
        assert_eq!(twice, Err(ConfigError::SameSocket("a".into())));
        let queues = controllers(vec![disk("x"), socket("a"), Scoped::Queues(65)]);
        assert_eq!(queues, Err(ConfigError::Queues { socket: "a".into(), queues: 65 }));
        let masks = vec![socket("a"), Scoped::Queues(1), Scoped::Queues(1)];
        assert!(matches!(controllers(masks), Err(ConfigError::Twice { option: "--queues", .. })));
        let rings = vec![socket("a"), Scoped::Ring(RingFormat::Split), Scoped::Ring(RingFormat::Auto)];
        assert!(matches!(controllers(rings), Err(ConfigError::Twice { option: "--ring", .. })));
    }

    fn homes(text: &str) -> Scoped {
        Scoped::QueueCpus(text.parse().expect(text))
    }

    #[test]
    fn queues_get_homes_among_the_cpus_of_their_controller() {
        let cpus = |mask: &str| Scoped::CpuMask(mask.parse().unwrap());
        let common = [cpus("[1-3]"), Scoped::Queues(2), homes("1:3"), disk("x")];
        let found = controllers(common.into_iter().chain([socket("a"), socket("b"), homes("0:2")]).collect()).unwrap();
        let chosen: Vec<_> =
            found.iter().map(|controller| [0, 1].map(|queue| controller.queue_cpus.of(queue))).collect();
        assert_eq!(chosen, [[None, Some(3)], [Some(2), None]]);
        let mistake = |options: Vec<Scoped>| controllers(options).unwrap_err().to_string();
        let said = mistake(vec![disk("x"), socket("a"), cpus("[0-1]"), homes("2:0")]);
        assert_eq!(said, "controller a: --queue-cpus names queue 2, and it has 2 (see --queues)");
        let said = mistake(vec![disk("x"), socket("a"), cpus("[0-1]"), homes("1:2")]);
        assert_eq!(said, "controller a: --queue-cpus puts queue 1 on CPU 2, and its --cpumask is [0,1]");
        let said = mistake(vec![disk("x"), socket("a"), homes("0:0"), homes("0:0")]);
        assert!(said.contains("--queue-cpus stands twice for controller a"), "{said}");
    }

    #[test]
    fn a_reactor_sleeps_as_little_as_any_of_its_controllers_wants() {
        let cpus = |mask: &str| Scoped::CpuMask(mask.parse().unwrap());
        let common = [Scoped::Idle(Idle::Sleep), disk("x")];
        let own = [
            socket("a"),
            cpus("[0-1]"),
            Scoped::Idle(Idle::Spin),
            socket("b"),
            cpus("[1-2]"),
            socket("c"),
            cpus("[3]"),
        ];
        let own = own.into_iter().chain([Scoped::Idle(Idle::Adaptive)]);
        let config = ServeConfig {
            controllers: controllers(common.into_iter().chain(own).collect()).unwrap(),
            state_dir: None,
            register: Default::default(),
            register_chunk: None,
            file: None,
        };
        let found = [0, 1, 2, 3].map(|cpu| config.idle_of(cpu));
        assert_eq!(found, [Idle::Spin, Idle::Spin, Idle::Sleep, Idle::Adaptive]);
        let twice = controllers(vec![socket("a"), Scoped::Idle(Idle::Spin), Scoped::Idle(Idle::Spin)]);
        assert!(matches!(twice, Err(ConfigError::Twice { option: "--idle", .. })));
    }

    #[test]
    fn port_groups() {
        let group = Scoped::PortGroup;
        let state = Scoped::AccessState;
        let found = controllers(vec![
            disk("x"),
            group(1),
            socket("a"),
            socket("b"),
            group(2),
            state(AccessState::Standby),
            socket("c"),
        ])
        .unwrap();
        let found: Vec<_> = found.iter().map(|c| (c.port_group, c.access_state)).collect();
        let optimized = (Some(1), AccessState::Optimized);
        assert_eq!(found, [optimized, (Some(2), AccessState::Standby), optimized]);
        let mistake = |options: Vec<Scoped>| controllers(options).unwrap_err().to_string();
        let said = mistake(vec![disk("x"), socket("a"), state(AccessState::Standby)]);
        assert!(said.starts_with("controller a: --access-state is that of a --port-group"), "{said}");
        let said = mistake(vec![disk("x"), socket("a"), group(0)]);
        assert_eq!(said, "controller a: --port-group is 1 to 65535");
        let two = vec![disk("x"), group(7), socket("a"), socket("b"), state(AccessState::Unavailable)];
        assert_eq!(mistake(two), "controller b: a is in its --port-group with another --access-state");
    }

    #[test]
    fn two_hundred_and_fifty_seven_disks_do_not_fit() {
        let mut options = vec![socket("a")];
        options.extend((0..257).map(|index| disk(&format!("d{index}"))));
        assert_eq!(controllers(options), Err(ConfigError::NoTargetLeft("a".into())));
    }
}
