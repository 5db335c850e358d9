//! The way of one request: to an instance and back. This is the hot path; whatever goes wrong
//! is left to `second`.

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use grace_model::config::Protocol;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::answer::Refusal;
use crate::body::{OutBody, Store, UpBody, Upload};
use crate::class::Standing;
use crate::client::{Busy, Client};
use crate::head;
use crate::lane::{DialError, Lane, Run};
use crate::pick::{LocalService, Tried};
use crate::queue::Patience;
use crate::recorder::Asked;
use crate::second;
use crate::wire::Sender;

/// Bounds of the time between two looks at a client that is slow with its body.
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// An instance's answer, as far as its head.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) response: Response<Incoming>,
    pub(crate) run: Run,
    pub(crate) sender: Sender,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) client: Rc<Client>,
    pub(crate) service: Rc<LocalService>,
    pub(crate) started: Instant,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    /// Streams of gRPC may rest as long as they like.
    pub(crate) grpc: bool,
    /// Kept for a second try; none: there will be none once something was sent.
    pub(crate) spare: Option<HeaderMap>,
    pub(crate) store: Option<Rc<Store>>,
    pub(crate) upload: Option<Rc<Upload>>,
    pub(crate) tried: Tried,
    /// The second try was made or given up.
    pub(crate) spent: bool,
    /// Its class, and what comes before it.
    pub(crate) standing: Standing,
    /// How long it has waited for instances.
    pub(crate) queued: Patience,
    /// It, as it is recorded.
    pub(crate) asked: Option<Rc<Asked>>,
    trial: bool,
}

/// Answers one request. Never fails: what goes wrong is an answer too.
pub(crate) async fn forward(
    client: Rc<Client>,
    mut request: Request<Incoming>,
) -> Response<OutBody> {
    let (trusted, busy) = client.take();
    let service = client.service();
    let core = Rc::clone(&client.hub.core);
    let closing = core.shared.closing();
    let cells = core.shared.threads.get(core.thread);
    if let Some(cells) = cells {
        cells.requests.bump();
    }
    let grpc = client.is_stream() && head::is_grpc(request.headers());
    let mut answer = 'answer: {
        let refuse = |refusal: Refusal| {
            if let Some(cells) = cells {
                match refusal {
                    Refusal::Suspect => cells.suspects.bump(),
                    Refusal::NoInstance | Refusal::QueueFull => cells.no_instance.bump(),
                    Refusal::Shed => cells.shed.bump(),
                    Refusal::Unreachable | Refusal::BrokeOff | Refusal::TimedOut => {
                        cells.failed.bump();
                    }
                    _ => cells.refused.bump(),
                }
            }
            refusal.answer(service.cells.name.as_str(), grpc)
        };
        if !trusted {
            break 'answer refuse(Refusal::Ambiguous);
        }
        let asks = request.headers().contains_key(header::UPGRADE);
        let upgrade = asks.then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        let Some(head) = client.head.get() else {
            // Requests come on connections whose client is known.
            break 'answer refuse(Refusal::BadHost);
        };
        let upgrading = match head::make_ready(&mut parts, head) {
            Ok(upgrading) => upgrading,
            Err(refusal) => break 'answer refuse(refusal),
        };
        if service.front.protocol == Protocol::H2c {
            head::make_two(&mut parts);
        }
        service.cells.count(core.thread);
        let standing = service
            .classes
            .of(&parts.method, &parts.uri, &parts.headers);

        let again = service.settings.retry && head::idempotent(&parts.method);
        let mut call = Call {
            client: Rc::clone(&client),
            service: Rc::clone(&service),
            started: Instant::now(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            grpc,
            spare: again.then(|| parts.headers.clone()),
            store: None,
            upload: None,
            tried: Tried::default(),
            spent: false,
            queued: Patience::default(),
            standing,
            asked: service
                .tape
                .as_ref()
                .map(|tape| Asked::new(&parts, tape.rules())),
            trial: again && parts.method == Method::GET,
        };
        let body = call.take_body(body);
        match call.run(Request::from_parts(parts, body)).await {
            Ok(got) if got.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                match upgrade {
                    Some(upgrade) if upgrading => tunnel(got, upgrade),
                    // Nobody asked it to.
                    _ => refuse(Refusal::BrokeOff),
                }
            }
            Ok(got) => {
                if !client.is_stream()
                    && let Some(upload) = call.upload.take().filter(|upload| !upload.ended())
                {
                    busy.keep_late(upload);
                }
                let stall = call.stall();
                let mut answer = pass(got, busy, stall);
                if asks {
                    // The scanner stopped at the upgrade that did not come.
                    close(&mut answer);
                }
                answer
            }
            Err(refusal) => {
                if refusal == Refusal::Shed {
                    service.cells.count_shed(core.thread, standing.class);
                }
                refuse(refusal)
            }
        }
    };
    if closing {
        close(&mut answer);
    }
    answer
}

