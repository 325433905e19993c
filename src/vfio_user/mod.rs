//! The vfio-user server: wire messages, connection, dispatch. Knows PCI regions, not virtio.
