//! Memory of this process.

/// Gives what was freed back to the system. The allocator keeps it otherwise, for a next time
/// that may never come: after compiling, some tens of MiB. No effect without glibc.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` takes no pointer and locks the allocator's own structures.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_env = "gnu")]
    fn resident_kib() -> u64 {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn freed_memory_goes_back_to_the_system() {
        let kept: Vec<Vec<u8>> = (0..16_384).map(|_| vec![1; 2_048]).collect();
        // Something at the end keeps the allocator from giving back by itself.
        let last = vec![1_u8; 2_048];
        let full = resident_kib();
        drop(kept);
        super::give_back();
        let left = resident_kib();
        assert!(full > left + 16_384, "{full} KiB, then {left} KiB");
        drop(last);
    }
}
