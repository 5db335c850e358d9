//! How a process ended, as observations carry it: `signal:9`, `code:1`, `oom`, `unknown`.

use grace_plugin_sdk::prelude::*;

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// By a signal.
    Signal(u32),
    /// By itself.
    Code(i64),
    /// By the out-of-memory killer.
    Oom,
    /// Nobody could say.
    Unknown,
}

impl Exit {
    /// Reads it; what cannot be read is unknown.
    pub fn read(text: &str) -> Self {
        let number = |text: &str| text.parse().ok();
        match text.split_once(':') {
            Some(("signal", number)) => number.parse().map_or(Exit::Unknown, Exit::Signal),
            Some(("code", code)) => number(code).map_or(Exit::Unknown, Exit::Code),
            _ if text == "oom" => Exit::Oom,
            _ => Exit::Unknown,
        }
    }

    /// As it was read.
    pub fn text(&self) -> String {
        match self {
            Exit::Signal(signal) => format!("signal:{signal}"),
            Exit::Code(code) => format!("code:{code}"),
            Exit::Oom => "oom".to_owned(),
            Exit::Unknown => "unknown".to_owned(),
        }
    }

    /// The stable name of its class.
    pub fn class(&self) -> String {
        match self {
            Exit::Signal(signal) => format!("killed by {}", signal_name(*signal)),
            Exit::Code(code) => format!("exited with code {code}"),
            Exit::Oom => "killed by the out-of-memory killer".to_owned(),
            Exit::Unknown => "ended, nobody knows how".to_owned(),
        }
    }

    /// For a sentence: `shop-1 was killed by SIGKILL`.
    pub fn words(&self) -> String {
        match self {
            Exit::Signal(_) | Exit::Oom => format!("was {}", self.class()),
            Exit::Code(_) | Exit::Unknown => self.class(),
        }
    }
}

/// Names of the signals that end processes, by the numbers of Linux on x86-64 and ARM64.
fn signal_name(signal: u32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
