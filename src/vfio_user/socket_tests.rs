use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use super::*;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_file_is_for_the_owner_only_and_goes_with_the_listener() {
    let dir = directory();
    let path = dir.path().join("a.sock");
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o177, 0);
    UnixStream::connect(&path).unwrap();
    assert!(listener.accept().is_ok());
    assert!(matches!(listener.accept(), Err(Errno::AGAIN)));
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced() {
    let dir = directory();
    let path = dir.path().join("a.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _listener = Listener::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_live_socket_is_left_alone() {
    let dir = directory();
    let path = dir.path().join("a.sock");
    let other = UnixListener::bind(&path).unwrap();
    let error = Listener::bind(&path).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }));
    assert!(error.to_string().contains("in use by a running process"));
    UnixStream::connect(&path).unwrap();
    drop(other);
    std::fs::remove_file(&path).unwrap();
    let _other = UnixDatagram::bind(&path).unwrap();
    assert!(matches!(Listener::bind(&path), Err(BindError::InUse { .. })));
}

#[test]
fn a_file_or_directory_in_the_way_is_never_removed() {
    let dir = directory();
    let path = dir.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    assert!(matches!(Listener::bind(&path), Err(BindError::NotASocket { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
    assert!(matches!(Listener::bind(dir.path()), Err(BindError::NotASocket { .. })));
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(Listener::bind(&link), Err(BindError::NotASocket { .. })));
}

#[test]
fn paths_that_cannot_be() {
    let long = PathBuf::from("x".repeat(PATH_BYTES_MAX + 1));
    let error = Listener::bind(&long).unwrap_err();
    assert!(error.to_string().contains("108 bytes long and the limit is 107"), "{error}");
    assert!(matches!(Listener::bind(Path::new("")), Err(BindError::NotAPath { .. })));
    assert!(matches!(Listener::bind(Path::new("a\0b")), Err(BindError::NotAPath { .. })));
    let error = Listener::bind(Path::new("/nowhere/at/all.sock")).unwrap_err();
    assert!(matches!(error, BindError::Os { .. }));
    assert!(error.to_string().contains("/nowhere/at/all.sock"), "{error}");
}

#[test]
fn the_longest_path_is_taken() {
    let dir = directory();
    let name = "x".repeat(PATH_BYTES_MAX - dir.path().as_os_str().len() - 1);
    let path = dir.path().join(name);
    assert_eq!(path.as_os_str().len(), PATH_BYTES_MAX);
    let _listener = Listener::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_file_that_is_not_its_own_any_more_is_left() {
    let dir = directory();
    let path = dir.path().join("a.sock");
    let listener = Listener::bind(&path).unwrap();
    // Both files exist at a time, so that they cannot have the same inode.
    std::fs::write(dir.path().join("other"), "").unwrap();
    std::fs::rename(dir.path().join("other"), &path).unwrap();
    drop(listener);
    assert!(path.exists());
}
