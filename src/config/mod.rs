//! Command line, CPU masks, disk strings and the configuration file.
