//! Each mistake on the command line gives one clear line that names what is wrong, and exit code 1 or 2.

mod common;

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Target, cpumask, directory, image};

/// User and group that may do nothing.
const NOBODY: u32 = 65534;

/// Runs `annulus serve`, which must end by itself.
fn serve(dir: &Path, args: &[&str]) -> Output {
    run(&mut Command::new(env!("CARGO_BIN_EXE_annulus")), dir, args)
}

fn run(command: &mut Command, dir: &Path, args: &[&str]) -> Output {
    command.arg("serve").args(args).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = std::time::Instant::now();
    // A program that was just copied is busy for as long as a child of another test holds the copy open.
    let mut child = loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && start.elapsed() < common::STEP_LIMIT => {}
            child => break child.expect("start the target"),
        }
    };
    while child.try_wait().expect("wait").is_none() {
        if start.elapsed() > common::STEP_LIMIT {
            let _ = child.kill();
            panic!("annulus serve {} does not end", args.join(" "));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output")
}

/// What it says must hold all of `words`, in one line.
fn refuses(dir: &Path, args: &[&str], words: &[&str]) {
    let output = serve(dir, args);
    is_refusal(&output, args, words);
    assert!(!dir.join("vm0.sock").exists(), "{}: a socket is left behind", args.join(" "));
}

fn is_refusal(output: &Output, args: &[&str], words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    let command = args.join(" ");
    assert!(matches!(output.status.code(), Some(1 | 2)), "{command}: {}\n{text}", output.status);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let found = lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(found, "{command}: no line has all of {words:?}:\n{text}");
    let noise: Vec<_> = lines.iter().filter(|line| !words.iter().all(|word| line.contains(word))).collect();
    assert!(noise.is_empty(), "{command}: more than one line:\n{text}");
}

#[test]
fn disks_that_cannot_be_served() {
    let dir = directory();
    let dir = dir.path();
    std::fs::create_dir(dir.join("folder")).unwrap();
    image(dir, "odd.img", 1000);
    image(dir, "odd4k.img", 512 * 9);
    image(dir, "empty.img", 0);
    let refuse = |disk: &str, words: &[&str]| refuses(dir, &["--socket", "vm0.sock", "--disk", disk], words);
    refuse("none.img", &["none.img"]);
    refuse("folder", &["folder", "directory"]);
    refuse("odd.img", &["odd.img", "512"]);
    refuse("path=odd4k.img,block-size=4096", &["odd4k.img", "4096"]);
    refuse("empty.img", &["empty.img"]);
    refuse("mem:size=1000", &["512"]);
}

#[test]
fn a_file_that_may_not_be_written_needs_ro() {
    let dir = directory();
    let path = image(dir.path(), "disk.img", 1 << 20);
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    let args = ["--socket", "vm0.sock", "--disk", "disk.img"];
    // root may write it all the same, so it is somebody else who runs the target, from where anybody can read.
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let copy = dir.path().join("annulus");
    std::fs::copy(env!("CARGO_BIN_EXE_annulus"), &copy).unwrap();
    let mut command = Command::new(&copy);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.env("HOME", dir.path()).env_remove("XDG_STATE_HOME");
    is_refusal(&run(&mut command, dir.path(), &args), &args, &["disk.img", "ro"]);
}

#[test]
fn disk_strings_that_make_no_sense() {
    let dir = directory();
    let dir = dir.path();
    image(dir, "disk.img", 1 << 20);
    let refuse = |disks: &[&str], words: &[&str]| {
        let disks = disks.iter().flat_map(|disk| ["--disk", disk]);
        let args: Vec<_> = ["--socket", "vm0.sock"].into_iter().chain(disks).collect();
        refuses(dir, &args, words);
    };
    refuse(&["path=disk.img,colour=red"], &["colour"]);
    refuse(&["path=disk.img,block-size=1000"], &["block-size", "1000"]);
    refuse(&["path=disk.img,target=256"], &["target", "256"]);
    refuse(&["path=disk.img,delay=soon"], &["soon"]);
    refuse(&["null:size=much"], &["much"]);
    refuse(&["mem:"], &["size"]);
    refuse(&["path=disk.img,lun=1", "mem:size=1M,target=0,lun=1"], &["target 0", "lun 1"]);
}

#[test]
fn masks_and_queues_that_cannot_be() {
    let dir = directory();
    let dir = dir.path();
    let refuse = |mask: &str, words: &[&str]| {
        refuses(dir, &["--cpumask", mask, "--socket", "vm0.sock", "--disk", "mem:size=1M"], words);
    };
    refuse("zebra", &["zebra"]);
    refuse("0x0", &["0x0"]);
    refuse("[3-1]", &["[3-1]"]);
    refuse("[4000]", &["4000"]);
    refuse("[1000]", &["1000"]);
    for queues in ["0", "65", "many"] {
        refuses(dir, &["--socket", "vm0.sock", "--disk", "mem:size=1M", "--queues", queues], &["queues", queues]);
    }
}

#[test]
fn sockets_that_cannot_be() {
    let dir = directory();
    let dir = dir.path();
    let long = format!("{}.sock", "s".repeat(120));
    refuses(dir, &["--socket", &long, "--disk", "mem:size=1M"], &["sock", "long"]);
    refuses(dir, &["--socket", "none/vm1.sock", "--disk", "mem:size=1M"], &["none/vm1.sock"]);
    let output = serve(dir, &["--socket", "none/vm1.sock", "--disk", "mem:size=1M"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.matches("No such file").count(), 1, "a cause is told once: {text}");
    std::fs::write(dir.join("file"), "not a socket").unwrap();
    refuses(dir, &["--socket", "file", "--disk", "mem:size=1M"], &["file"]);
    assert_eq!(std::fs::read(dir.join("file")).unwrap(), b"not a socket", "a file in the way is not removed");
    refuses(dir, &["--socket", "x.sock", "--socket", "x.sock", "--disk", "mem:size=1M"], &["x.sock"]);
    refuses(dir, &["--disk", "mem:size=1M"], &["--socket"]);
    refuses(dir, &["--socket", "vm0.sock"], &["--disk"]);
}

#[test]
fn a_socket_in_use_is_left_alone_and_a_stale_one_is_replaced() {
    let dir = directory();
    let listener = UnixListener::bind(dir.path().join("busy.sock")).unwrap();
    refuses(dir.path(), &["--socket", "busy.sock", "--disk", "mem:size=1M"], &["busy.sock", "use"]);
    drop(listener);
    let mask = cpumask(1);
    let target = Target::serve(dir, &["--cpumask", &mask, "--socket", "busy.sock", "--disk", "mem:size=1M"]);
    let mut guest = target.guest_on("busy.sock", annulus_bench::Options::default());
    common::io::alive(&mut guest);
    target.stop();
}

#[test]
fn options_and_files_that_are_not_known() {
    let dir = directory();
    let dir = dir.path();
    refuses(dir, &["--colour", "red"], &["--colour"]);
    refuses(dir, &["--config", "none.toml"], &["none.toml"]);
    refuses(dir, &["--idle", "never", "--socket", "vm0.sock", "--disk", "mem:size=1M"], &["never"]);
}

#[test]
fn configuration_files_with_mistakes() {
    let dir = directory();
    let dir = dir.path();
    let refuse = |text: &[u8], words: &[&str]| {
        std::fs::write(dir.join("bad.toml"), text).unwrap();
        refuses(dir, &["--config", "bad.toml"], words);
    };
    refuse(b"idle = \"spin\"\n\ncolour = 1\n", &["annulus: bad.toml:3: ", "colour"]);
    refuse(b"idle = \n", &["annulus: bad.toml:1: "]);
    refuse(b"[[controller]]\nsocket = \"a\"\ndisks = [\n  \"null:size=much\",\n]\n", &["annulus: bad.toml:", "much"]);
    refuse(b"idle = \"\xff\"", &["bad.toml", "UTF-8"]);
    refuse(&vec![b'\n'; (16 << 20) + 1], &["bad.toml", "16 MiB"]);
    refuses(dir, &["--config", "/dev/zero"], &["/dev/zero", "16 MiB"]);
}

#[test]
fn a_log_filter_that_is_not_understood() {
    let dir = directory();
    let mut command = Command::new(env!("CARGO_BIN_EXE_annulus"));
    let output = run(command.env("ANNULUS_LOG", "loud"), dir.path(), &["--socket", "vm0.sock", "--disk", "none.img"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.lines().any(|line| line.contains("WARN") && line.contains("ANNULUS_LOG=\"loud\"")), "{text}");
}

#[test]
fn help_has_examples_and_ends_well() {
    let dir = directory();
    let output = serve(dir.path(), &["--help"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    for word in ["Examples", "--socket", "--disk", "--cpumask", "block-size", "--config"] {
        assert!(text.contains(word), "--help does not name {word}");
    }
}