impl Call {
    fn take_body(&mut self, body: Incoming) -> UpBody {
        if body.is_end_stream() {
            return UpBody::Empty;
        }
        let upload = Rc::new(Upload::begin(self.started, self.asked.clone()));
        self.upload = Some(Rc::clone(&upload));
        self.trial = false;
        if self.spare.is_none() {
            return UpBody::Through(body, upload);
        }
        let store = Rc::new(Store::new(
            body,
            self.service.settings.retry_body_bytes,
            upload,
        ));
        let reader = store.reader();
        self.store = Some(store);
        UpBody::Kept(reader)
    }

    /// Gives the request to instances until it was sent to one, and waits for its answer.
    async fn run(&mut self, mut request: Request<UpBody>) -> Result<Got, Refusal> {
        loop {
            let mut run = match self.begin() {
                Some(run) => run,
                None => Box::pin(self.wait_for_instance()).await?,
            };
            let (mut sender, fresh) = match run.lane.checkout(self.started) {
                Some(sender) => (sender, false),
                None => match Box::pin(run.lane.dial(self.connect_timeout())).await {
                    Ok(sender) => (sender, true),
                    Err(error) => {
                        self.refused(run, &error)?;
                        continue;
                    }
                },
            };
            self.note(&mut run);
            let due = run.started + Duration::from_millis(self.service.settings.suspect_ms);
            let mut work = pin!(sender.try_send_request(request));
            match run.lane.core.wheel.until(work.as_mut(), due).await {
                Some(Ok(response)) => {
                    let status = response.status();
                    run.answered(status.is_server_error(), self.latest(), Instant::now());
                    let got = Got {
                        response,
                        run,
                        sender,
                    };
                    if status.is_server_error() && self.may_try_again() && second::worth(status) {
                        return Ok(Box::pin(second::after_error(self, got)).await);
                    }
                    return Ok(got);
                }
                Some(Err(mut error)) => match error.take_message() {
                    // An idle connection that its instance had closed: nothing was sent.
                    Some(back) if !fresh => {
                        run.void();
                        request = back;
                    }
                    Some(back) => {
                        self.refused(run, &DialError::Http(error.into_error()))?;
                        request = back;
                    }
                    None => return Box::pin(second::after_break(self, run)).await,
                },
                None => return Box::pin(second::while_slow(self, run, work, sender)).await,
            }
        }
    }

    /// Records that an instance is given the request.
    pub(crate) fn note(&self, run: &mut Run) {
        if let (Some(asked), Some(tape)) = (&self.asked, &self.service.tape) {
            run.taken = tape.take(asked, run.lane.end.id, Instant::now());
        }
    }

    fn begin(&mut self) -> Option<Run> {
        if std::mem::take(&mut self.trial)
            && let Some(lane) = self.service.trial(self.started)
        {
            return Some(Run::begin(lane, self.started, true));
        }
        if self.service.line.is_before(self.standing.rank) {
            return None;
        }
        let lane = self.pick()?;
        Some(Run::begin(lane, self.started, false))
    }

