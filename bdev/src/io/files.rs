//! Whether a core serves files.

use super::Io;

impl Io {
    /// Some channel that is open is one to a file, or to a device that hands all on: the kernel begins its operations one after the
    /// other, on this thread. So they are not all handed over at once, and who makes many of them does well to look in between what
    /// has become of the first.
    #[inline]
    pub fn has_files(&self) -> bool {
        self.files > 0
    }

    /// Such a channel is opened.
    pub fn add_file(&mut self) {
        self.files += 1;
    }

    /// It is closed.
    ///
    /// # Panics
    /// If there is none.
    pub fn remove_file(&mut self) {
        self.files = self.files.checked_sub(1).expect("a channel is closed once");
    }
}
