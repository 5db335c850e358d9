//! What the files that this process makes are closed to.

/// Sets the mask for new files; gives the old one. Children inherit it.
pub fn set(mask: u32) -> u32 {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask)).bits()
}
