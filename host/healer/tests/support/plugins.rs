//! Detectors and actions written in Rust, behind the port that wasm is behind otherwise.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grace_model::command::StopMode;
use grace_model::plugin::{
    ActionCall, ActionInfo, Batch, Field, Finding, Observation, Observed, Param, ParamType,
    PluginError, Receipt, Risk, Severity, Value,
};
use grace_model::port::{CallFailure, DetectorView, HostAnswer, HostCall, HostPort, PluginHost};
use grace_model::status::PluginView;

type Judge = Arc<dyn Fn(&[u8], &Batch) -> Result<Observed, CallFailure> + Send + Sync>;
type Act =
    Arc<dyn Fn(&ActionCall, &mut dyn HostPort) -> Result<Receipt, CallFailure> + Send + Sync>;

type Undo = Arc<dyn Fn(&mut dyn HostPort) -> Result<(), PluginError> + Send + Sync>;

/// The plugins of a test.
#[derive(Default)]
pub struct FakePlugins {
    pub generation: AtomicU64,
    detectors: Mutex<Vec<DetectorView>>,
    judges: Mutex<BTreeMap<String, Judge>>,
    actions: Mutex<BTreeMap<String, (ActionInfo, Act)>>,
    undo: Mutex<Option<Undo>>,
    /// What was undone.
    pub undone: Mutex<Vec<String>>,
}

impl FakePlugins {
    pub fn detector(
        &self,
        name: &str,
        events: bool,
        metrics: bool,
        judge: impl Fn(&[u8], &Batch) -> Result<Observed, CallFailure> + Send + Sync + 'static,
    ) {
        let view = DetectorView {
            name: name.to_owned(),
            events,
            metrics,
        };
        self.detectors.lock().unwrap().push(view);
        self.judges
            .lock()
            .unwrap()
            .insert(name.to_owned(), Arc::new(judge));
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub fn action(
        &self,
        name: &str,
        undoable: bool,
        act: impl Fn(&ActionCall, &mut dyn HostPort) -> Result<Receipt, CallFailure>
        + Send
        + Sync
        + 'static,
    ) {
        let info = ActionInfo {
            name: name.to_owned(),
            summary: name.to_owned(),
            params: vec![Param {
                name: "target".to_owned(),
                kind: ParamType::Target,
                required: true,
                summary: "which".to_owned(),
            }],
            outputs: vec!["generation".to_owned()],
            risk: Risk::Low,
            undoable,
        };
        self.actions
            .lock()
            .unwrap()
            .insert(name.to_owned(), (info, Arc::new(act)));
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// How risky an action says it is.
    pub fn risk(&self, name: &str, risk: Risk) {
        self.actions.lock().unwrap().get_mut(name).unwrap().0.risk = risk;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// What every undo does.
    pub fn undoes(
        &self,
        undo: impl Fn(&mut dyn HostPort) -> Result<(), PluginError> + Send + Sync + 'static,
    ) {
        *self.undo.lock().unwrap() = Some(Arc::new(undo));
    }

    pub fn remove_actions(&self) {
        self.actions.lock().unwrap().clear();
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A detector of deaths and one of errors; `fleet.restart`, `probe.ready`, `probe.never`.
    pub fn usual(&self) {
        self.detector("crash", true, false, |_, batch| {
            Ok(findings(
                batch,
                |o| o.kind == "instance.exited",
                "instance-crash",
            ))
        });
        self.detector("errors", false, true, |_, batch| {
            let errs = |o: &Observation| o.kind == "instance.traffic" && number(o, "errors") > 0;
            Ok(findings(batch, errs, "error-rate"))
        });
        self.action("fleet.restart", true, |call, port| restart(call, port));
        self.action("probe.ready", false, |_, _| Ok(receipt(false)));
        self.action("probe.never", false, |_, _| {
            Err(CallFailure::Plugin(PluginError::Other(
                "still sick".to_owned(),
            )))
        });
    }
}

/// Restarts the target through the supervisor.
pub fn restart(call: &ActionCall, port: &mut dyn HostPort) -> Result<Receipt, CallFailure> {
    let id = call
        .params
        .iter()
        .find(|f| f.name == "target")
        .unwrap()
        .value
        .to_string();
    let reason = call.incident.clone();
    let answer = port.call(
        HostCall::Restart {
            id,
            mode: StopMode::Kill,
            reason,
        },
        Duration::from_secs(20),
    )?;
    let HostAnswer::Number { number } = answer else {
        panic!("another answer: {answer:?}")
    };
    Ok(Receipt {
        outputs: vec![Field::new("generation", number)],
        ..receipt(true)
    })
}

pub fn receipt(changed: bool) -> Receipt {
    Receipt {
        changed,
        summary: "done".to_owned(),
        outputs: Vec::new(),
        undo: vec![7],
    }
}

pub fn number(seen: &Observation, name: &str) -> i64 {
    match seen
        .fields
        .iter()
        .find(|f| f.name == name)
        .map(|f| &f.value)
    {
        Some(Value::Integer(number)) => *number,
        _ => 0,
    }
}

/// A finding for each observation that is as asked. The state counts them.
pub fn findings(batch: &Batch, wanted: impl Fn(&Observation) -> bool, kind: &str) -> Observed {
    let found = batch
        .observations
        .iter()
        .filter(|o| wanted(o))
        .map(|o| finding(kind, &o.target));
    Observed {
        state: Vec::new(),
        findings: found.collect(),
    }
}

pub fn finding(kind: &str, target: &str) -> Finding {
    Finding {
        kind: kind.to_owned(),
        target: target.to_owned(),
        severity: Severity::Major,
        confidence_permille: 1_000,
        summary: format!("{target} has {kind}"),
        cause: kind.to_owned(),
        evidence: Vec::new(),
    }
}

impl PluginHost for FakePlugins {
    fn list(&self) -> Vec<PluginView> {
        Vec::new()
    }
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
    fn detectors(&self) -> Vec<DetectorView> {
        self.detectors.lock().unwrap().clone()
    }
    fn observe(&self, name: &str, state: &[u8], batch: &Batch) -> Result<Observed, CallFailure> {
        let judge = Arc::clone(&self.judges.lock().unwrap()[name]);
        judge(state, batch)
    }
    fn actions(&self) -> Vec<ActionInfo> {
        self.actions
            .lock()
            .unwrap()
            .values()
            .map(|(info, _)| info.clone())
            .collect()
    }
    fn plan(&self, call: &ActionCall, _: Box<dyn HostPort>) -> Result<Vec<String>, CallFailure> {
        Ok(vec![format!("{} on {}", call.action, call.params[0].value)])
    }
    fn run(
        &self,
        call: &ActionCall,
        mut port: Box<dyn HostPort>,
        _: Duration,
    ) -> Result<Receipt, CallFailure> {
        // Not under the lock: an action may take its time while others run.
        let act = self
            .actions
            .lock()
            .unwrap()
            .get(&call.action)
            .map(|(_, act)| Arc::clone(act));
        match act {
            Some(act) => act(call, port.as_mut()),
            None => Err(CallFailure::NotCallable(call.action.clone())),
        }
    }
    fn undo(
        &self,
        action: &str,
        receipt: &Receipt,
        mut port: Box<dyn HostPort>,
        _: Duration,
    ) -> Result<(), CallFailure> {
        assert_eq!(receipt.undo, [7]);
        let undo = self.undo.lock().unwrap().clone();
        if let Some(undo) = undo {
            undo(port.as_mut())?;
        }
        self.undone.lock().unwrap().push(action.to_owned());
        Ok(())
    }
}
