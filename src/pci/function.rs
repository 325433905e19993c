//! One PCI function as its client sees it: header, BARs that can be sized, a list of capabilities, power states.
//!
//! Owns configuration space and tells [`Interrupts`] what it says about interrupts. Never acts on the device behind it:
//! [`Effects`] of a write tell the caller what to do. One control thread calls it.

use std::sync::Arc;

use super::capability::{Capability, Role, WindowFields};
use super::config::{Space, overlaps};
use super::interrupts::{Gates, Interrupts};
use super::msix::MsixLayout;
use super::spec;

/// A memory BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Size in bytes, a power of two from 16.
    pub len: u64,
    /// Takes a 64-bit address, and with it the number of the next BAR.
    pub wide: bool,
    /// Reads have no side effect.
    pub prefetchable: bool,
}

/// What a function is made of.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// Vendor and device identifier.
    pub id: (u16, u16),
    /// Subsystem vendor and subsystem identifier.
    pub subsystem: (u16, u16),
    /// Revision identifier.
    pub revision: u8,
    /// Class, subclass and programming interface.
    pub class: (u8, u8, u8),
    /// BARs by number.
    pub bars: [Option<Bar>; spec::BAR_COUNT],
    /// Capabilities in the order of their list, with exactly one MSI-X among them.
    pub capabilities: Vec<Capability>,
}

bitflags::bitflags! {
    /// What a write to configuration space changed. The new state is asked of [`Function`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Effects: u16 {
        /// [`Function::may_master`] changed, by the command register or the power state.
        const BUS_MASTER = 1 << 0;
        /// [`Function::memory_enabled`] changed, by the command register or the power state.
        const MEMORY_SPACE = 1 << 1;
        /// The command register's INTx disable bit changed.
        const INTX_DISABLE = 1 << 2;
        /// MSI-X was switched on or off, or all its vectors masked or unmasked.
        const MSIX = 1 << 3;
        /// The function went to D3hot or back to D0; [`Function::is_powered`] tells which.
        const POWER_STATE = 1 << 4;
        /// The function went from D3hot to D0 and was reset on the way: the device behind it has to be reset too.
        const SOFT_RESET = 1 << 5;
        /// The window's data was written: write it to where [`Function::window`] points.
        const WINDOW_DATA = 1 << 6;
    }
}

/// A place in a BAR that the configuration access window points to. It lies inside the BAR and is aligned to its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowAccess {
    /// Number of the BAR.
    pub bar: u8,
    /// Offset in the BAR, bytes.
    pub offset: u64,
    /// 1, 2 or 4 bytes.
    pub len: usize,
}

/// The part of configuration space that the function acts upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    command: u16,
    msix_control: u16,
    powered: bool,
}

/// A PCI function.
#[derive(Debug)]
pub struct Function {
    space: Space,
    bars: [Option<Bar>; spec::BAR_COUNT],
    interrupts: Arc<Interrupts>,
    msix_at: usize,
    power_at: Option<usize>,
    window_at: Option<(usize, WindowFields)>,
}

impl Function {
    /// A function in its reset state.
    ///
    /// # Panics
    /// If the spec describes no function: a BAR of no valid size, capabilities that do not fit or no MSI-X among them.
    pub fn new(spec: &FunctionSpec) -> Self {
        let mut space = Space::new();
        define_header(&mut space, spec);
        define_bars(&mut space, &spec.bars);
        let places = define_capabilities(&mut space, &spec.capabilities);
        let (mut msix, mut power_at, mut window_at) = (None, None, None);
        for (at, capability) in places.into_iter().zip(&spec.capabilities) {
            match capability.role {
                Role::Plain => {}
                Role::Power => power_at = Some(at),
                Role::Msix { vectors } => msix = Some((at, vectors)),
                Role::Window(fields) => window_at = Some((at, fields)),
            }
        }
        let (msix_at, vectors) = msix.expect("a function has an MSI-X capability");
        let interrupts = Interrupts::new(MsixLayout::new(vectors));
        Self { space, bars: spec.bars, interrupts, msix_at, power_at, window_at }
    }

    /// The function's interrupts, to share with reactors.
    pub fn interrupts(&self) -> &Arc<Interrupts> {
        &self.interrupts
    }

    /// Size of BAR `number` in bytes, 0 if there is none.
    pub fn bar_len(&self, number: u8) -> u64 {
        self.bars.get(usize::from(number)).copied().flatten().map_or(0, |bar| bar.len)
    }

