# shellcheck shell=sh
# Namespaces that grow while they are served: QEMU's cannot, those of the kernel's own NVMe target can. It announces neither
# Compare nor Verify.

modprobe nvme-loop
nvmet=/sys/kernel/config/nvmet
[ -d "$nvmet" ] || mount -t configfs configfs /sys/kernel/config
subsystem=$nvmet/subsystems/grows
mkdir "$subsystem"
echo 1 >"$subsystem/attr_allow_any_host"
echo GROWS >"$subsystem/attr_serial"
# namespace NSID: in a file of 16 MiB.
namespace() {
    truncate -s 16M "/tmp/grows$1"
    mkdir "$subsystem/namespaces/$1"
    echo 1 >"$subsystem/namespaces/$1/buffered_io"
    echo "/tmp/grows$1" >"$subsystem/namespaces/$1/device_path"
    echo 1 >"$subsystem/namespaces/$1/enable"
}
namespace 1
namespace 2
mkdir "$nvmet/ports/1"
echo loop >"$nvmet/ports/1/addr_trtype"
ln -s "$subsystem" "$nvmet/ports/1/subsystems/grows"
echo transport=loop,nqn=grows >/dev/nvme-fabrics

# has_nodes: the kernel has found both namespaces. In a shell of its own: what is not there yet is no failure.
has_nodes() { (for nsid in 1 2; do end=$(node GROWS $nsid) && [ -c "/dev/ng$end" ] && [ -b "/dev/nvme$end" ] || exit; done) >/dev/null 2>&1; }
await has_nodes
serve "/dev/ng$(node GROWS 1)" "/dev/nvme$(node GROWS 2)"
result looped "$(served_disk)"
inside what_compares_and_changes_reaches_the_disk
export ANNULUS_TEST_GROW="for nsid in 1 2; do
    truncate -s 32M /tmp/grows\$nsid && echo 1 >$subsystem/namespaces/\$nsid/revalidate_size || exit
done"
inside disks_that_grow_are_as_large_to_the_guest
stop
# What was written behind the old end is in the files.
for nsid in 1 2; do result grown "$(dd if=/tmp/grows$nsid bs=1M skip=16 2>/dev/null | tr -d '\0' | wc -c)"; done
