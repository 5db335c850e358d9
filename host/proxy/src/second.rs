//! The second try of a request, by the rule of design section 7: it is idempotent, its whole
//! body is kept, no byte of an answer has gone out, it is its first second try, and the budget
//! allows. After a death the cause decides. There is never a third.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use grace_model::event::ProcessState;
use http::{Request, StatusCode};

use crate::answer::Refusal;
use crate::body::UpBody;
use crate::fate::{self, Fate};
use crate::forward::{Call, Got};
use crate::lane::{DialError, Run};
use crate::routes::Report;
use crate::wire::{Sender, Sent};

/// Time between two looks at the process of an instance that keeps a request waiting.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What came of a second try.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "made once for each second try and taken apart at once"
)]
enum Second {
    /// An answer.
    Answer(Got),
    /// It was not made: no sibling, no budget, no body.
    NotMade,
    /// It was made and failed.
    Failed(Refusal),
}

/// Whether a server error may be the instance's own, so that a sibling might do better.
pub(crate) fn worth(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

impl Call {
    /// Whether a second try is possible by all that is known without waiting.
    pub(crate) fn may_try_again(&self) -> bool {
        self.spare.is_some()
            && !self.spent
            && self.service.settings.retry
            && !self.upload.as_ref().is_some_and(|upload| upload.failed())
    }

    fn rebuild(&self) -> Option<Request<UpBody>> {
        let body = self
            .store
            .as_ref()
            .map_or(UpBody::Empty, |it| UpBody::Kept(it.reader()));
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.spare.clone()?;
        Some(request)
    }

    /// Tries on another instance. `patient`: waits a while for one.
    async fn try_again(&mut self, patient: bool, hedge: bool) -> Second {
        if let Some(store) = self.store.clone() {
            let patience = Duration::from_millis(self.service.settings.upload_timeout_ms);
            let due = Instant::now() + patience.max(LOOK_AGAIN);
            let wheel = Rc::clone(&self.client.hub.core.wheel);
            if wheel.until(pin!(store.whole()), due).await != Some(true) {
                return Second::NotMade;
            }
        }
        loop {
            self.service = self.client.service();
            let now = Instant::now();
            let (run, waited) = match self.service.other(&self.tried, Some(self.standing.rank)) {
                Some(lane) => (Run::begin(lane, now, false), false),
                None if patient => match self.wait_for_instance().await {
                    Ok(run) => (run, true),
                    Err(_) => return Second::NotMade,
                },
                None => return Second::NotMade,
            };
            // What waited until there was an instance again is bounded by the queue: without the
            // second try the restart of an only instance costs every request that was on it.
            let allowed = if waited {
                self.count_second();
                true
            } else {
                self.spend(now, hedge)
            };
            if !allowed {
                let mut run = run;
                run.void();
                return Second::NotMade;
            }
            match self.send_again(run).await {
                Some(second) => return second,
                // Nothing was sent: the next one.
                None if self.tried.full() => return Second::Failed(Refusal::Unreachable),
                None => {}
            }
        }
    }

    /// Counts this request's one second try, which needs no budget.
    fn count_second(&mut self) {
        let core = &self.client.hub.core;
        if !std::mem::replace(&mut self.spent, true)
            && let Some(cells) = core.shared.threads.get(core.thread)
        {
            cells.second_tries.bump();
        }
    }

    /// Takes this request's one second try from the budget; true when it has been taken.
    fn spend(&mut self, now: Instant, hedge: bool) -> bool {
        if self.spent {
            return true;
        }
        let core = &self.client.hub.core;
        let allowed = self
            .service
            .cells
            .spend(self.service.settings.retry_percent, now);
        if let Some(cells) = core.shared.threads.get(core.thread) {
            if allowed {
                cells.second_tries.bump();
            } else {
                cells.over_budget.bump();
            }
            if allowed && hedge {
                cells.hedges.bump();
            }
        }
        self.spent = true;
        allowed
    }

    /// Sends it to an instance by a new connection, so that none that was just closed loses it.
    /// None: nothing was sent.
    async fn send_again(&mut self, mut run: Run) -> Option<Second> {
        let refuse = |call: &mut Self, mut run: Run, error: &DialError| {
            call.tried.add(run.lane.end.id);
            if matches!(error, DialError::Fenced) {
                run.void()
            } else {
                run.unreachable()
            }
        };
        let mut sender = match run.lane.dial(self.connect_timeout()).await {
            Ok(sender) => sender,
            Err(error) => {
                refuse(self, run, &error);
                return None;
            }
        };
        let Some(request) = self.rebuild() else {
            run.void();
            return Some(Second::NotMade);
        };
        self.note(&mut run);
        let mut work = pin!(sender.try_send_request(request));
        let wheel = Rc::clone(&run.lane.core.wheel);
        let suspect = run.started + Duration::from_millis(self.service.settings.suspect_ms);
        let mut sent = wheel.until(work.as_mut(), suspect).await;
        if sent.is_none() {
            notice_stop(&run);
            sent = wheel.until(work.as_mut(), self.answer_due()).await;
        }
        match sent {
            Some(Ok(response)) => {
                run.answered(
                    response.status().is_server_error(),
                    self.latest(),
                    Instant::now(),
                );
                Some(Second::Answer(Got {
                    response,
                    run,
                    sender,
                }))
            }
            Some(Err(mut error)) => {
                if error.take_message().is_some() {
                    refuse(self, run, &DialError::Http(error.into_error()));
                    return None;
                }
                let fate = fate::of_broken(&run.lane.end, &run.lane.core.shared).await;
                self.tried.add(run.lane.end.id);
                Some(Second::Failed(self.charge(&mut run, fate)))
            }
            None => {
                run.unanswered(true);
                Some(Second::Failed(Refusal::TimedOut))
            }
        }
    }

    /// Books a broken try by what became of its instance.
    fn charge(&self, run: &mut Run, fate: Fate) -> Refusal {
        run.unanswered(fate == Fate::Alive);
        if let Some(taken) = &run.taken {
            taken.broke();
        }
        if fate != Fate::Own {
            return Refusal::BrokeOff;
        }
        let request = format!("{} {}", self.method, self.uri.path());
        // A full channel costs a line in a list that is cut at sixteen anyway.
        let _ = run.lane.core.reports.try_send(Report::Suspect {
            end: Arc::clone(&run.lane.end),
            request,
        });
        Refusal::Suspect
    }
}

/// An idempotent request was answered with a server error: one sibling may do better.
pub(crate) async fn after_error(call: &mut Call, got: Got) -> Got {
    call.tried.add(got.run.lane.end.id);
    if let Some(taken) = &got.run.taken {
        // The client may never see it.
        let head = &got.response;
        taken.answer(head.status().as_u16(), head.headers(), Instant::now());
        taken.ended();
    }
    match call.try_again(false, false).await {
        Second::Answer(other) if !other.response.status().is_server_error() => other,
        _ => got,
    }
}

/// The connection broke before any byte of an answer, and something may have been sent.
pub(crate) async fn after_break(call: &mut Call, mut run: Run) -> Result<Got, Refusal> {
    if call.upload.as_ref().is_some_and(|upload| upload.failed()) {
        run.void();
        return Err(Refusal::BadBody);
    }
    let end = Arc::clone(&run.lane.end);
    call.tried.add(end.id);
    let fate = fate::of_broken(&end, &run.lane.core.shared).await;
    let refusal = call.charge(&mut run, fate);
    drop(run);
    if fate == Fate::Own || !call.may_try_again() {
        return Err(refusal);
    }
    match call.try_again(true, false).await {
        Second::Answer(got) => Ok(got),
        Second::NotMade => Err(refusal),
        Second::Failed(refusal) => Err(refusal),
    }
}

/// No first byte for a while: is the process stopped, does it hang, how long is enough?
pub(crate) async fn while_slow<F: Future<Output = Sent>>(
    call: &mut Call,
    mut run: Run,
    mut work: Pin<&mut F>,
    sender: Sender,
) -> Result<Got, Refusal> {
    let wheel = Rc::clone(&run.lane.core.wheel);
    let patience = Duration::from_millis(call.service.settings.hedge_ms);
    loop {
        let now = Instant::now();
        if call.is_uploading_slowly(now) {
            run.unanswered(false);
            return Err(Refusal::SlowBody);
        }
        if now >= call.answer_due() && !call.waits_for_client() {
            // It has the whole request, or does not take the rest of it.
            run.unanswered(true);
            return Err(Refusal::TimedOut);
        }
        let state = notice_stop(&run);
        let stopped = state == ProcessState::Stopped;
        let hanging = stopped || now >= call.latest() + patience;
        if hanging && call.is_uploaded() && call.may_try_again() {
            call.tried.add(run.lane.end.id);
            match race(call, work.as_mut(), !stopped).await {
                Raced::First(sent, second) => {
                    return match (sent, second) {
                        (Ok(response), _) => {
                            run.answered(
                                response.status().is_server_error(),
                                call.latest(),
                                Instant::now(),
                            );
                            Ok(Got {
                                response,
                                run,
                                sender,
                            })
                        }
                        (Err(_), Some(Second::Answer(got))) => {
                            run.unanswered(true);
                            Ok(got)
                        }
                        (Err(_), _) => after_break(call, run).await,
                    };
                }
                Raced::Second(Second::Answer(got)) => {
                    if stopped {
                        // From outside, which says nothing against it.
                        run.unanswered(false);
                    } else {
                        run.outrun(Instant::now());
                    }
                    return Ok(got);
                }
                Raced::Second(_) => call.spent = true,
            }
        }
        let now = Instant::now();
        let hedge_at = call.latest() + patience;
        let next = if now < hedge_at {
            hedge_at
        } else {
            now + LOOK_AGAIN
        };
        let next = if call.waits_for_client() {
            next.min(now + call.upload_look())
        } else {
            next.min(call.answer_due())
        };
        match wheel.until(work.as_mut(), next).await {
            Some(Ok(response)) => {
                run.answered(
                    response.status().is_server_error(),
                    call.latest(),
                    Instant::now(),
                );
                return Ok(Got {
                    response,
                    run,
                    sender,
                });
            }
            Some(Err(_)) => return after_break(call, run).await,
            // With an inherited socket a connection may outlive the process it waits for.
            None if state == ProcessState::Gone => return after_break(call, run).await,
            None => {}
        }
    }
}

/// Which of two tries had an end first.
#[allow(
    clippy::large_enum_variant,
    reason = "made once for each hedge and taken apart at once"
)]
enum Raced {
    /// The first; when it broke, with what came of the second.
    First(Sent, Option<Second>),
    /// The second.
    Second(Second),
}

async fn race<F: Future<Output = Sent>>(
    call: &mut Call,
    mut first: Pin<&mut F>,
    hedge: bool,
) -> Raced {
    let mut second = pin!(call.try_again(!hedge, hedge));
    let raced = poll_fn(|cx| {
        if let Poll::Ready(sent) = first.as_mut().poll(cx) {
            return Poll::Ready(Raced::First(sent, None));
        }
        second.as_mut().poll(cx).map(Raced::Second)
    })
    .await;
    match raced {
        Raced::First(Err(error), _) => {
            let second = second.await;
            Raced::First(Err(error), Some(second))
        }
        raced => raced,
    }
}

/// The state of the run's process; a stop is noted at once, for all threads.
fn notice_stop(run: &Run) -> ProcessState {
    let end = &run.lane.end;
    let state = fate::look(end);
    if state == ProcessState::Stopped && end.mark_stopped() {
        run.lane.core.shared.bump();
        let _ = run.lane.core.reports.try_send(Report::Stopped {
            end: Arc::clone(end),
        });
    }
    state
}
