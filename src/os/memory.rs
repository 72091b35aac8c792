//! Memory that is no longer needed goes back to the system.

/// Gives freed memory back to the kernel.
///
/// glibc raises its threshold for separate mappings after the first large block is freed; from then on the 19 MiB of an argon2 run
/// come from the heap and may stay resident for as long as the process lives.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "malloc_trim has no safe name")]
pub(crate) fn give_back_freed() {
    // SAFETY: malloc_trim(3) takes any padding, is thread-safe, and touches only memory that is free already.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries give large blocks back when they are freed.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back_freed() {}
