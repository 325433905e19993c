# shellcheck shell=sh
# The target in a guest serves namespaces of an NVMe controller, one as a block device and one by commands, beside a disk in
# memory, and the controller is taken away under load: once in good order, once as if it had been torn out.
# shellcheck source=tests/guest/serving.sh
. /job/files/serving.sh

# address SERIAL: of the controller, on the PCI bus.
address() {
    for controller in /sys/class/nvme/nvme*; do
        [ "$(tr -d ' ' <"$controller/serial")" != "$1" ] || { basename "$(readlink -f "$controller/device")"; return; }
    done
    fail "no controller $1"
}
# node SERIAL NSID: the end that the names of a namespace's nodes share (0n1). The kernel gives them out in any order.
node() {
    for disk in /sys/block/nvme*n*; do
        [ "$(tr -d ' ' <"$disk/device/serial") $(cat "$disk/nsid")" != "$1 $2" ] || { echo "${disk##*/nvme}"; return; }
    done
    fail "no namespace $2 of $1"
}

# pull SERIAL COMMAND: serves both namespaces, loads them, and pulls them by a shell command.
pull() {
    serve "/dev/nvme$(node "$1" 1)" "/dev/ng$(node "$1" 2)" mem:size=64M
    export ANNULUS_TEST_DISKS=3 ANNULUS_TEST_PULL="$2"
    inside pulled_disks_fail_and_the_other_goes_on
    cat "$SAID"
    stop_without 2
}

pull ORDER "echo 1 >/sys/bus/pci/devices/$(address ORDER)/remove"

# Without its registers a controller neither takes commands nor a reset: the driver gives it up once one is late. Both
# settings are about commands that come after them.
torn=/sys/bus/pci/devices/$(address TORN)
pull TORN "echo 1000 >/sys/block/nvme$(node TORN 1)/queue/io_timeout; echo 1 >/sys/module/nvme_core/parameters/io_timeout
    dd if=/dev/zero of=$torn/config bs=1 seek=16 count=8 conv=notrunc 2>/dev/null"
