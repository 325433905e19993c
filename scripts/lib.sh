# shellcheck shell=bash
# What every script here shares: messages, the cache, locks and atomic publishing. Sourced, never run.
#
#   script             what it does
#   scripts/setup      installs what the machine lacks; says what to install where it may not
#   scripts/demo       from a clone to a guest that runs fio on a disk served by annulus
#   scripts/test       every check and test, as continuous integration runs them
#   scripts/bench      the target beside its limits: tables, JSON, plots
#   scripts/instructions  what an I/O costs the target, counted by callgrind
#   scripts/counts     what each step of an I/O costs, compared with what was recorded
#   scripts/seeds      random lives of the target with seeds that nobody has seen
#   scripts/lines      no cache line is written by one reactor and touched by another
#   scripts/guest      boots a small Linux guest in QEMU, by hand or with a job from scripts/jobs
#   scripts/lab/qemu   prints a QEMU that has vfio-user-pci, fetched into the cache where the system's has not
#   scripts/lab/image  prints a directory with the guest's kernel and initramfs, built once into the cache
#   scripts/lab/multipath  prints a directory with a kernel, multipathd and udevd for guests with several paths, built once
#   scripts/lab/firmware  prints a directory with OVMF and GRUB, fetched once into the cache
#   scripts/lab/boot-disk  makes a disk from which firmware of either kind boots
#   scripts/jobs/*     what a guest can be told to do; scripts/fio/* are the loads they run
#
# Environment: ANNULUS_CACHE (where downloads and builds are kept), ANNULUS_DEBIAN_MIRROR (base address of a Debian
# mirror, where apt's own configuration names none), DISK and others as `scripts/guest --help` says.

# A failure inside $( ) is a failure: without this, bash forgets `set -e` there.
shopt -s inherit_errexit

note() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
usage_error() { printf "%s: %s (try '%s --help')\n" "${0##*/}" "$*" "$0" >&2; exit 2; }

# The help text of a script is the comment that follows its first line.
print_help() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; }

have() { command -v "$1" >/dev/null 2>&1; }

# Builds the unit tests as scripts/counts and scripts/lines want them, and prints where they are. Valgrind hides the kernel's
# clock page, and only the C library knows: one crate has to ask it.
counted_tests() {
    cargo test --quiet --profile counted --target-dir target/callgrind --package annulus --lib --no-run \
        --features rustix/use-libc-auxv --message-format json |
        sed -n '/"profile":{[^}]*"test":true/s/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

cache_dir() {
    local dir=${ANNULUS_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set ANNULUS_CACHE}/.cache}/annulus}
    mkdir -p "$dir" || die "cannot make the cache $dir: set ANNULUS_CACHE to a directory that can be written"
    printf '%s\n' "$dir"
}

# stamp_of FILE...: a short name for exactly this content, so that a change of the recipe makes a new build.
stamp_of() { cat -- "$@" | sha256sum | cut -c1-12; }

# Builds that no run has asked for in this many days are removed when a newer one is published.
CACHE_DAYS_MAX=30

# cached NAME STAMP BUILD: prints the cache entry NAME-STAMP, which BUILD makes, if it is missing, in the empty directory
# that it is given. One run builds, others wait for it; a half-built entry is never seen.
cached() {
    local name=$1 stamp=$2 build=$3 cache entry work
    cache=$(cache_dir)
    entry=$cache/$name-$stamp
    if [ ! -d "$entry" ]; then
        exec 9>"$cache/$name.lock"
        flock --nonblock 9 || { note "waiting for another run that builds $name"; flock 9; }
        if [ ! -d "$entry" ]; then
            find "$cache" -maxdepth 1 -name "$name.build.*" -exec rm -rf {} +
            find "$cache" -maxdepth 1 -name "$name-*" -mtime "+$CACHE_DAYS_MAX" -exec rm -rf {} +
            work=$(mktemp -d "$cache/$name.build.XXXXXX")
            # Never as a condition: bash would then ignore failures inside the build.
            "$build" "$work" >&2
            chmod 755 "$work"
            mv -T -- "$work" "$entry"
        fi
        exec 9>&-
    fi
    touch -- "$entry" 2>/dev/null || true
    printf '%s\n' "$entry"
}
