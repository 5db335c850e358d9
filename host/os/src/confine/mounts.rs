//! Mounts of a child's own: a private `/tmp`, what is read-only, what alone is writable.

#![allow(unsafe_code, reason = "mounts between fork and exec have no safe form")]

use std::ffi::CString;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::ptr;

use super::{Confinement, OwnTmp, c_path};

/// The directories that a private `/tmp` stands for.
const TMP: [&str; 2] = ["/tmp", "/var/tmp"];

/// From `linux/mount.h`.
const MOUNT_ATTR_RDONLY: u64 = 1;
const OPEN_TREE_CLONE: libc::c_uint = 1;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;

/// `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// What is mounted, in this order.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    any: bool,
    /// `/proc` shows the namespace's own processes.
    processes: bool,
    tmp: Option<Tmp>,
    /// Writable beneath a root that is not.
    writable: Option<Vec<CString>>,
    read_only: Vec<CString>,
}

#[derive(Debug)]
struct Tmp {
    /// The first is the file system, the others show it too.
    at: Vec<CString>,
    options: CString,
    keep: Vec<Keep>,
}

/// Something below `/tmp` that stays.
#[derive(Debug)]
struct Keep {
    path: CString,
    /// What lies above it, from the top.
    above: Vec<CString>,
    is_dir: bool,
    tree: RawFd,
}

impl Mounts {
    pub(super) fn prepare(of: &Confinement) -> Result<Self, PathBuf> {
        let all = |paths: &[PathBuf]| paths.iter().map(|path| c_path(path)).collect();
        Ok(Self {
            any: of.own_mounts(),
            processes: of.own_processes,
            tmp: of.own_tmp.as_ref().map(Tmp::prepare).transpose()?,
            writable: of.writable.as_deref().map(all).transpose()?,
            read_only: all(&of.read_only)?,
        })
    }

    /// # Safety
    /// Only in a child right after fork, in a mount namespace of its own.
    pub(super) unsafe fn make(&mut self) -> bool {
        if !self.any {
            return true;
        }
        // SAFETY: all pointers are to strings laid out before the fork, or null where the kernel
        // takes null.
        unsafe {
            // What the machine mounts later is seen here, and nothing of ours there.
            if libc::mount(
                ptr::null(),
                c"/".as_ptr(),
                ptr::null(),
                libc::MS_REC | libc::MS_SLAVE,
                ptr::null(),
            ) < 0
            {
                return false;
            }
            if let Some(tmp) = &mut self.tmp
                && !tmp.make()
            {
                return false;
            }
            if let Some(writable) = &self.writable {
                // Each a mount of its own first, so that the root's change can be undone for it.
                let own = writable.iter().all(|path| bind(path));
                if !own || !set_read_only(c"/", true) {
                    return false;
                }
                if !writable.iter().all(|path| set_read_only(path, false)) {
                    return false;
                }
                if let Some(tmp) = &self.tmp
                    && !tmp.at.iter().all(|path| set_read_only(path, false))
                {
                    return false;
                }
            }
            if self.processes
                && libc::mount(
                    c"proc".as_ptr(),
                    c"/proc".as_ptr(),
                    c"proc".as_ptr(),
                    libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
                    ptr::null(),
                ) < 0
            {
                return false;
            }
            self.read_only
                .iter()
                .all(|path| bind(path) && set_read_only(path, true))
        }
    }
}

impl Tmp {
    fn prepare(own: &OwnTmp) -> Result<Self, PathBuf> {
        let at: Vec<&str> = TMP
            .into_iter()
            // One of them may be a link to the other.
            .filter(|dir| Path::new(dir).is_dir() && !Path::new(dir).is_symlink())
            .collect();
        let mut keep = Vec::new();
        for path in &own.keep {
            let Some(top) = at.iter().map(Path::new).find(|top| path.starts_with(top)) else {
                continue;
            };
            let mut above: Vec<&Path> = path
                .ancestors()
                .skip(1)
                .take_while(|dir| *dir != top)
                .collect();
            above.reverse();
            keep.push(Keep {
                path: c_path(path)?,
                above: above.into_iter().map(c_path).collect::<Result<_, _>>()?,
                is_dir: path.is_dir(),
                tree: -1,
            });
        }
        let options = format!("size={},mode=1777", own.bytes);
        Ok(Self {
            at: at
                .iter()
                .map(|dir| c_path(Path::new(dir)))
                .collect::<Result<_, _>>()?,
            options: CString::new(options).unwrap_or_default(),
            keep,
        })
    }

