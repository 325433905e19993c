//! The device as its vfio-user client calls it: regions, interrupts, memory, reset.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::dma::MapRequest;
use crate::pci::{AttachError, Effects};
use crate::vfio_user::{
    ClientLimits, ClientMemory, Device, DmaMap, DmaUnmap, IrqAction, IrqChange, IrqFlags, IrqIndex, IrqInfo,
    RegionFlags, RegionInfo,
};
use crate::virtio::transport::layout::{self, Register};

use super::controller::Controller;
use super::function::MSIX_BAR;

/// Region index of the configuration space (`VFIO_PCI_CONFIG_REGION_INDEX`).
const CONFIG_REGION: u32 = 7;
/// Its length: that of a PCI Express function.
const CONFIG_LEN: u64 = 4096;

impl Controller {
    fn read_bar(&mut self, bar: u8, offset: u64, data: &mut [u8]) {
        match bar {
            MSIX_BAR => self.adapter.interrupts.read_bar(offset, data),
            layout::BAR => self.read_register(offset, data),
            _ => data.fill(0xff),
        }
    }

    fn write_bar(&mut self, bar: u8, offset: u64, data: &[u8]) {
        match bar {
            MSIX_BAR => self.adapter.interrupts.write_bar(offset, data),
            layout::BAR => self.write_register(offset, data),
            _ => {}
        }
    }

    fn read_register(&mut self, offset: u64, data: &mut [u8]) {
        self.finish_reset();
        match layout::decode(offset, data.len()) {
            Register::Common(at) => self.transport.read(at, data),
            Register::Isr => {
                data.fill(0);
                data[0] = self.adapter.take_isr();
            }
            Register::DeviceConfig(at) => self.config.read(at, data),
            Register::Notify(_) | Register::None => data.fill(0),
        }
    }

    fn write_register(&mut self, offset: u64, data: &[u8]) {
        self.finish_reset();
        match layout::decode(offset, data.len()) {
            Register::Common(at) => {
                if let Some(action) = self.transport.write(at, data) {
                    self.act(action);
                }
            }
            Register::DeviceConfig(at) => {
                if let Err(error) = self.config.write(at, data) {
                    self.adapter.fail(&error);
                }
            }
            Register::Notify(queue) => {
                if let Some(live) = &self.live {
                    live.ring_bell(queue);
                }
            }
            Register::Isr | Register::None => {}
        }
    }

    fn read_config(&mut self, offset: u64, data: &mut [u8]) {
        if let Some(window) = self.function.window_for_read(offset, data.len()) {
            let mut bytes = [0; 4];
            self.read_bar(window.bar, window.offset, &mut bytes[..window.len]);
            self.function.set_window_data(&bytes[..window.len]);
        }
        self.function.read(offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let effects = self.function.write(offset, data);
        if effects.contains(Effects::BUS_MASTER) {
            self.bus_master_changed();
        }
        if effects.contains(Effects::SOFT_RESET) {
            self.reset_function();
        }
        if effects.contains(Effects::WINDOW_DATA)
            && let Some(window) = self.function.window()
        {
            let bytes = self.function.window_data();
            self.write_bar(window.bar, window.offset, &bytes[..window.len]);
        }
    }

    fn attach(&mut self, index: IrqIndex, start: u32, eventfds: Vec<Option<OwnedFd>>) -> Result<(), Errno> {
        let refused = |error: AttachError| {
            tracing::debug!(controller = self.adapter.name, "eventfd refused: {error}");
            Errno::INVAL
        };
        for (vector, fd) in (start..).zip(eventfds) {
            match index {
                IrqIndex::Msix => self.adapter.interrupts.attach(vector as u16, fd).map_err(refused)?,
                IrqIndex::Intx => self.adapter.interrupts.attach_intx(fd).map_err(refused)?,
                // There are no errors to report, and the device never asks to be released: those may stay unused.
                IrqIndex::Msi | IrqIndex::Err | IrqIndex::Req => {}
            }
        }
        self.wake_queues();
        Ok(())
    }

    fn perform(&self, index: IrqIndex, action: IrqAction, vector: u16) {
        let interrupts = &self.adapter.interrupts;
        match (index, action) {
            (IrqIndex::Msix, IrqAction::Mask) => interrupts.mask(vector),
            (IrqIndex::Msix, IrqAction::Unmask) => interrupts.unmask(vector),
            (IrqIndex::Msix, IrqAction::Trigger) => _ = interrupts.trigger(vector),
            (IrqIndex::Intx, IrqAction::Mask) => interrupts.mask_intx(),
            (IrqIndex::Intx, IrqAction::Unmask) => interrupts.unmask_intx(),
            (IrqIndex::Intx, IrqAction::Trigger) => _ = interrupts.trigger_intx(),
            (IrqIndex::Msi | IrqIndex::Err | IrqIndex::Req, _) => {}
        }
    }

    fn disable_all(&self, index: IrqIndex) -> Result<(), Errno> {
        let interrupts = &self.adapter.interrupts;
        match index {
            IrqIndex::Msix => {
                for vector in 0..interrupts.vectors() {
                    interrupts.attach(vector, None).map_err(|_| Errno::INVAL)?;
                }
            }
            IrqIndex::Intx => interrupts.attach_intx(None).map_err(|_| Errno::INVAL)?,
            IrqIndex::Msi | IrqIndex::Err | IrqIndex::Req => {}
        }
        self.wake_queues();
        Ok(())
    }

    /// Without a vector or an eventfd a queue has to be polled: whoever sleeps has to think again.
    pub(super) fn wake_queues(&self) {
        if let Some(live) = &self.live {
            live.ring_all();
        }
    }
}

impl Device for Controller {
    fn region_info(&self, index: u32) -> RegionInfo {
        let size = match index {
            CONFIG_REGION => CONFIG_LEN,
            bar @ 0..=5 => self.function.bar_len(bar as u8),
            _ => 0,
        };
        let flags = if size > 0 { RegionFlags::READ | RegionFlags::WRITE } else { RegionFlags::empty() };
        RegionInfo { size, flags, sparse_areas: Vec::new() }
    }

