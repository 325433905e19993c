# shellcheck shell=bash
# Debian packages unpacked into a directory of their own, without installing anything and without being root: apt
# resolves and checks signatures against a private state, dpkg-deb unpacks, and programs run through the tree's own
# dynamic loader. Sourced, after lib.sh, never run.

LAB_RELEASE=trixie
LIB_DIR=usr/lib/x86_64-linux-gnu
LOADER=usr/lib64/ld-linux-x86-64.so.2

# The Debian mirror that this machine's apt uses.
debian_mirror() {
    if [ -n "${ANNULUS_DEBIAN_MIRROR:-}" ]; then
        printf '%s\n' "$ANNULUS_DEBIAN_MIRROR"
        return
    fi
    local mirror
    mirror=$(configured_mirror)
    if [ -z "$mirror" ] && is_root; then
        apt-get update -qq >&2 || true
        mirror=$(configured_mirror)
    fi
    [ -n "$mirror" ] || die "apt knows no Debian mirror here: run 'apt-get update' on Debian," \
        "or set ANNULUS_DEBIAN_MIRROR to a mirror's base address"
    printf '%s\n' "$mirror"
}

configured_mirror() {
    # shellcheck disable=SC2016  # apt expands these, not the shell
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" && !found { print $4; found = 1 }'
}

debian_keyring() {
    local ring
    for ring in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
        [ ! -r "$ring" ] || { printf '%s\n' "$ring"; return; }
    done
    die "no Debian archive keyring: install the package debian-archive-keyring"
}

# apt_prepare DIR: a private apt in DIR, with fresh package lists of the release and its backports.
apt_prepare() {
    local dir=$1 mirror keyring suite
    if ! have apt-get || ! have dpkg-deb; then
        die "the lab is made of Debian packages, and apt-get or dpkg-deb is missing here"
    fi
    mirror=$(debian_mirror)
    keyring=$(debian_keyring)
    mkdir -p "$dir"/{state/lists/partial,cache/archives/partial}
    : >"$dir/status"
    write_apt_configuration "$dir" >"$dir/apt.conf"
    for suite in "$LAB_RELEASE" "$LAB_RELEASE-backports"; do
        printf 'deb [arch=amd64 signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite"
    done >"$dir/sources.list"
    note "  reading the package lists of $LAB_RELEASE"
    apt_private "$dir" apt-get -qq update --error-on=any || die "cannot read Debian's package lists from $mirror"
}

# Proxies and certificates stay as this machine's apt has them; its state, sources, preferences and hooks do not count.
write_apt_configuration() {
    cat <<CONFIGURATION
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Default-Release;
Dir::State "$1/state";
Dir::State::status "$1/status";
Dir::Cache "$1/cache";
Dir::Etc::sourcelist "$1/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "$(id -un)";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONFIGURATION
}

# apt_private DIR PROGRAM ARGUMENT...: an apt program that sees only DIR's state, not what is installed here.
apt_private() {
    local dir=$1 program=$2
    shift 2
    "$program" -c "$dir/apt.conf" "$@"
}

# unpack_archives DIR TREE: every package that apt has fetched into DIR, laid out in TREE.
unpack_archives() {
    local dir=$1 tree=$2 archive link
    mkdir -p "$tree"
    for link in bin sbin lib lib64; do
        mkdir -p "$tree/usr/$link"
        ln -sfn "usr/$link" "$tree/$link"
    done
    for archive in "$dir"/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$archive" |
            tar -x -C "$tree" --keep-directory-symlink --no-same-owner \
                --exclude='./usr/share/doc*' --exclude='./usr/share/man*' --exclude='./usr/share/locale*'
    done
}

# in_tree TREE PROGRAM ARGUMENT...: runs a program of the tree with the tree's own libraries.
in_tree() {
    local tree=$1 program=$2
    shift 2
    "$tree/$LOADER" --library-path "$(library_path "$tree")" --argv0 "${program##*/}" "$tree/$program" "$@"
}

library_path() { printf '%s:%s\n' "$1/$LIB_DIR" "$1/$LIB_DIR/ceph"; }

# libraries_of TREE PROGRAM: the files that it loads, as paths inside the tree. Fails when one is missing.
libraries_of() {
    local tree=$1 program=$2 list
    list=$("$tree/$LOADER" --library-path "$(library_path "$tree")" --list "$tree/$program")
    case $list in *'not found'*) die "$program lacks a library: $list" ;; esac
    awk -v tree="$tree/" '{ for (i = 1; i <= NF; i++) if (index($i, tree) == 1) print substr($i, length(tree) + 1) }' \
        <<<"$list"
}
