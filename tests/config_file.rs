//! Several controllers from a file.

mod common;

use annulus::config::CpuSet;
use annulus_bench::Options;
use annulus_bench::guest::cdb;
use annulus_bench::guest::scsi::{Command, Lun};
use common::io::{LUN, good, settle, verify_on};
use common::{Target, cpumask, directory, image};

#[test]
fn two_controllers_serve_their_disks() {
    let dir = directory();
    image(dir.path(), "a.img", 1 << 20);
    let mask = cpumask(2);
    let cpus: Vec<_> = mask.parse::<CpuSet>().expect("a mask").cpus().to_vec();
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    let text = format!(
        r#"
        cpumask = "{mask}"

        [[controller]]
        socket = "a.sock"
        queues = 2
        queue-cpus = "0:{last}"
        disks = ["path=a.img,serial=AAA", "mem:size=2M,target=3,lun=4"]

        [[controller]]
        socket = "b.sock"
        queues = 1
        disks = ["mem:size=4M,serial=BBB"]
        "#
    );
    std::fs::write(dir.path().join("annulus.toml"), text).unwrap();
    let target = Target::spawn(dir, &["--config", "annulus.toml"]);
    target.await_socket("a.sock");
    target.await_socket("b.sock");
    let mut a = target.guest_on("a.sock", Options { request_queues: 4, ..Options::default() });
    let mut b = target.guest_on("b.sock", Options { request_queues: 4, ..Options::default() });
    assert_eq!((a.request_queues(), b.request_queues()), (2, 1));
    for (guest, serial, blocks) in [(&mut a, "AAA", 2048u32), (&mut b, "BBB", 8192)] {
        settle(guest, LUN);
        let page = good(guest, &Command::data_in(LUN, cdb::inquiry(Some(0x80), 255), 255)).data;
        assert_eq!(String::from_utf8_lossy(&page[4..4 + usize::from(page[3])]).trim(), serial);
        let capacity = good(guest, &Command::data_in(LUN, cdb::read_capacity_10(), 8)).data;
        assert_eq!(capacity[..4], (blocks - 1).to_be_bytes());
        verify_on(guest, 0, 100, 16);
    }
    verify_on(&mut a, 1, 300, 16);
    settle(&mut a, Lun::new(3, 4));
    let output = target.output();
    let homes = format!("request queues from 0 on are on CPUs {last}, {first}");
    for name in ["a.sock", "b.sock", "vfio-user-pci", if first == last { "a.sock" } else { &homes }] {
        assert!(output.contains(name), "what it prints at start does not name {name}");
    }
    target.stop();
}
