//! What a component without `std` must bring itself: a heap, a way to stop, and the
//! allocation function of the canonical ABI. It must not know any world.
//!
//! These are placed by the export macros into the plugin's own crate, not here: a plugin that
//! uses `std` links this crate too, and brings its own.

#[cfg(target_family = "wasm")]
pub use dlmalloc::GlobalDlmalloc as Heap;

/// Logs why and traps. Uses no heap: the heap may be what is used up.
#[cfg(target_family = "wasm")]
pub fn stop(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::fmt::Write;

    let mut line = Line {
        bytes: [0; 512],
        len: 0,
    };
    // Writing to a `Line` cannot fail: what does not fit is cut.
    let _ = write!(line, "{info}");
    let bytes = line.bytes.get(..line.len).unwrap_or_default();
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes
            .get(..error.valid_up_to())
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or("panicked"),
    };
    use crate::bindings::action::grace::plugin::log;
    log::emit(log::Level::Error, text);
    core::arch::wasm32::unreachable()
}

#[cfg(target_family = "wasm")]
struct Line {
    bytes: [u8; 512],
    len: usize,
}

#[cfg(target_family = "wasm")]
impl core::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Memory for what the host hands over. It must come from the same heap that frees it, which
/// is why the C library's own will not do.
///
/// # Safety
/// `old` is null with `old_size` 0, or was given by this function with `old_size` and `align`;
/// `align` is a power of two. The canonical ABI calls it so.
#[cfg(target_family = "wasm")]
#[allow(unsafe_code)]
pub unsafe fn reallocate(old: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
    use alloc::alloc::{Layout, alloc, realloc};

    if new_size == 0 {
        return core::ptr::without_provenance_mut(align);
    }
    let given = if old_size == 0 {
        match Layout::from_size_align(new_size, align) {
            // SAFETY: the size is not 0.
            Ok(layout) => unsafe { alloc(layout) },
            Err(_) => core::ptr::null_mut(),
        }
    } else {
        match Layout::from_size_align(old_size, align) {
            // SAFETY: by the contract above `old` has this layout; the new size is not 0.
            Ok(layout) => unsafe { realloc(old, layout, new_size) },
            Err(_) => core::ptr::null_mut(),
        }
    };
    if given.is_null() {
        core::arch::wasm32::unreachable()
    }
    given
}

/// Heap, panic handler and `cabi_realloc` of a component without `std`.
#[doc(hidden)]
#[macro_export]
macro_rules! __runtime {
    () => {
        #[cfg(target_family = "wasm")]
        #[global_allocator]
        static GRACE_HEAP: $crate::runtime::Heap = $crate::runtime::Heap;

        #[cfg(target_family = "wasm")]
        #[panic_handler]
        fn grace_panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::runtime::stop(info)
        }

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            #[unsafe(no_mangle)]
            unsafe extern "C" fn cabi_realloc(
                old: *mut u8,
                old_size: usize,
                align: usize,
                new_size: usize,
            ) -> *mut u8 {
                // SAFETY: the canonical ABI keeps the contract of `reallocate`.
                unsafe { $crate::runtime::reallocate(old, old_size, align, new_size) }
            }

            // memcpy, memcmp and the like.
            #[link(name = "c")]
            unsafe extern "C" {}
        };
    };
}
