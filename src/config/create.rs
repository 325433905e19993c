//! `annulus disk create`: what the new disk is to be.

use std::path::PathBuf;

use clap::Args;

use bdev::wanted::units;

use super::ConfigError;

pub(super) const EXAMPLES: &str = "\
Examples:
  # A sparse disk, which takes space as it is written:
  annulus disk create disk.img --size 10G

  # One whose space is set aside, in blocks of 4096 bytes; serve it as disk.img,block-size=4096:
  annulus disk create disk.img --size 512M --preallocate falloc --block-size 4096

  # Replace a disk, and lose what it holds:
  annulus disk create disk.img --size 10G --force";

/// Options of `annulus disk create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// File to make
    path: PathBuf,

    /// Size: bytes, or a number with K, M, G, T or P
    #[arg(short, long)]
    size: String,

    /// Space that is there from the beginning: none (it grows), falloc (set aside), full (written with zeroes)
    #[arg(short, long, value_enum, default_value = "none", value_name = "HOW")]
    preallocate: Preallocation,

    /// Size of the blocks in which it will be served, 512 or 4096: its own size must be a multiple
    #[arg(short, long, default_value = "512", value_name = "BYTES")]
    block_size: String,

    /// Replace a file that is there, and lose what it holds
    #[arg(short, long)]
    force: bool,
}

/// How much of the space of a new disk is there from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Preallocation {
    /// None.
    #[default]
    None,
    /// All, set aside.
    Falloc,
    /// All, written.
    Full,
}

/// A disk file to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateConfig {
    /// Where.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Bytes of the blocks in which it will be served.
    pub block_size: u32,
    /// Space from the beginning.
    pub preallocate: Preallocation,
    /// Replace a file that is there.
    pub force: bool,
}

impl CreateArgs {
    pub(super) fn check(self) -> Result<CreateConfig, ConfigError> {
        let Self { path, size, preallocate, block_size, force } = self;
        let bad = |why| ConfigError::Create { path: path.display().to_string(), why };
        let block_size = match units::parse_size(&block_size) {
            Ok(bytes @ (512 | 4096)) => bytes as u32,
            _ => return Err(bad(format!("--block-size {block_size} is not possible; it can be 512 or 4096"))),
        };
        let size = units::parse_size(&size).map_err(bad)?;
        Ok(CreateConfig { path, size, block_size, preallocate, force })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CliError, Command, parse};
    use super::*;

    fn create(words: &str) -> Result<CreateConfig, CliError> {
        match parse(["annulus", "disk", "create"].into_iter().chain(words.split_whitespace()))? {
            Command::CreateDisk(config) => Ok(config),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_option() {
        let plain = CreateConfig {
            path: "x".into(),
            size: 1 << 30,
            block_size: 512,
            preallocate: Preallocation::None,
            force: false,
        };
        assert_eq!(create("x --size 1G").unwrap(), plain);
        let all = CreateConfig { block_size: 4096, preallocate: Preallocation::Falloc, force: true, ..plain };
        assert_eq!(create("--size 1G --force --block-size 4K --preallocate falloc x").unwrap(), all);
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (words, part) in [
            ("x", "--size"),
            ("--size 1G", "PATH"),
            ("x --size big", "x: 'big' is not a size"),
            ("x --size 1G --block-size 1024", "512 or 4096"),
            ("x --size 1G --preallocate some", "falloc"),
        ] {
            let error = create(words).expect_err(words).to_string();
            assert!(error.contains(part), "{words}: {error}");
        }
    }
}
