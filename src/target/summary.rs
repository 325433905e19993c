//! What is served and how to attach to it: printed at start.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{ControllerConfig, RingFormat};

use super::controller::QUEUE_SIZE_MAX;
use super::shelf::Described;

/// Disks of a controller that are told one by one, at most: whoever has more reads their list elsewhere.
const DISKS_MAX: usize = 256;

/// The effective set-up, for people.
#[derive(Debug)]
pub struct Summary {
    /// Each with the CPU of each of its request queues.
    controllers: Vec<(ControllerConfig, Vec<usize>)>,
    disks: Described,
    /// What io_uring gives; `None` if nothing needs it.
    engine: Option<String>,
}

impl Summary {
    /// `disks` are those of all controllers.
    pub(super) fn new(
        controllers: Vec<(ControllerConfig, Vec<usize>)>,
        disks: Described,
        engine: Option<String>,
    ) -> Self {
        Self { controllers, disks, engine }
    }

    fn write_controller(
        &self,
        f: &mut fmt::Formatter<'_>,
        controller: &ControllerConfig,
        homes: &[usize],
    ) -> fmt::Result {
        let ControllerConfig { socket, cpus, queues, idle, ring, disks, .. } = controller;
        let plural = if *queues == 1 { "" } else { "s" };
        let rings = match ring {
            RingFormat::Auto => "rings packed or split",
            RingFormat::Split => "rings split",
            RingFormat::Packed => "rings packed",
        };
        writeln!(f, "controller {}", socket.display())?;
        writeln!(
            f,
            "  CPUs {cpus}, {queues} request queue{plural} of up to {QUEUE_SIZE_MAX} entries, {rings}, idle {idle}"
        )?;
        if cpus.cpus().len() > 1 {
            let homes: Vec<_> = homes.iter().map(usize::to_string).collect();
            writeln!(f, "  request queues from 0 on are on CPUs {}", homes.join(", "))?;
        }
        for placed in disks.iter().take(DISKS_MAX) {
            let disk = self.disks.of(&placed.disk).expect("every disk was opened");
            let info = disk.bdev.info();
            let read_only = if info.read_only { ", read-only" } else { "" };
            writeln!(
                f,
                "  target {} lun {}: {} of {} bytes{read_only}, {} ({})",
                placed.target,
                placed.lun,
                size(info.size()),
                info.block_size,
                info.description,
                disk.identity.serial(),
            )?;
        }
        match disks.len().saturating_sub(DISKS_MAX) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more disks"),
        }
    }

    /// The whole command for the first controller, and what differs for the others.
    fn write_commands(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(((first, _), others)) = self.controllers.split_first() else { return Ok(()) };
        writeln!(f, "attach to {} with:", first.socket.display())?;
        writeln!(f, "  qemu-system-x86_64 -m 1G -object memory-backend-memfd,id=mem,size=1G,share=on \\")?;
        writeln!(f, "    -machine q35,memory-backend=mem \\")?;
        writeln!(f, "    -device {}", qemu_device(&first.socket))?;
        if !others.is_empty() {
            writeln!(f, "and to the others with:")?;
        }
        others.iter().try_for_each(|(other, _)| writeln!(f, "    -device {}", qemu_device(&other.socket)))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.controllers.iter();
        all.try_for_each(|(controller, homes)| self.write_controller(f, controller, homes))?;
        self.write_commands(f)?;
        self.engine.iter().try_for_each(|engine| writeln!(f, "io_uring: {engine}"))
    }
}

/// The argument of QEMU's `-device`, quoted for a shell.
fn qemu_device(socket: &Path) -> String {
    let path = std::path::absolute(socket).unwrap_or_else(|_| PathBuf::from(socket));
    let socket = serde_json::json!({ "type": "unix", "path": path.to_string_lossy() });
    let device = serde_json::json!({ "driver": "vfio-user-pci", "socket": socket });
    format!("'{}'", device.to_string().replace('\'', "'\\''"))
}

/// A size in the largest unit that leaves a whole number or two digits behind the point.
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = (bytes.max(1).ilog2() as usize / 10).min(units.len() - 1);
    let step = 1_u64 << (10 * unit);
    if bytes.is_multiple_of(step) {
        format!("{} {}", bytes / step, units[unit])
    } else {
        format!("{:.2} {}", bytes as f64 / step as f64, units[unit])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config;
    use crate::target::disk::{Disk, DiskIndex};

    #[test]
    fn sizes_for_people() {
        let said: Vec<_> = [512, 1 << 30, 3 << 29, 1 << 40].into_iter().map(size).collect();
        assert_eq!(said, ["512 B", "1 GiB", "1.50 GiB", "1 TiB"]);
    }

    #[test]
    fn the_whole_command_stands_there_once() {
        let words = "annulus serve --disk null:size=1M --socket /a --socket /b --socket /c";
        let Ok(config::Command::Serve(config)) = config::parse(words.split(' ')) else { panic!("{words}") };
        let disk = config.controllers[0].disks[0].clone();
        let one = |mut controller: ControllerConfig, count| {
            controller.disks = vec![disk.clone(); count];
            (controller, vec![0])
        };
        let counts = [0, 1, DISKS_MAX + 2];
        let controllers =
            config.controllers.iter().zip(counts).map(|(controller, count)| one(controller.clone(), count));
        let bdev = Arc::new(bdev::NullBdev::new(1 << 20, 512).unwrap());
        let first = Disk::of(bdev, DiskIndex(0));
        let opened = Arc::new(first.resized(&disk.disk, first.bdev.clone(), DiskIndex(0)));
        let summary = Summary::new(controllers.collect(), [&opened].into_iter().collect(), None).to_string();
        assert_eq!(summary.matches("qemu-system-x86_64").count(), 1, "{summary}");
        assert_eq!(summary.matches("-device ").count(), 3, "{summary}");
        assert_eq!(summary.matches("  target 0 lun 0: 1 MiB of 512 bytes").count(), 1 + DISKS_MAX, "{summary}");
        assert!(summary.contains("rings packed or split, idle adaptive\n"), "{summary}");
        assert!(summary.contains("attach to /a with:\n") && summary.contains("  and 2 more disks\n"), "{summary}");
    }

    #[test]
    fn the_device_argument_survives_a_shell() {
        let argument = qemu_device(Path::new("/run/it's \"here\".sock"));
        let expected = r#"'{"driver":"vfio-user-pci","socket":{"path":"/run/it'\''s \"here\".sock","type":"unix"}}'"#;
        assert_eq!(argument, expected);
    }
}
