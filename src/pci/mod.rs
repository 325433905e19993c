//! The PCI function: configuration space, capabilities, BARs, MSI-X. Knows nothing of virtio.
