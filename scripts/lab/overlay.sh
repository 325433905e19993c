# shellcheck shell=bash
# What is laid over the guest's initramfs at each boot: init and the job with its parameters and files. So neither a new
# job nor a changed init asks for a new image. Sourced, after lib.sh, never run.
# shellcheck disable=SC2154  # job, variables, files and layers are the caller's

# The last three: an emulated processor on a busy machine is late, and the kernel would warn of its clocks and workers.
# shellcheck disable=SC2034 # for those that take this file in
KERNEL_COMMAND_LINE=(console=ttyS0 quiet loglevel=1 panic=-1 oops=panic scsi_mod.scan=sync random.trust_cpu=on
    mitigations=off nokaslr 8250.nr_uarts=1 no_timer_check tsc=reliable workqueue.cpu_intensive_thresh_us=0)

# make_initramfs IMAGE-DIR OUTPUT SCRIPTS-DIR: image, layers and overlay, one archive after the other, which the kernel unpacks
# in that order. Reads job, variables, files and layers of the caller.
make_initramfs() {
    local image=$1 output=$2 scripts=$3 layer
    layer=$(mktemp -d "$output.XXXXXX")
    mkdir -p "$layer/job/files"
    install -m 755 "$scripts/lab/init" "$layer/init"
    cp "$scripts/lab/benign-warnings.txt" "$layer/job/"
    cp -r "$scripts/fio" "$layer/job/fio"
    cp -r "$scripts/jobs" "$layer/job/jobs"
    ln -s jobs/lib.sh "$layer/job/lib.sh"
    write_environment >"$layer/job/env"
    [ ${#files[@]} -eq 0 ] || cp -r -- "${files[@]}" "$layer/job/files/"
    [ -z "$job" ] || cp -- "$job" "$layer/job/run"
    cat -- "$image/initramfs" "${layers[@]}" >"$output"
    (cd "$layer" && find . -mindepth 1 -print0 | sort -z |
        cpio --null --create --format=newc --owner=0:0 --quiet) >>"$output"
    rm -rf "$layer"
}

# The job's variables as shell text, whatever their values hold.
write_environment() {
    local variable value
    for variable in "${variables[@]}"; do
        [[ $variable =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || usage_error "--env takes NAME=VALUE, not '$variable'"
        value=${variable#*=}
        printf "export %s='%s'\n" "${variable%%=*}" "${value//\'/\'\\\'\'}"
    done
}
