# shellcheck shell=bash
# How the root of a guest is made of a tree of unpacked packages: programs with their libraries, modules with what they need.
# Sourced, after packages.sh, never run.

# fetch_kernel APT-DIR NAME DIR: puts the kernel that the package NAME leads to into DIR, without what it depends on: tools that
# make an initramfs, which is done here.
fetch_kernel() {
    local apt=$1 name=$2 dir=$3 package
    package=$(apt_private "$apt" apt-cache depends "$name" |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    [ -n "$package" ] || die "$LAB_RELEASE has no kernel under the name $name"
    mkdir -p "$dir"
    (cd "$dir" && apt_private "$apt" apt-get -qq download "$package")
}

# install_programs TREE ROOT PROGRAM...: with the libraries that they load.
install_programs() {
    local tree=$1 root=$2 program file
    shift 2
    for program in "$@"; do
        install_file "$tree" "$root" "$program"
        for file in $(libraries_of "$tree" "$program"); do
            install_file "$tree" "$root" "$file"
        done
    done
}

# Follows links, so that a library stands under the name by which it is looked for. A second time does nothing.
install_file() {
    local tree=$1 root=$2 file=$3
    [ -e "$root/$file" ] || install -D -p "$tree/$file" "$root/$file"
}

# install_modules TREE ROOT MODULE...: unpacked here, as busybox cannot; their signature is inside and stays good.
install_modules() {
    local tree=$1 root=$2 source target kernel module file list
    shift 2
    source=$(echo "$tree"/usr/lib/modules/*)
    kernel=${source##*/}
    target=$root/usr/lib/modules/$kernel
    find "$source" -name '*.ko.xz' -print0 | xargs -0 -n 500 "$tree/$LOADER" --library-path "$(library_path "$tree")" \
        "$tree/usr/bin/xz" --decompress
    in_tree "$tree" usr/sbin/depmod -b "$tree" "$kernel"
    mkdir -p "$target"
    cp "$source"/modules.{builtin,builtin.modinfo,order} "$target/"
    for module in "$@"; do
        list=$(with_dependencies "$source/modules.dep" "$module")
        for file in $list; do
            [ -e "$target/$file" ] || install -D -p "$source/$file" "$target/$file"
        done
    done
    in_tree "$tree" usr/sbin/depmod -b "$root" "$kernel"
}

# The files of a module and of all that it needs: the line of modules.dep that begins with it.
with_dependencies() {
    local list=$1 module=${2//_/[-_]}
    grep -E "/$module\.ko:" "$list" | tr -d : || die "the kernel has no module $2"
}

# pack TREE ROOT: the archive that the kernel unpacks. Not compressed: an emulated processor unpacks a copy faster than any
# compression.
pack() {
    local tree=$1 root=$2
    (cd "$root" && find . -mindepth 1 -print0 | sort -z |
        in_tree "$tree" usr/bin/cpio --null --create --format=newc --owner=0:0 --quiet)
}
