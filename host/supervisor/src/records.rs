//! What instances say of themselves, and what the kernel says of those that are not our
//! children: notifications, heartbeats, states.

use grace_model::config::Ready;
use grace_model::event::{ProcessState, What};
use grace_model::id::InstanceId;
use grace_model::instance::State;
use grace_os::leftovers::MARKER;
use grace_os::notify::Notification;
use grace_os::process;
use grace_plan::restart::Event;

use crate::core::Core;
use crate::slot::marker;

impl Core {
    /// A message on an instance's notify socket.
    pub(crate) fn notified(&mut self, id: &InstanceId, what: &Notification) {
        let now = Core::now();
        let host = self.host.clone();
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let generation = slot.machine.generation();
        let Some(running) = &mut slot.running else {
            return;
        };
        let own = running.process.pid == what.pid
            || process::environ_value(what.pid, MARKER)
                .is_some_and(|value| value == marker(&host, id, generation));
        if !own {
            tracing::warn!(instance = %id, pid = what.pid, "a notification of a stranger");
            return;
        }
        if what.is_heartbeat() {
            if running.late_told.take().is_some() {
                self.events
                    .push_back((id.clone(), Event::HeartbeatLate(false)));
            }
            running.beat_at = Some(now);
        }
        if slot.service.ready != Ready::Notify {
            return;
        }
        if what.is_ready() {
            running.beat_at.get_or_insert(now);
            let event = Event::Health {
                generation,
                ok: true,
                reason: String::new(),
            };
            self.events.push_back((id.clone(), event));
        } else if let Some(status) = what.get("STATUS")
            && slot.machine.state() == State::Starting
        {
            let event = Event::Health {
                generation,
                ok: false,
                reason: status.to_owned(),
            };
            self.events.push_back((id.clone(), event));
        }
    }

    /// Looks at states that nobody tells, and at heartbeats.
    pub(crate) fn look_at_instances(&mut self, now: u64) {
        let ids: Vec<InstanceId> = self.slots.keys().cloned().collect();
        for id in ids {
            let Some(slot) = self.slots.get(&id) else {
                continue;
            };
            let Some(running) = &slot.running else {
                continue;
            };
            let stopped = running.stopped_since.is_some();
            // The kernel tells of own children once, at the change; the rest is asked.
            if !running.own || stopped {
                let state = process::state(&running.process);
                self.process_state(&id, state, now);
            }
            if !stopped {
                self.look_at_heartbeat(&id, now);
            }
        }
    }

    fn look_at_heartbeat(&mut self, id: &InstanceId, now: u64) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(limit_ms) = slot.service.heartbeat_ms else {
            return;
        };
        let (subject, state) = (slot.subject(), slot.machine.state());
        let interval = slot.service.probe_interval_ms;
        let Some(running) = &mut slot.running else {
            return;
        };
        if !matches!(state, State::Ready | State::Degraded | State::Quarantined) {
            running.beat_at = running.beat_at.map(|_| now);
            return;
        }
        let since = *running.beat_at.get_or_insert(now);
        let age_ms = now.saturating_sub(since);
        if age_ms <= limit_ms {
            return;
        }
        let first = running.late_told.is_none();
        let due = running
            .late_told
            .is_none_or(|told| now.saturating_sub(told) >= interval);
        if due {
            running.late_told = Some(now);
            self.record(What::Heartbeat {
                subject,
                age_ms,
                limit_ms,
            });
        }
        if first {
            self.events
                .push_back((id.clone(), Event::HeartbeatLate(true)));
        }
    }

    /// A verdict of the proxy.
    pub(crate) fn probed(&mut self, id: &InstanceId, generation: u64, ok: bool, reason: String) {
        if ok {
            self.note_fresh(id, generation);
        }
        if let Some(slot) = self.slots.get(id)
            && matches!(slot.service.ready, Ready::Http(_) | Ready::Tcp)
        {
            self.events.push_back((
                id.clone(),
                Event::Health {
                    generation,
                    ok,
                    reason,
                },
            ));
        }
    }

    /// Good health was told anew.
    fn note_fresh(&mut self, id: &InstanceId, generation: u64) {
        self.note_fleet(id, |number| grace_plan::fleet::Event::Fresh {
            number,
            generation,
        });
    }

    /// Whether the kernel says that a process of Grace is stopped.
    pub(crate) fn is_stopped(process: &grace_model::instance::ProcessId) -> bool {
        process::state(process) == ProcessState::Stopped
    }
}
