use super::*;

#[test]
fn failures_of_a_device_as_sense() {
    let write = OpKind::Write { fua: false };
    let expected = [
        (OpKind::Read, IoError::Medium, 0x3, 0x1100),
        (write, IoError::Medium, 0x3, 0x0c00),
        (OpKind::Flush, IoError::Medium, 0x3, 0x0c00),
        (write, IoError::NoSpace, 0x7, 0x2707),
        (OpKind::Read, IoError::BeyondEnd, 0x5, 0x2100),
        (write, IoError::ReadOnly, 0x7, 0x2700),
        (OpKind::Read, IoError::Gone, 0x4, 0x3e01),
        (OpKind::Read, IoError::Cancelled, 0xb, 0x0000),
        (write, IoError::Unsupported, 0x5, 0x2000),
    ];
    for (kind, error, key, asc) in expected {
        let outcome = Outcome::of_io_error(kind, error);
        assert_eq!(outcome, Outcome::check(Sense::new(SenseKey(key), Asc(asc))), "{kind:?} {error:?}");
        assert_eq!(outcome.status.0, 2);
    }
}

#[test]
fn a_busy_device_is_a_status_without_sense() {
    let outcome = Outcome::of_io_error(OpKind::Read, IoError::Busy);
    assert_eq!((outcome.status.0, outcome.sense, outcome.effect), (8, None, None));
}
