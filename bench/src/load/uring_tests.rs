//! Load straight on io_uring: all of it ends.

use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    raw: RawOptions,
    #[command(flatten)]
    load: LoadOptions,
}

fn run(file: &std::path::Path, words: &str) -> Result<Outcome> {
    let file = file.to_str().unwrap();
    let words = ["raw", "--buffered", "--ramp", "0", "--file", file].into_iter().chain(words.split_whitespace());
    let Cli { raw, load } = Cli::parse_from(words);
    Raw::open(&raw, &load)?.run(&load)
}

#[test]
fn all_requests_end_with_and_without_registered_buffers() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    for words in ["--fixed --batch 3", "--yield 1", "--yield 0"] {
        let outcome = run(file.path(), &format!("{words} --rw randrw --iodepth 8 --number-ios 1000")).unwrap();
        let stats = outcome.stats;
        assert_eq!((stats.errors, stats.read.ios + stats.write.ios), (0, 1000), "{:?}", stats.first_error);
        assert!(stats.read.ios > 300 && stats.write.ios > 300);
    }
}

#[test]
fn a_file_that_has_shrunk_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(run(file.path(), "--number-ios 1").is_err(), "there is not even one block");
}