    /// # Safety
    /// As [`Mounts::make`].
    unsafe fn make(&mut self) -> bool {
        // SAFETY: as of `Mounts::make`; a descriptor that was opened here is closed here.
        unsafe {
            for keep in &mut self.keep {
                let tree = libc::syscall(
                    libc::SYS_open_tree,
                    libc::AT_FDCWD,
                    keep.path.as_ptr(),
                    OPEN_TREE_CLONE | AT_RECURSIVE | libc::O_CLOEXEC as libc::c_uint,
                );
                let Ok(tree) = RawFd::try_from(tree) else {
                    return false;
                };
                if tree < 0 {
                    return false;
                }
                keep.tree = tree;
            }
            let mut first: Option<&CString> = None;
            for at in &self.at {
                let done = match first {
                    None => libc::mount(
                        c"tmpfs".as_ptr(),
                        at.as_ptr(),
                        c"tmpfs".as_ptr(),
                        libc::MS_NOSUID | libc::MS_NODEV,
                        self.options.as_ptr().cast(),
                    ),
                    Some(first) => libc::mount(
                        first.as_ptr(),
                        at.as_ptr(),
                        ptr::null(),
                        libc::MS_BIND,
                        ptr::null(),
                    ),
                };
                if done < 0 {
                    return false;
                }
                first.get_or_insert(at);
            }
            self.keep.iter().all(|keep| keep.put_back())
        }
    }
}

impl Keep {
    /// # Safety
    /// As [`Mounts::make`].
    unsafe fn put_back(&self) -> bool {
        // SAFETY: as of `Mounts::make`.
        unsafe {
            for dir in &self.above {
                // It may be there because of another one; what matters fails below.
                libc::mkdir(dir.as_ptr(), 0o755);
            }
            if self.is_dir {
                libc::mkdir(self.path.as_ptr(), 0o755);
            } else {
                let file = libc::open(
                    self.path.as_ptr(),
                    libc::O_CREAT | libc::O_WRONLY | libc::O_NONBLOCK | libc::O_CLOEXEC,
                    0o644,
                );
                if file >= 0 {
                    libc::close(file);
                }
            }
            let done = libc::syscall(
                libc::SYS_move_mount,
                self.tree,
                c"".as_ptr(),
                libc::AT_FDCWD,
                self.path.as_ptr(),
                MOVE_MOUNT_F_EMPTY_PATH,
            );
            let errno = *libc::__errno_location();
            libc::close(self.tree);
            *libc::__errno_location() = errno;
            done == 0
        }
    }
}

/// # Safety
/// As [`Mounts::make`].
unsafe fn bind(path: &CString) -> bool {
    // SAFETY: as of `Mounts::make`.
    unsafe {
        libc::mount(
            path.as_ptr(),
            path.as_ptr(),
            ptr::null(),
            libc::MS_BIND | libc::MS_REC,
            ptr::null(),
        ) == 0
    }
}

/// # Safety
/// As [`Mounts::make`].
unsafe fn set_read_only(path: &std::ffi::CStr, on: bool) -> bool {
    let attributes = MountAttr {
        set: if on { MOUNT_ATTR_RDONLY } else { 0 },
        clear: if on { 0 } else { MOUNT_ATTR_RDONLY },
        propagation: 0,
        userns: 0,
    };
    // SAFETY: the kernel reads as much of the structure as it is told.
    unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttr>(),
        ) == 0
    }
}
