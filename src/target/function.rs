//! The PCI function that a guest finds: a modern virtio-scsi host adapter (virtio 1.2, 4.1 and 5.6).

use crate::pci::{Bar, Capability, Function, FunctionSpec, MsixLayout, WindowFields};
use crate::virtio::spec::{DEVICE_ID_SCSI, PCI_DEVICE_ID_BASE, PCI_REVISION, PCI_VENDOR_ID, capability as field};
use crate::virtio::transport::{capabilities, layout};

/// Mass storage controller, SCSI (PCI Code and ID Assignment).
const CLASS: (u8, u8, u8) = (0x01, 0x00, 0x00);
/// The BAR with MSI-X table and pending bits.
pub(crate) const MSIX_BAR: u8 = 1;

/// A function with `vectors` MSI-X vectors and `config_len` bytes of device configuration.
pub(crate) fn build(vectors: u16, config_len: u32) -> Function {
    let msix = MsixLayout::new(vectors);
    let mut bars = [None; crate::pci::spec::BAR_COUNT];
    let msix_len = u64::from(msix.bar_len()).next_power_of_two().max(4096);
    bars[usize::from(MSIX_BAR)] = Some(Bar { len: msix_len, wide: false, prefetchable: false });
    bars[usize::from(layout::BAR)] = Some(Bar { len: layout::BAR_LEN, wide: true, prefetchable: true });
    let plain = |bytes: &[u8]| Capability::new(bytes, &vec![0; bytes.len()]);
    let (window, window_writable) = capabilities::window();
    let window_fields = WindowFields { bar: field::BAR, offset: field::OFFSET, len: field::LENGTH, data: field::EXTRA };
    Function::new(&FunctionSpec {
        id: (PCI_VENDOR_ID, PCI_DEVICE_ID_BASE + DEVICE_ID_SCSI),
        subsystem: (PCI_VENDOR_ID, PCI_DEVICE_ID_BASE + DEVICE_ID_SCSI),
        revision: PCI_REVISION,
        class: CLASS,
        bars,
        capabilities: vec![
            Capability::power_management(true),
            Capability::msix(msix, MSIX_BAR),
            plain(&capabilities::common()),
            plain(&capabilities::isr()),
            plain(&capabilities::device(config_len)),
            plain(&capabilities::notify()),
            Capability::window(&window, &window_writable, window_fields),
        ],
    })
}
