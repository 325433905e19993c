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

fn words(file: &std::path::Path, words: &str) -> Cli {
    let file = file.to_str().unwrap();
    let fixed = ["raw", "--buffered", "--ramp", "0", "--file", file];
    Cli::parse_from(fixed.into_iter().chain(words.split_whitespace()))
}

fn run(file: &std::path::Path, text: &str) -> Result<Outcome> {
    let Cli { raw, load } = words(file, text);
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

#[test]
fn queues_of_a_cpu_share_its_ring_and_keep_their_own_work() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let cpu = crate::load::cpu::allowed().unwrap()[0];
    let text = format!("--rw write --queues 3 --iodepth 4 --number-ios 200 --fixed --cpus {cpu}");
    let Cli { raw, load } = words(file.path(), &text);
    let opened = Raw::open(&raw, &load).unwrap();
    assert_eq!(opened.rings.iter().map(Ring::slots).collect::<Vec<_>>(), [12]);
    let stats = opened.run(&load).unwrap().stats;
    assert_eq!((stats.errors, stats.write.ios), (0, 200), "{:?}", stats.first_error);
}

#[test]
fn queues_are_dealt_to_the_cpus_in_turn() {
    assert_eq!(deal(vec!['a', 'b', 'c', 'd', 'e'], 2), [vec!['a', 'c', 'e'], vec!['b', 'd']]);
    assert_eq!(deal(vec!['a'], 3), [vec!['a']]);
}

#[test]
fn more_requests_than_a_ring_holds_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    for (more, said) in
        [("--iodepth 513", "32832 requests in flight on one CPU"), ("--fixed --iodepth 257", "16384 at most")]
    {
        let Cli { raw, load } = words(file.path(), &format!("--bs 512 --queues 64 --cpus 0 {more}"));
        assert!(Raw::open(&raw, &load).unwrap_err().to_string().contains(said), "{more}");
    }
}
