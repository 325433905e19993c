//! A driver that takes SPDK's short cuts is served, whatever the idle policy.

mod common;

use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::spdk_like::Disk;
use common::io::{LUN, pattern};
use common::{SOCKET, Target, cpumask, directory, image};

fn serve(idle: &str) -> Target {
    let mask = cpumask(1);
    let dir = directory();
    image(dir.path(), "disk.img", 8 << 20);
    let common = ["--cpumask", &mask, "--idle", idle, "--queues", "2", "--socket", SOCKET];
    let disks = ["--disk", "disk.img", "--disk", "mem:size=1M,block-size=4096,target=5"];
    Target::serve(dir, &[&common[..], &disks].concat())
}

#[test]
fn it_finds_the_disks_and_their_bytes() {
    for idle in ["adaptive", "spin", "sleep"] {
        let target = serve(idle);
        let mut spdk = target.spdk(SOCKET);
        let found = spdk.scan().unwrap();
        let expected = [(0, 16_384, 512), (5, 256, 4096)];
        let unmap = |index: usize| found.get(index).is_some_and(|disk| disk.unmap);
        let expected: Vec<_> = expected
            .into_iter()
            .enumerate()
            .map(|(index, (target, blocks, block_size))| Disk { target, blocks, block_size, unmap: unmap(index) })
            .collect();
        assert_eq!(found, expected, "{idle}");
        for queue in 0..spdk.request_queues() {
            for lba in 0..20 {
                let data = pattern(lba, 8192);
                spdk.execute(queue, &Command::write(LUN, lba, 512, data.clone())).unwrap().good().unwrap();
                let read = spdk.execute(queue, &Command::read(LUN, lba, 16, 512)).unwrap().good().unwrap();
                assert!(read.data == data, "{idle}: LBA {lba} on queue {queue}");
            }
        }
        assert_eq!(spdk.request_queues(), 2);
        spdk.release().unwrap();
        target.stop();
    }
}

#[test]
fn it_may_stop_and_start_again() {
    let target = serve("adaptive");
    let mut spdk = target.spdk(SOCKET);
    spdk.scan().unwrap();
    for _ in 0..3 {
        spdk.restart().unwrap();
        assert_eq!(spdk.scan().unwrap().len(), 2);
    }
    drop(spdk);
    let mut next = target.spdk(SOCKET);
    assert_eq!(next.scan().unwrap().len(), 2);
    let data = pattern(1, 4096);
    let lun = Lun::peripheral(5, 0);
    next.execute(1, &Command::write(lun, 3, 4096, data.clone())).unwrap().good().unwrap();
    assert!(next.execute(0, &Command::read(lun, 3, 1, 4096)).unwrap().good().unwrap().data == data);
    target.stop();
}
