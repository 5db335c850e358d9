//! The API over a real socket, with views of a small made-up host.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grace_api::client::{Client, ClientError};
use grace_model::govern::{Approval, Given, Governance, GovernanceView, Mode, Moment, Order};
use grace_model::id::IncidentId;
use grace_model::incident::{Incident, IncidentState};
use grace_model::ipc::FleetStatus;
use grace_model::plugin::{ActionInfo, Finding, Severity};
use grace_model::port::{
    ArtifactView, HostViews, IncidentChanges, PlaybookRun, PlaybookView, Story,
};
use grace_model::status::{Kernel, PluginView};
use grace_model::usage::Measured;
use serde_json::{Value, json};

/// A host with incidents only. Its ledger is every change, numbered from 1.
#[derive(Default)]
struct Small {
    incidents: Mutex<Vec<Incident>>,
    ledger: Mutex<Vec<Incident>>,
    version: AtomicU64,
}

fn incident(id: &str, state: IncidentState) -> Incident {
    Incident {
        id: IncidentId::from(id),
        signature: "s".into(),
        state,
        target: "shop-1".into(),
        finding: Finding {
            kind: "crash".into(),
            target: "shop-1".into(),
            severity: Severity::Major,
            confidence_permille: 900,
            summary: "it died".into(),
            cause: "signal:9".into(),
            evidence: Vec::new(),
        },
        findings: 1,
        playbook: None,
        run: None,
        opened_at: 1,
        last_seen_at: 1,
        resolved_at: None,
        recurrences: 0,
    }
}

impl Small {
    fn put(&self, one: Incident) {
        let mut all = self.incidents.lock().unwrap();
        all.retain(|other| other.id != one.id);
        all.push(one.clone());
        self.ledger.lock().unwrap().push(one);
        self.version.fetch_add(1, Ordering::SeqCst);
    }
}

impl HostViews for Small {
    fn fleet(&self) -> Option<FleetStatus> {
        None
    }
    fn incidents(&self) -> Vec<Incident> {
        self.incidents.lock().unwrap().clone()
    }
    fn incidents_version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }
    fn incidents_at(&self) -> (u64, Vec<Incident>) {
        let length = self.ledger.lock().unwrap().len();
        (length as u64, self.incidents())
    }
    fn incident_changes(&self, after: u64) -> Option<IncidentChanges> {
        let all = self.ledger.lock().unwrap();
        if all.len() < usize::try_from(after).unwrap() {
            return None;
        }
        // One a part, so that parts are put together.
        let next = all.get(usize::try_from(after).unwrap());
        let changes: Vec<_> = next.iter().map(|one| (after + 1, (*one).clone())).collect();
        Some(IncidentChanges {
            seq: after + changes.len() as u64,
            changes,
        })
    }
    fn story(&self, id: &str) -> Option<Story> {
        let incident = self
            .incidents()
            .into_iter()
            .find(|one| one.id.as_str() == id)?;
        Some(Story {
            incident,
            entries: Vec::new(),
        })
    }
    fn playbooks(&self) -> Vec<PlaybookView> {
        Vec::new()
    }
    fn plugins(&self) -> Vec<PluginView> {
        Vec::new()
    }
    fn actions(&self) -> Vec<ActionInfo> {
        Vec::new()
    }
    fn kernels(&self) -> Vec<Kernel> {
        Vec::new()
    }
    fn measured(&self) -> Measured {
        Measured::default()
    }
    fn run_playbook(&self, id: &str, target: &str, dry: bool) -> Result<PlaybookRun, String> {
        match (id, dry) {
            ("known", true) => Ok(PlaybookRun::Plan {
                lines: vec![format!("restart {target}")],
            }),
            ("known", false) => Ok(PlaybookRun::Started {
                incident: "inc-9".into(),
            }),
            _ => Err(format!("there is no playbook {id:?}")),
        }
    }
    fn artifacts(&self) -> Result<Vec<ArtifactView>, String> {
        Ok(Vec::new())
    }
    fn snapshot_artifacts(&self, _: Option<&str>, _: &str) -> Result<Vec<ArtifactView>, String> {
        Err("no artifact is declared".to_owned())
    }
    fn governance(&self) -> GovernanceView {
        GovernanceView {
            mode: Mode::Heal,
            mode_by_command: false,
            freeze: None,
            freeze_left_ms: None,
            killed: None,
            rules: Governance::default(),
            actions_in_window: 0,
            locks: Vec::new(),
            pending: Vec::new(),
        }
    }
    fn approvals(&self) -> Vec<Approval> {
        Vec::new()
    }
    fn order(&self, order: &Order, by: &str, why: &str) -> Result<GovernanceView, String> {
        let given = Given {
            by: by.to_owned(),
            why: why.to_owned(),
            at: Moment {
                wall: 1,
                steady: 1,
                boot: String::new(),
            },
        };
        let killed = matches!(order, Order::KillSwitch { on: true }).then_some(given);
        Ok(GovernanceView {
            killed,
            ..self.governance()
        })
    }
    fn answer(&self, id: &str, _: bool, by: &str, _: &str) -> Result<Approval, String> {
        Err(format!("nothing is asked under {id:?}, {by}"))
    }
}