    /// Reads `data.len()` bytes at `offset`, any of both. Past the 4096 bytes of configuration space all bits are ones.
    /// The window's data is what [`Function::set_window_data`] left.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        self.space.read(offset, data);
        if self.interrupts.intx_asserted()
            && let Some(index) = (spec::STATUS as u64).checked_sub(offset)
            && let Some(byte) = usize::try_from(index).ok().and_then(|index| data.get_mut(index))
        {
            *byte |= spec::STATUS_INTERRUPT as u8;
        }
    }

    /// Writes `data` at `offset`, any of both. What is read-only or outside stays as it is.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Effects {
        let before = self.state();
        let power_before = self.power_at.map(|at| self.space.u8_at(at + spec::POWER_CONTROL));
        self.space.write(offset, data);
        self.refuse_power_states(power_before);
        let after = self.state();
        let mut effects = differences(before, after);
        if effects.contains(Effects::POWER_STATE) && after.powered && !self.keeps_state() {
            self.reset();
            return differences(before, self.state()) | Effects::SOFT_RESET;
        }
        if effects != Effects::empty() {
            self.apply_gates();
        }
        if self.touches_window_data(offset, data.len()) {
            effects |= Effects::WINDOW_DATA;
        }
        effects
    }

    /// Back to the state after power on. The eventfds stay with the interrupts.
    pub fn reset(&mut self) {
        self.space.reset();
        self.interrupts.reset();
        self.apply_gates();
    }

    /// Whether the function may access memory and send messages: bus mastering is on and it is in D0.
    pub fn may_master(&self) -> bool {
        self.state().may_master()
    }

    /// Whether the function decodes its BARs: memory space is enabled and it is in D0. A vfio-user client addresses regions
    /// directly, and may do so without this.
    pub fn memory_enabled(&self) -> bool {
        self.state().memory_enabled()
    }

    /// Whether the function is in D0.
    pub fn is_powered(&self) -> bool {
        self.state().powered
    }

    /// Where the window points, if to a place inside a BAR, aligned to its length of 1, 2 or 4 bytes.
    pub fn window(&self) -> Option<WindowAccess> {
        let (at, fields) = self.window_at?;
        let bar = self.space.u8_at(at + fields.bar);
        let offset = u64::from(self.space.u32_at(at + fields.offset));
        let len = u64::from(self.space.u32_at(at + fields.len));
        let fits = matches!(len, 1 | 2 | 4) && offset.is_multiple_of(len) && offset + len <= self.bar_len(bar);
        fits.then_some(WindowAccess { bar, offset, len: len as usize })
    }

    /// Before a read of `len` bytes at `offset`: where to read from first, if the read touches the window's data and the
    /// window points somewhere. Then [`Function::set_window_data`], then [`Function::read`].
    pub fn window_for_read(&self, offset: u64, len: usize) -> Option<WindowAccess> {
        if self.touches_window_data(offset, len) { self.window() } else { None }
    }

    /// What the client wrote to the window, after a write with [`Effects::WINDOW_DATA`]: the first
    /// [`WindowAccess::len`] bytes count.
    pub fn window_data(&self) -> [u8; 4] {
        self.window_at.map_or([0; 4], |(at, fields)| self.space.u32_at(at + fields.data).to_le_bytes())
    }

    /// Puts up to 4 bytes where the client reads the window's data.
    pub fn set_window_data(&mut self, data: &[u8]) {
        if let Some((at, fields)) = self.window_at {
            self.space.put(at + fields.data, &data[..data.len().min(WindowFields::DATA_LEN)]);
        }
    }

    fn touches_window_data(&self, offset: u64, len: usize) -> bool {
        self.window_at.is_some_and(|(at, fields)| overlaps(offset, len, at + fields.data, WindowFields::DATA_LEN))
    }

    fn state(&self) -> State {
        let power = self.power_at.map_or(0, |at| self.space.u16_at(at + spec::POWER_CONTROL));
        State {
            command: self.space.u16_at(spec::COMMAND),
            msix_control: self.space.u16_at(self.msix_at + spec::MSIX_CONTROL),
            powered: power & spec::POWER_STATE == 0,
        }
    }

    /// D1 and D2 do not exist here: a write of them is taken and dropped (PM 3.2.4).
    fn refuse_power_states(&mut self, before: Option<u8>) {
        let Some((at, before)) = self.power_at.zip(before) else { return };
        let state = self.space.u16_at(at + spec::POWER_CONTROL) & spec::POWER_STATE;
        if state == 1 || state == 2 {
            self.space.put(at + spec::POWER_CONTROL, &[before]);
        }
    }

    fn keeps_state(&self) -> bool {
        self.power_at.is_some_and(|at| self.space.u16_at(at + spec::POWER_CONTROL) & spec::POWER_NO_SOFT_RESET != 0)
    }

    fn apply_gates(&self) {
        let state = self.state();
        self.interrupts.set_gates(Gates {
            bus_master: state.may_master(),
            msix_enabled: state.msix_control & spec::MSIX_ENABLE != 0,
            function_masked: state.msix_control & spec::MSIX_FUNCTION_MASK != 0,
            intx_disabled: state.command & spec::COMMAND_INTX_DISABLE != 0 || !state.powered,
        });
    }
}

