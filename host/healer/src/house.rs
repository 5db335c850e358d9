//! Puts the healer together and keeps it running: opens the ledger, starts the kernels in
//! order, watches them, ends them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use grace_ledger::{Ledger, Opened};
use grace_model::config::Config;
use grace_model::layout::Layout;
use grace_model::port::{HostViews, PluginHost};

use crate::capsules::Maker;
use crate::clock::{Clock, MachineClock};
use crate::desk::Desk;
use crate::error::{HealerError, Result};
use crate::files::Files;
use crate::govern::Governor;
use crate::heal::Reach;
use crate::heal::crew::Crew;
use crate::heal::duty::Duty;
use crate::heal::rules::Timing;
use crate::heal::runner::Runner;
use crate::heal::shelf::Shelf;
use crate::judge::{Parts, Recognizer, Triggers};
use crate::kernel::{House, KernelFailure, Pulse, Spec};
use crate::reach::notify::LOG;
use crate::reach::supervisor::Supervisor;
use crate::record::{self, Record};
use crate::signal::watch;
use crate::views::Views;

/// Runs get this long to notice the end before the process leaves them to the next one.
const LEAVE: Duration = Duration::from_secs(2);
/// The watch over the kernels was itself stopped when it comes so late.
const LATE_MS: u64 = 2_000;
/// For so long after its start the fleet is looked at more often while somebody waits for it.
const BEGINNING_MS: u64 = 60_000;
/// Then so often.
const SOON_MS: u64 = 50;
/// Between two looks at questions that time or the end of an incident closes.
const QUESTIONS: Duration = Duration::from_millis(500);
/// Between two looks at playbook files and the catalogue of actions.
const SHELF: Duration = Duration::from_secs(1);

/// What tests and proofs set otherwise.
pub struct Options {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Waiting times.
    pub timing: Timing,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(MachineClock::new()),
            timing: Timing::default(),
        }
    }
}

/// A running healer.
pub struct Healer {
    clock: Arc<dyn Clock>,
    house: Arc<House>,
    views: Arc<Views>,
    crew: Arc<Crew>,
    desk: Arc<Desk>,
    stop: Arc<AtomicBool>,
    /// Why the ledger must be opened anew.
    damaged: Arc<OnceLock<String>>,
}

/// Starts the healer. `playbooks`: those inside the binary, name and text.
///
/// # Errors
/// When the ledger or the blobs cannot be opened, or a kernel cannot be started.
pub fn start(
    config: Config,
    layout: Layout,
    plugins: Arc<dyn PluginHost>,
    playbooks: &[(String, String)],
) -> Result<Healer> {
    let options = Options {
        timing: Timing::of(&config.healing),
        ..Options::default()
    };
    start_with(config, layout, plugins, playbooks, options)
}