    pub(crate) fn pick(&self) -> Option<Rc<Lane>> {
        let rank = Some(self.standing.rank);
        if self.tried.is_empty() {
            self.service.pick(rank)
        } else {
            self.service.other(&self.tried, rank)
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.service.settings.connect_timeout_ms)
    }

    /// When the latest part of the request came from the client.
    pub(crate) fn latest(&self) -> Instant {
        self.upload
            .as_ref()
            .map_or(self.started, |upload| upload.latest())
    }

    /// Whether the client has sent all of it, so that it is the instance that is waited for.
    pub(crate) fn is_uploaded(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| upload.ended())
    }

    /// How long its instance may stand still, where many requests share a connection.
    fn stall(&self) -> Option<Duration> {
        let limit = self.service.settings.stall_timeout_ms;
        let looks = self.client.is_stream() && !self.grpc && limit > 0;
        looks.then(|| Duration::from_millis(limit))
    }

    /// Whether it is the client that is waited for.
    pub(crate) fn waits_for_client(&self) -> bool {
        let upload = self.upload.as_ref();
        upload.is_some_and(|upload| !upload.ended() && upload.is_waiting())
    }

    /// Whether the client sends less of its body than it must.
    pub(crate) fn is_uploading_slowly(&self, now: Instant) -> bool {
        let upload = self.upload.as_ref();
        !self.grpc
            && upload.is_some_and(|it| !it.ended() && it.is_too_slow(&self.service.settings, now))
    }

    /// Time between two looks at a client that is waited for.
    pub(crate) fn upload_look(&self) -> Duration {
        let limit = Duration::from_millis(self.service.settings.upload_timeout_ms);
        (limit / 4).clamp(LOOK_MIN, LOOK_MAX)
    }

    /// When the answer must have begun; while the body is on its way, when the instance must
    /// have taken more of it.
    pub(crate) fn answer_due(&self) -> Instant {
        let settings = &self.service.settings;
        let limit = if self.is_uploaded() || settings.stall_timeout_ms == 0 {
            settings.answer_timeout_ms
        } else {
            settings.answer_timeout_ms.min(settings.stall_timeout_ms)
        };
        self.latest() + Duration::from_millis(limit)
    }

    /// Nothing could be sent to an instance: on to the next, or the end.
    fn refused(&mut self, mut run: Run, error: &DialError) -> Result<(), Refusal> {
        self.tried.add(run.lane.end.id);
        tracing::debug!(instance = %run.lane.end.subject.instance, %error, "not reached");
        if matches!(error, DialError::Fenced) {
            run.void();
        } else {
            run.unreachable();
        }
        if self.service.settings.retry && !self.tried.full() {
            Ok(())
        } else {
            Err(Refusal::Unreachable)
        }
    }
}

/// An instance's answer as the client gets it.
fn pass(got: Got, busy: Busy, stall: Option<Duration>) -> Response<OutBody> {
    let Got {
        response,
        run,
        sender,
    } = got;
    if let Some(taken) = &run.taken {
        taken.answer(
            response.status().as_u16(),
            response.headers(),
            Instant::now(),
        );
    }
    let (mut parts, body) = response.into_parts();
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    head::strip(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, OutBody::passed(body, run, sender, busy, stall))
}

/// Joins the two ends of an upgraded connection.
fn tunnel(got: Got, upgrade: OnUpgrade) -> Response<OutBody> {
    let Got {
        mut response,
        run,
        sender,
    } = got;
    run.lane.cells(|cells| cells.tunnels.bump());
    let theirs = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    let protocol = parts.headers.remove(header::UPGRADE);
    head::strip(&mut parts.headers);
    parts
        .headers
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        parts.headers.insert(header::UPGRADE, protocol);
    }
    parts.version = Version::HTTP_11;
    drop(sender);
    let lane = Rc::clone(&run.lane);
    lane.drive(async move {
        let _in_flight = run;
        let (ours, theirs) = tokio::join!(upgrade, theirs);
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
            // However it ends, both ends are closed with it.
            let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
        }
    });
    Response::from_parts(parts, OutBody::Empty)
}

fn close(answer: &mut Response<OutBody>) {
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}