impl State {
    fn may_master(self) -> bool {
        self.powered && self.command & spec::COMMAND_BUS_MASTER != 0
    }

    fn memory_enabled(self) -> bool {
        self.powered && self.command & spec::COMMAND_MEMORY_SPACE != 0
    }
}

fn differences(before: State, after: State) -> Effects {
    let mut effects = Effects::empty();
    effects.set(Effects::BUS_MASTER, before.may_master() != after.may_master());
    effects.set(Effects::MEMORY_SPACE, before.memory_enabled() != after.memory_enabled());
    effects.set(Effects::INTX_DISABLE, (before.command ^ after.command) & spec::COMMAND_INTX_DISABLE != 0);
    effects.set(Effects::MSIX, before.msix_control != after.msix_control);
    effects.set(Effects::POWER_STATE, before.powered != after.powered);
    effects
}

fn define_header(space: &mut Space, function: &FunctionSpec) {
    let (class, subclass, interface) = function.class;
    space.define(spec::VENDOR_ID, &function.id.0.to_le_bytes());
    space.define(spec::DEVICE_ID, &function.id.1.to_le_bytes());
    space.define(spec::REVISION_ID, &[function.revision]);
    space.define(spec::CLASS_CODE, &[interface, subclass, class]);
    space.define(spec::SUBSYSTEM_VENDOR_ID, &function.subsystem.0.to_le_bytes());
    space.define(spec::SUBSYSTEM_ID, &function.subsystem.1.to_le_bytes());
    space.define(spec::INTERRUPT_PIN, &[spec::PIN_INTA]);
    let command = spec::COMMAND_MEMORY_SPACE
        | spec::COMMAND_BUS_MASTER
        | spec::COMMAND_PARITY_ERROR
        | spec::COMMAND_SERR
        | spec::COMMAND_INTX_DISABLE;
    space.allow(spec::COMMAND, &command.to_le_bytes());
    space.allow(spec::CACHE_LINE_SIZE, &[0xff]);
    space.allow(spec::INTERRUPT_LINE, &[0xff]);
}

/// A BAR's size shows in which address bits stick, so the sizing protocol needs no state (PCI 6.2.5.1).
fn define_bars(space: &mut Space, bars: &[Option<Bar>; spec::BAR_COUNT]) {
    for (number, bar) in bars.iter().enumerate() {
        let Some(bar) = bar else { continue };
        let len_max = if bar.wide { 1 << 63 } else { 1 << 31 };
        assert!(
            bar.len.is_power_of_two() && (16..=len_max).contains(&bar.len),
            "a BAR's size is a power of two from 16"
        );
        let at = spec::BAR0 + 4 * number;
        let mask = !(bar.len - 1);
        let wide = if bar.wide { spec::BAR_MEMORY_64 } else { 0 };
        let prefetchable = if bar.prefetchable { spec::BAR_PREFETCHABLE } else { 0 };
        space.define(at, &(wide | prefetchable).to_le_bytes());
        space.allow(at, &(mask as u32).to_le_bytes());
        if bar.wide {
            assert!(matches!(bars.get(number + 1), Some(None)), "a 64-bit BAR takes the next one's place");
            space.allow(at + 4, &((mask >> 32) as u32).to_le_bytes());
        }
    }
}

/// Lays capabilities one behind the other and links them; returns where each is.
fn define_capabilities(space: &mut Space, capabilities: &[Capability]) -> Vec<usize> {
    let mut places = Vec::with_capacity(capabilities.len());
    let (mut at, mut link) = (spec::HEADER_LEN, spec::CAPABILITIES_POINTER);
    for capability in capabilities {
        assert!(at + capability.bytes.len() <= spec::CONFIG_LEN, "all capabilities fit into 256 bytes");
        space.define(at, &capability.bytes);
        space.allow(at, &capability.writable);
        space.define(at + 1, &[0]);
        space.define(link, &[at as u8]);
        places.push(at);
        link = at + 1;
        at = (at + capability.bytes.len()).next_multiple_of(4);
    }
    if !capabilities.is_empty() {
        space.define(spec::STATUS, &spec::STATUS_CAPABILITIES.to_le_bytes());
    }
    places
}

#[cfg(test)]
#[path = "function_tests.rs"]
mod tests;
