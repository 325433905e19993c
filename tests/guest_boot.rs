//! Linux boots from a disk of the target, as in a machine that has no other: boot loader, kernel and file system lie on it, and
//! SeaBIOS, then OVMF, read them with their own drivers.

mod common;
mod guest;

use std::path::Path;
use std::process::Command;

use common::{SOCKET, Target, cpumask, directory};
use guest::Lab;

/// The first boot makes a file system beside the one that it came from, the next one finds what is in it.
const JOB: &str = r#"
. /job/lib.sh
if [ -d /sys/firmware/efi ]; then firmware=OVMF; else firmware=SeaBIOS; fi
mount -t ext4 "${DISK}3" /mnt 2>/dev/null || { mkfs.ext4 -q -F "${DISK}3"; mount -t ext4 "${DISK}3" /mnt; }
for file in /mnt/*.sums; do
    [ ! -e "$file" ] || (cd / && sha256sum -c "$file" >/tmp/checked) || fail "$(grep -v OK /tmp/checked | head -n 3)"
done
mkdir "/mnt/$firmware"
dd if=/dev/urandom of="/mnt/$firmware/random" bs=64k count=64 2>/dev/null
cp -a /usr/bin/busybox "/mnt/$firmware/"
sha256sum "/mnt/$firmware/random" "/mnt/$firmware/busybox" >"/mnt/$firmware.sums"
result files "$firmware: $(cd /mnt && echo *.sums)"
umount /mnt
e2fsck -f -n "${DISK}3"
result booted "$firmware"
"#;

#[test]
fn linux_boots_from_a_disk_through_firmware_of_either_kind() {
    let lab = Lab::enter();
    let dir = directory();
    let (job, disk) = (dir.path().join("boot.job"), dir.path().join("disk.img"));
    std::fs::write(&job, JOB).expect("write the job");
    make_disk(&job, &disk);
    let mask = cpumask(1);
    let target = Target::serve(dir, &["--cpumask", &mask, "--socket", SOCKET, "--disk", "disk.img"]);
    let args = ["--socket", SOCKET, "--memory", "1G"];
    let first = lab.boot_disk(&target, "seabios", &args).finish();
    assert_eq!(first.results("booted"), ["SeaBIOS"]);
    assert_eq!(first.results("files"), ["SeaBIOS: SeaBIOS.sums"]);
    assert!(first.firmware().contains("virtio-scsi vendor='ANNULUS'"), "{}", first.firmware());
    let second = lab.boot_disk(&target, "ovmf", &[&args[..], &["--uefi"]].concat()).finish();
    assert_eq!(second.results("booted"), ["OVMF"]);
    assert_eq!(second.results("files"), ["OVMF: OVMF.sums SeaBIOS.sums"]);
    target.stop();
}

/// A disk from which firmware boots, and runs `job`.
fn make_disk(job: &Path, disk: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lab/boot-disk");
    let made = Command::new(script).arg("--job").arg(job).arg(disk).output().expect("start the script");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