struct Served {
    _dir: tempfile::TempDir,
    socket: PathBuf,
    views: Arc<Small>,
    runtime: tokio::runtime::Runtime,
}

impl Served {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let views = Arc::new(Small::default());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let served = Self {
            _dir: dir,
            socket,
            views,
            runtime,
        };
        served.start();
        served
    }

    fn start(&self) -> tokio::task::JoinHandle<()> {
        let (socket, views) = (self.socket.clone(), self.views.clone());
        self.runtime.spawn(async move {
            let ended = grace_api::serve(&socket, views, Arc::default()).await;
            panic!("{ended:?}");
        })
    }

    fn client(&self) -> Client {
        Client::new(&self.socket, Duration::from_secs(20))
    }
}

#[test]
fn lists_are_json_objects_with_one_key() {
    let served = Served::new();
    served.views.put(incident("inc-1", IncidentState::Healing));
    let client = served.client();
    for what in ["incidents", "playbooks", "plugins", "actions", "kernels"] {
        let value: Value = client.get(&format!("/v1/{what}")).unwrap();
        assert!(value[what].is_array(), "{value}");
    }
    let incidents: Value = client.get("/v1/incidents").unwrap();
    assert_eq!(incidents["incidents"][0]["id"], "inc-1");
    assert_eq!(incidents["incidents"][0]["resolved_at"], Value::Null);
    let story: Story = client.get("/v1/incidents/inc-1").unwrap();
    assert_eq!(story.incident.id.as_str(), "inc-1");
}

