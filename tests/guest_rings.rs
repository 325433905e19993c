//! A Linux guest uses packed rings where they are offered, and split rings where they are not; either gives back what was
//! written.

mod common;
mod guest;

use common::{SOCKET, Target, cpumask, directory, image};
use guest::Lab;

/// The bits of RING_PACKED, and of ACCESS_PLATFORM, NOTIFICATION_DATA and RING_RESET, counted from 1 as `cut` does, among those
/// that the driver accepted.
const JOB: &str = "
result packed $(cut -c 35 /sys/bus/virtio/devices/virtio0/features)
result others $(cut -c 34,39,41 /sys/bus/virtio/devices/virtio0/features)
sh /job/jobs/verify";

#[test]
fn linux_takes_the_ring_that_is_offered() {
    let lab = Lab::enter();
    let mask = cpumask(2);
    for (ring, name, packed) in [("auto", "either", "1"), ("split", "split", "0")] {
        let dir = directory();
        image(dir.path(), "disk.img", 256 << 20);
        let args = ["--cpumask", &mask, "--queues", "2", "--socket", SOCKET, "--ring", ring, "--disk", "disk.img"];
        let target = Target::serve(dir, &args);
        let args = ["--socket", SOCKET, "--cpus", "2", "--fail-on-warnings"];
        let machine = lab.boot(&target, name, JOB, &args).finish();
        assert_eq!(machine.results("packed"), [packed], "--ring {ring}");
        assert_eq!(machine.results("others"), ["111"]);
        target.stop();
    }
}