/// As [`start`], with times of one's own.
///
/// # Errors
/// As [`start`].
pub fn start_with(
    config: Config,
    layout: Layout,
    plugins: Arc<dyn PluginHost>,
    playbooks: &[(String, String)],
    options: Options,
) -> Result<Healer> {
    let Options { clock, timing } = options;
    let (ledger, opened) = Ledger::open(&layout.ledger())?;
    let ledger = Arc::new(ledger);
    let desk = Arc::new(Desk::open(
        Arc::clone(&ledger),
        Arc::clone(&clock),
        config.healing.reopen_ms,
    )?);
    record::report(&desk, &opened)?;
    let files =
        Files::new(&config, &layout, Arc::clone(&ledger), Arc::clone(&clock)).map_err(|cause| {
            HealerError::File {
                path: layout.blobs(),
                cause,
                remedy: "give its directory to the user who runs grace",
            }
        })?;
    let rules = config.healing.governance.clone();
    let governor = Governor::open(rules, &ledger, Arc::clone(&clock))?;
    let supervisor = Supervisor::at(layout.supervisor_socket());
    let reach = Arc::new(Reach::new(
        &config,
        Arc::clone(&clock),
        Arc::clone(&desk),
        Arc::clone(&plugins),
        supervisor,
        files,
        governor,
    ));
    let builtin = if config.healing.builtin {
        playbooks
    } else {
        &[]
    };
    let mut channels: Vec<String> = config.notify.keys().cloned().collect();
    channels.push(LOG.to_owned());
    let dir = config.healing.dir.clone();
    let shelf = Arc::new(Shelf::open(builtin, dir, channels, plugins, &ledger)?);
    let stop = Arc::new(AtomicBool::new(false));
    let runner = Runner {
        reach: Arc::clone(&reach),
        shelf: Arc::clone(&shelf),
        stop: Arc::clone(&stop),
    };
    let crew = Arc::new(Crew::new(Arc::new(runner)));
    let house = Arc::new(House::new(Arc::clone(&clock)));

    // The kernel that picks up open incidents starts last; until then nobody needs the bell.
    let healer: Arc<OnceLock<Arc<Pulse>>> = Arc::new(OnceLock::new());
    let rung = Arc::clone(&healer);
    let bell: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        if let Some(pulse) = rung.get() {
            pulse.ring();
        }
    });
    let recognizer = Arc::new(Recognizer::new(Arc::clone(&desk)));
    let views = Arc::new(Views {
        reach: Arc::clone(&reach),
        shelf: Arc::clone(&shelf),
        crew: Arc::clone(&crew),
        house: Arc::clone(&house),
        bell: Arc::clone(&bell),
    });
    let built = Healer {
        clock,
        house,
        views,
        crew: Arc::clone(&crew),
        desk: Arc::clone(&desk),
        stop,
        damaged: Arc::new(OnceLock::new()),
    };

    let own_record = Record {
        desk: Arc::clone(&desk),
        clock: Arc::clone(&built.clock),
        timing,
        unseen: AtomicBool::new(matches!(opened, Opened::Since { .. })),
        damaged: Arc::clone(&built.damaged),
    };
    built.kernel("ledger", 2, &[], move |pulse| {
        own_record.live(pulse);
        Ok(())
    })?;
    let own_reach = Arc::clone(&reach);
    built.kernel("fleet-watch", 2, &[], move |pulse| {
        watch_fleet(pulse, &own_reach, timing.fleet_ms);
        Ok(())
    })?;
    let (own_reach, own_layout) = (Arc::clone(&reach), layout.clone());
    let sample_ms = config.healing.sample_ms;
    built.kernel("resources", 2, &["fleet-watch"], move |pulse| {
        watch::live(pulse, &own_reach, &own_layout, sample_ms);
        Ok(())
    })?;
    let (own_shelf, own_bell) = (Arc::clone(&shelf), Arc::clone(&bell));
    built.kernel("registry", 2, &[], move |pulse| {
        while !pulse.stopping() {
            if own_shelf.refresh() {
                pulse.worked(1);
                own_bell();
            }
            pulse.rest(SHELF);
        }
        Ok(())
    })?;
    let own_reach = Arc::clone(&reach);
    built.kernel("governance", 2, &["ledger"], move |pulse| {
        while !pulse.stopping() {
            let closed = own_reach.governor.clean_up(&own_reach.desk);
            pulse.worked(closed.map_err(|e| e.to_string())?);
            pulse.rest(QUESTIONS);
        }
        Ok(())
    })?;
    let own_recognizer = Arc::clone(&recognizer);
    built.kernel("recognizer", 2, &["ledger"], move |pulse| {
        own_recognizer.live(pulse);
        Ok(())
    })?;
    let mut maker = Maker::new(&config.services, &layout, Arc::clone(&built.clock));
    built.kernel("capsules", 3, &[], move |pulse| {
        maker.live(pulse);
        Ok(())
    })?;
    let parts = Parts {
        reach: Arc::clone(&reach),
        recognizer,
        layout,
        healing: config.healing.clone(),
        bell: Arc::clone(&bell),
    };
    built.kernel(
        "triggers",
        2,
        &["registry", "recognizer", "fleet-watch", "resources"],
        move |pulse| {
            Triggers::resume(&parts)
                .and_then(|triggers| triggers.live(pulse))
                .map_err(|e| e.to_string())
        },
    )?;
    let duty = Duty {
        reach,
        shelf,
        crew,
        timing,
        playbooks: config.healing.playbooks,
    };
    let pulse = built.kernel(
        "healer",
        2,
        &["ledger", "registry", "recognizer", "governance"],
        move |pulse| duty.live(pulse, &bell).map_err(|e| e.to_string()),
    )?;
    let _first = healer.set(pulse);
    Ok(built)
}

