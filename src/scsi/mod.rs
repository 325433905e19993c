//! The SCSI target, with no I/O inside: commands, sense data, logical units.
