//! SIGINT, SIGTERM and SIGHUP as something to ask for.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::problem::{OrProblem, Problem};

/// Signals that mean: end.
#[derive(Debug)]
pub struct Signals {
    heard: Receiver<()>,
}

impl Signals {
    /// From now on they no longer end this process.
    pub fn new() -> Result<Self, Problem> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .or_problem("cannot wait for signals", "")?;
        let guard = runtime.enter();
        let mut kinds = Vec::new();
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ] {
            kinds.push(signal(kind).or_problem("cannot wait for signals", "")?);
        }
        drop(guard);
        // One that waits is enough: they all mean the same, and more of them mean nothing more.
        let (tell, heard) = sync_channel(1);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let [interrupt, terminate, hangup] = kinds.as_mut_slice() else {
                        return;
                    };
                    loop {
                        tokio::select! {
                            _ = interrupt.recv() => {}
                            _ = terminate.recv() => {}
                            _ = hangup.recv() => {}
                        }
                        let _ = tell.try_send(());
                    }
                });
            })
            .or_problem("cannot wait for signals", "")?;
        Ok(Self { heard })
    }

    /// Waits up to `longest`; true when one came.
    pub fn wait(&self, longest: Duration) -> bool {
        match self.heard.recv_timeout(longest) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(longest);
                false
            }
        }
    }
}
