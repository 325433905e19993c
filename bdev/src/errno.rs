//! Turns what the kernel says into [`IoError`]: the one place where an errno gets a meaning.

use crate::op::IoError;

impl IoError {
    /// The meaning of a positive errno that ended an operation on a file or block device.
    ///
    /// What is not listed here is a [`IoError::Medium`]: the data was not moved and nobody can say that another try helps.
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            // EFBIG: a file size limit, of the process or of the file system, is a lack of space to the guest.
            libc::ENOSPC | libc::EDQUOT | libc::EFBIG => Self::NoSpace,
            // EPERM: an immutable or sealed file; ETXTBSY: it is being executed.
            libc::EROFS | libc::EPERM | libc::EACCES | libc::ETXTBSY => Self::ReadOnly,
            // ENOLINK is the block layer's transport failure, ESTALE and ESHUTDOWN those of network file systems.
            libc::ENODEV | libc::ENXIO | libc::ENOLINK | libc::ESTALE | libc::ESHUTDOWN | libc::EBADF => Self::Gone,
            libc::EAGAIN | libc::ENOMEM | libc::EBUSY | libc::EINTR | libc::ENOBUFS => Self::Busy,
            libc::ECANCELED => Self::Cancelled,
            libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL => Self::Unsupported,
            // EIO, and the finer words of the block layer for a sick medium: ENODATA, EILSEQ, EREMOTEIO, ETIMEDOUT,
            // EBADE. EFAULT too: the memory behind a segment has gone, and the transfer did not happen.
            _ => Self::Medium,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_of_the_block_layer_and_of_file_systems_has_its_meaning() {
        let table: &[(IoError, &[i32])] = &[
            (
                IoError::Medium,
                &[libc::EIO, libc::ENODATA, libc::EILSEQ, libc::EREMOTEIO, libc::ETIMEDOUT, libc::EBADE, libc::EFAULT],
            ),
            (IoError::NoSpace, &[libc::ENOSPC, libc::EDQUOT, libc::EFBIG]),
            (IoError::ReadOnly, &[libc::EROFS, libc::EPERM, libc::EACCES, libc::ETXTBSY]),
            (IoError::Gone, &[libc::ENODEV, libc::ENXIO, libc::ENOLINK, libc::ESTALE, libc::ESHUTDOWN, libc::EBADF]),
            (IoError::Busy, &[libc::EAGAIN, libc::EWOULDBLOCK, libc::ENOMEM, libc::EBUSY, libc::EINTR, libc::ENOBUFS]),
            (IoError::Cancelled, &[libc::ECANCELED]),
            (IoError::Unsupported, &[libc::EOPNOTSUPP, libc::ENOTSUP, libc::ENOSYS, libc::EINVAL]),
        ];
        for (meaning, errnos) in table {
            for errno in *errnos {
                assert_eq!(IoError::from_errno(*errno), *meaning, "errno {errno}");
            }
        }
    }

    #[test]
    fn an_errno_that_nobody_knows_is_a_medium_error() {
        for errno in [0, -5, 4095, i32::MAX, i32::MIN] {
            assert_eq!(IoError::from_errno(errno), IoError::Medium);
        }
    }
}