#[test]
fn errors_are_json_with_a_remedy() {
    let served = Served::new();
    let client = Client::new(&served.socket, Duration::from_secs(20));
    let _up: Value = client.get("/v1").unwrap();
    let impatient = Client::new(&served.socket, Duration::ZERO);
    for (path, status) in [
        ("/v1/incidents/inc-77", 404),
        ("/v1/nothing", 404),
        ("/v1/status", 503),
    ] {
        match impatient.get::<Value>(path) {
            Err(ClientError::Refused {
                status: got,
                problem,
            }) => {
                assert_eq!(got, status, "{path}");
                assert!(
                    !problem.error.is_empty() && !problem.remedy.is_empty(),
                    "{problem:?}"
                );
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    for body in [json!({}), json!({"target": "a", "dryrun": true})] {
        let answer = impatient.post::<Value>("/v1/playbooks/known/run", &body);
        assert!(
            matches!(answer, Err(ClientError::Refused { status: 422, .. })),
            "{answer:?}"
        );
    }
    let wrong = impatient.post::<Value>("/v1/status", &json!({}));
    assert!(
        matches!(wrong, Err(ClientError::Refused { status: 405, .. })),
        "{wrong:?}"
    );
}

#[test]
fn a_playbook_is_run_or_planned_by_hand() {
    let served = Served::new();
    let client = served.client();
    let body = json!({"target": "shop-1", "dry_run": true});
    let plan: PlaybookRun = client.post("/v1/playbooks/known/run", &body).unwrap();
    assert_eq!(
        plan,
        PlaybookRun::Plan {
            lines: vec!["restart shop-1".into()]
        }
    );
    let body = json!({"target": "shop-1"});
    let run: PlaybookRun = client.post("/v1/playbooks/known/run", &body).unwrap();
    assert_eq!(
        run,
        PlaybookRun::Started {
            incident: "inc-9".into()
        }
    );
    let unknown = client.post::<Value>("/v1/playbooks/other/run", &body);
    assert!(
        matches!(unknown, Err(ClientError::Refused { status: 409, .. })),
        "{unknown:?}"
    );
}

#[test]
fn an_order_is_given_by_whom_the_socket_says_and_a_bad_one_is_refused_with_an_example() {
    let served = Served::new();
    let client = served.client();
    let order = json!({ "order": "kill-switch", "on": true, "why": "a test" });
    let done: GovernanceView = client.post("/v1/governance", &order).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&served.socket).unwrap());
    let given = done.killed.unwrap();
    assert_eq!(
        (given.by, given.why.as_str()),
        (format!("uid {uid}"), "a test")
    );
    let long = json!({ "order": "kill-switch", "on": true, "why": "x".repeat(501) });
    for (path, body, said) in [
        (
            "/v1/governance",
            json!({ "order": "heal-faster" }),
            "heal-faster",
        ),
        ("/v1/governance", long, "501 bytes"),
        (
            "/v1/approvals/apr-9",
            json!({ "approve": true, "by": "root" }),
            "by",
        ),
        ("/v1/approvals/apr-9", json!({ "approve": true }), "apr-9"),
    ] {
        let error = client.post::<Value>(path, &body).unwrap_err();
        assert!(error.to_string().contains(said), "{body}: {error}");
        assert!(!error.remedy().is_empty());
    }
}

#[test]
fn a_watcher_sees_what_is_open_and_then_every_change() {
    let served = Served::new();
    served.views.put(incident("inc-1", IncidentState::Resolved));
    served.views.put(incident("inc-2", IncidentState::Healing));
    let client = served.client();
    let _up: Value = client.get("/v1").unwrap();
    let mut seen = Vec::new();
    client
        .watch("/v1/incidents/watch", &mut |_, value| {
            seen.push(format!("{} {}", value["id"], value["state"]).replace('"', ""));
            match seen.len() {
                1 => served.views.put(incident("inc-2", IncidentState::Resolved)),
                2 => served.views.put(incident("inc-3", IncidentState::Open)),
                _ => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, ["inc-2 healing", "inc-2 resolved", "inc-3 open"]);
}

#[test]
fn who_was_away_asks_behind_the_last_number_and_is_told_every_change() {
    let served = Served::new();
    let client = served.client();
    let _up: Value = client.get("/v1").unwrap();
    let put = |states: &[IncidentState]| {
        for state in states {
            served.views.put(incident("inc-1", *state));
        }
    };
    let take = |path: &str, count: usize| {
        let mut seen = Vec::new();
        let mut last = None;
        client
            .watch(path, &mut |number, value| {
                last = number;
                seen.push(value["state"].as_str().unwrap_or_default().to_owned());
                if seen.len() == count {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        (last.unwrap(), seen)
    };
    use IncidentState as S;
    put(&[S::Open]);
    let (last, seen) = take("/v1/incidents/watch", 1);
    assert_eq!((last, seen), (1, vec!["open".to_owned()]));
    // All of it happens while nobody watches, and within no time.
    put(&[S::Diagnosing, S::Healing, S::Verifying, S::Resolved]);
    let (last, seen) = take(&format!("/v1/incidents/watch?after={last}"), 4);
    assert_eq!(seen, ["diagnosing", "healing", "verifying", "resolved"]);
    assert_eq!(last, 5);
    // A ledger that is shorter is another one: what is open is told anew.
    put(&[S::Open]);
    let (last, seen) = take("/v1/incidents/watch?after=77", 1);
    assert_eq!((last, seen), (6, vec!["open".to_owned()]));
    let wrong = client.watch("/v1/incidents/watch?after=x", &mut |_, _| {
        ControlFlow::Break(())
    });
    assert!(
        matches!(wrong, Err(ClientError::Refused { status: 400, .. })),
        "{wrong:?}"
    );
}

#[test]
fn a_question_waits_for_a_healer_that_is_being_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let client = Client::new(&socket, Duration::from_secs(20));
    let asker = std::thread::spawn(move || client.get::<Value>("/v1"));
    // The server comes after the question; if it came before, the test would pass all the same.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let path = socket.clone();
    runtime.spawn(async move {
        grace_api::serve(&path, Arc::new(Small::default()), Arc::default()).await
    });
    assert!(asker.join().unwrap().is_ok());
    let nobody = Client::new(Path::new("/nonexistent/api.sock"), Duration::ZERO);
    let error = nobody.get::<Value>("/v1").unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.remedy().contains("grace up"));
}

#[test]
fn curl_can_ask() {
    let served = Served::new();
    let _up: Value = served.client().get("/v1").unwrap();
    let Some(curl) = grace_needs::tool("curl_can_ask", "curl", "apt-get install curl") else {
        return;
    };
    let output = Command::new(curl)
        .args(["-sS", "--unix-socket"])
        .arg(&served.socket)
        .arg("http://grace/v1/incidents")
        .output()
        .unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value, json!({"incidents": []}));
}
