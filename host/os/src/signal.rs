//! The signals that Grace sends.

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGHUP.
    Hangup,
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGABRT.
    Abort,
    /// SIGKILL.
    Kill,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGTERM.
    Terminate,
    /// SIGCONT.
    Continue,
    /// SIGSTOP.
    Stop,
    /// SIGSEGV.
    Segmentation,
    /// SIGBUS.
    Bus,
    /// SIGILL.
    Illegal,
    /// SIGFPE.
    Arithmetic,
}

impl Signal {
    /// Its number here.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Signal::Hangup => libc::SIGHUP,
            Signal::Interrupt => libc::SIGINT,
            Signal::Quit => libc::SIGQUIT,
            Signal::Abort => libc::SIGABRT,
            Signal::Kill => libc::SIGKILL,
            Signal::User1 => libc::SIGUSR1,
            Signal::User2 => libc::SIGUSR2,
            Signal::Terminate => libc::SIGTERM,
            Signal::Continue => libc::SIGCONT,
            Signal::Stop => libc::SIGSTOP,
            Signal::Segmentation => libc::SIGSEGV,
            Signal::Bus => libc::SIGBUS,
            Signal::Illegal => libc::SIGILL,
            Signal::Arithmetic => libc::SIGFPE,
        }
    }

    pub(crate) fn raw(self) -> rustix::process::Signal {
        use rustix::process::Signal as Raw;
        match self {
            Signal::Hangup => Raw::HUP,
            Signal::Interrupt => Raw::INT,
            Signal::Quit => Raw::QUIT,
            Signal::Abort => Raw::ABORT,
            Signal::Kill => Raw::KILL,
            Signal::User1 => Raw::USR1,
            Signal::User2 => Raw::USR2,
            Signal::Terminate => Raw::TERM,
            Signal::Continue => Raw::CONT,
            Signal::Stop => Raw::STOP,
            Signal::Segmentation => Raw::SEGV,
            Signal::Bus => Raw::BUS,
            Signal::Illegal => Raw::ILL,
            Signal::Arithmetic => Raw::FPE,
        }
    }
}