impl Healer {
    /// What the API shows.
    #[must_use]
    pub fn views(&self) -> Arc<dyn HostViews> {
        Arc::clone(&self.views) as Arc<dyn HostViews>
    }

    /// Starts a kernel of somebody else's in this process, such as `api`.
    ///
    /// # Errors
    /// When a kernel it depends on does not run, or the machine gives no thread.
    pub fn supervise(
        &self,
        spec: Spec,
        body: impl FnMut(&Pulse) -> std::result::Result<(), String> + Send + 'static,
    ) -> Result<Arc<Pulse>> {
        self.house.start(spec, body).map_err(HealerError::Kernel)
    }

    fn kernel(
        &self,
        name: &'static str,
        tier: u8,
        depends_on: &'static [&'static str],
        body: impl FnMut(&Pulse) -> std::result::Result<(), String> + Send + 'static,
    ) -> Result<Arc<Pulse>> {
        self.supervise(
            Spec {
                name,
                tier,
                depends_on,
            },
            body,
        )
    }

    /// Runs until `shutdown` says so, then ends every kernel. Runs of playbooks that are not
    /// over go on with the next start.
    ///
    /// # Errors
    /// When a kernel has failed for good: the process is to end, and its supervisor starts it
    /// again.
    pub fn run_until_shutdown(
        self,
        shutdown: impl Fn() -> bool,
    ) -> std::result::Result<(), KernelFailure> {
        let mut looked_ms = self.clock.steady_ms();
        let failure = loop {
            if shutdown() {
                break None;
            }
            let now_ms = self.clock.steady_ms();
            if now_ms.saturating_sub(looked_ms) > LATE_MS {
                self.house.forgive();
            }
            looked_ms = now_ms;
            if let Some(failure) = self.house.verdict() {
                break Some(failure);
            }
            if let Some(cause) = self.damaged.get() {
                break Some(KernelFailure::Damaged {
                    cause: cause.clone(),
                });
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        self.end();
        failure.map_or(Ok(()), Err)
    }

    fn end(&self) {
        self.stop.store(true, Ordering::Release);
        self.house.stop();
        self.crew.leave(LEAVE);
        // A clean end leaves one file. Somebody who reads just now costs nothing but that.
        if let Err(e) = self.desk.ledger().fold() {
            tracing::debug!(cause = %e, "the ledger's log stays beside it");
        }
    }
}

/// The kernel `fleet-watch`: asks the supervisor, and takes the first good copies of instances
/// that got ready. While a host begins it looks more often: `grace up` waits for those copies.
fn watch_fleet(pulse: &Pulse, reach: &Reach, every_ms: u64) {
    let clock = &reach.clock;
    let begun_ms = clock.steady_ms();
    while !pulse.stopping() {
        let mut awaited = false;
        if let Some(fleet) = reach.refresh_fleet() {
            pulse.worked(1);
            let guarded = reach.files.guard(&fleet.instances);
            for path in guarded.taken {
                tracing::info!(path, "the file is good: its first good copy was taken");
            }
            awaited = guarded.awaited;
        }
        let begins = clock.steady_ms().saturating_sub(begun_ms) < BEGINNING_MS;
        let rest_ms = if awaited && begins {
            SOON_MS.min(every_ms)
        } else {
            every_ms
        };
        pulse.rest(Duration::from_millis(rest_ms));
    }
}
