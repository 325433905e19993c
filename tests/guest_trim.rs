//! Space on the host, as a Linux guest feels it: what it gives back is free there, and a host that has none left costs it errors
//! and nothing else.

mod common;
mod guest;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::full::SmallFileSystem;
use common::{SOCKET, Target, cpumask, directory, image};
use guest::Lab;

const MIB: u64 = 1 << 20;

/// Files on both disks, of which one gives their space back. 24 MiB each.
const TRIM: &str = r#"
for disk in "$(disk_at 0:0)" "$(disk_at 1:0)"; do
    mkfs.ext4 -q -F "$disk"
    mount -t ext4 "$disk" /mnt
    dd if=/dev/urandom of=/mnt/file bs=1M count=24 conv=fsync 2>/dev/null
    rm /mnt/file
    sync
    if [ "$disk" = "$(disk_at 0:0)" ]; then
        result trimmed "$(fstrim -v /mnt)"
    fi
    umount /mnt
    e2fsck -f -n "$disk"
done
"#;

/// A file system grows until there is no space for it, and again when there is.
const FULL: &str = r#"
disk=$(disk_at 2:0)
mkfs.ext4 -q -F "$disk" 48M
mount -t ext4 "$disk" /mnt
dd if=/dev/urandom of=/mnt/first bs=64k count=16 conv=fsync 2>/dev/null
sha256sum /mnt/first >/tmp/sums
if dd if=/dev/urandom of=/mnt/large bs=64k count=384 conv=fsync 2>/tmp/said; then
    fail "it had space for all"
fi
result refused "$(head -n 1 /tmp/said)"
# The disk says why, behind the file system.
dd if=/dev/urandom of=/tmp/blocks bs=64k count=1 2>/dev/null
lba=98304
while sg_write_x --normal --lba=$lba --num=128 --in=/tmp/blocks --bs=512 -vv "$disk" >/tmp/said 2>&1; do
    lba=$((lba + 128))
done
result sense "$(sed -n 's/^Additional sense: //p' /tmp/said | head -n 1)"
echo 3 >/proc/sys/vm/drop_caches
sha256sum -c /tmp/sums
umount /mnt || true
# Somebody makes room on the host.
await "sg_write_x --normal --lba=$lba --num=128 --in=/tmp/blocks --bs=512 $disk >/dev/null 2>&1"
e2fsck -f -y "$disk" >/dev/null 2>&1 || [ $? -le 2 ] || fail "the file system cannot be mended"
mount -t ext4 "$disk" /mnt
sha256sum -c /tmp/sums
rm -f /mnt/large
dd if=/dev/urandom of=/mnt/second bs=64k count=32 conv=fsync 2>/dev/null || fail "it does not go on"
umount /mnt
e2fsck -f -n "$disk"
result goes on
"#;

#[test]
fn a_guest_gives_space_back_and_survives_a_host_without() {
    let lab = Lab::enter();
    let dir = directory();
    for name in ["trimmed.img", "kept.img"] {
        image(dir.path(), name, 64 * MIB);
    }
    let full = SmallFileSystem::mount(&dir.path().join("small"), 24 * MIB);
    let mut disks = vec!["--disk", "path=trimmed.img,target=0", "--disk", "path=kept.img,target=1"];
    let mut script = TRIM.to_owned();
    if let Some(full) = &full {
        image(full.path(), "disk.img", 64 * MIB);
        full.fill("filler", 12 * MIB);
        disks.extend(["--disk", "path=small/disk.img,target=2"]);
        script += FULL;
    }
    let mask = cpumask(1);
    let target = Target::serve(dir, &[&["--cpumask", &mask, "--socket", SOCKET], &disks[..]].concat());
    let mut guest = lab.boot(&target, "trim", &script, &["--socket", SOCKET]);
    if let Some(full) = &full {
        // The file system may make an error of its own of it.
        let refused = guest.await_result("refused", |_| true);
        assert!(
            ["No space left on device", "Input/output error"].iter().any(|&text| refused.contains(text)),
            "{refused}"
        );
        let sense = guest.await_result("sense", |_| true);
        assert_eq!(sense, "Space allocation failed write protect");
        std::fs::remove_file(full.path().join("filler")).expect("the filler");
        guest.await_result("goes", |_| true);
    }
    let guest = guest.finish();
    assert!(guest.results("trimmed").concat().contains("bytes) trimmed"), "{:?}", guest.results("trimmed"));
    let [trimmed, kept] = ["trimmed.img", "kept.img"].map(|name| bytes_held(&target.path(name)));
    assert!(kept >= 24 * MIB, "{kept} bytes of what was only deleted");
    assert!(trimmed <= 12 * MIB, "{trimmed} bytes of what was given back");
    target.stop();
}

/// What a file takes on its file system.
fn bytes_held(path: &Path) -> u64 {
    path.metadata().expect("the file").blocks() * 512
}