    fn irq_info(&self, index: IrqIndex) -> IrqInfo {
        let (count, flags) = match index {
            IrqIndex::Intx => (1, IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED),
            IrqIndex::Msi => return IrqInfo::default(),
            IrqIndex::Msix => {
                (self.adapter.interrupts.vectors().into(), IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::NORESIZE)
            }
            IrqIndex::Err | IrqIndex::Req => (1, IrqFlags::EVENTFD | IrqFlags::NORESIZE),
        };
        IrqInfo { count, flags }
    }

    fn region_read(&mut self, index: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        match index {
            CONFIG_REGION => self.read_config(offset, data),
            bar => self.read_bar(bar as u8, offset, data),
        }
        Ok(())
    }

    fn region_write(&mut self, index: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        match index {
            CONFIG_REGION => self.write_config(offset, data),
            bar => self.write_bar(bar as u8, offset, data),
        }
        Ok(())
    }

    fn dma_map(&mut self, map: DmaMap, fd: Option<OwnedFd>) -> Result<(), Errno> {
        let DmaMap { gpa, size: len, offset, readable, writable } = map;
        let request = MapRequest { gpa, len, offset, readable, writable };
        self.memory.map(&request, fd).map_err(|error| {
            if let Some(suppressed) = self.refusals.allow() {
                tracing::warn!(controller = self.adapter.name, suppressed, "client's memory refused: {error}");
            }
            error.errno()
        })?;
        self.memory_grew();
        Ok(())
    }

    fn dma_unmap(&mut self, unmap: DmaUnmap) -> Result<u64, Errno> {
        self.rest();
        let result = match unmap {
            DmaUnmap::All => Ok(self.memory.unmap_all()),
            DmaUnmap::Range { gpa, size } => self.memory.unmap(gpa, size).map_err(|error| error.errno()),
        };
        self.go_on();
        result
    }

    fn set_irqs(&mut self, change: IrqChange) -> Result<(), Errno> {
        match change {
            IrqChange::DisableAll { index } => self.disable_all(index),
            IrqChange::SetEventfds { index, action: IrqAction::Trigger, start, eventfds } => {
                self.attach(index, start, eventfds)
            }
            // Masking by eventfd is for hypervisors that share interrupts between devices; ours are the client's own.
            IrqChange::SetEventfds { .. } => Err(Errno::NOTSUP),
            IrqChange::Perform { index, action, start, selected } => {
                for (vector, _) in (start..).zip(selected).filter(|&(_, selected)| selected) {
                    self.perform(index, action, vector as u16);
                }
                Ok(())
            }
        }
    }

    fn reset(&mut self) {
        self.reset_function();
    }

    fn connected(&mut self, limits: ClientLimits) {
        if let Some(suppressed) = self.visits.allow() {
            tracing::info!(controller = self.adapter.name, ?limits, suppressed, "client connected");
        }
    }

    fn disconnected(&mut self) {
        self.forget_client();
        if let Some(suppressed) = self.visits.allow() {
            tracing::info!(controller = self.adapter.name, suppressed, "client gone; waiting for the next one");
        }
    }

    fn wake(&mut self, memory: &mut dyn ClientMemory) {
        self.obey();
        self.carry(memory);
    }
}
