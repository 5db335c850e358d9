//! Declared files on a real disk, with a real ledger.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use grace_model::config::{ConfigFile, Healing, Plugins, Proxy};
use grace_model::id::{IncidentId, OpId};
use grace_model::instance::{InstanceView, Role, State};
use grace_model::plugin::Value;

use super::*;
use crate::clock::MachineClock;

struct Place {
    dir: tempfile::TempDir,
    files: Files,
    ledger: Arc<Ledger>,
    path: PathBuf,
}

const ID: &str = "shop-1";

fn id() -> InstanceId {
    InstanceId::from(ID)
}

fn cause(op: &str) -> Cause {
    Cause {
        op: OpId::from(op),
        incident: Some(IncidentId::from("inc-1")),
    }
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("state"));
    fs::create_dir_all(layout.data(&id())).unwrap();
    let mut service = Service::new("shop".into(), vec!["true".into()], dir.path().to_owned());
    service.config.push(ConfigFile {
        path: "{data}/shop.json".to_owned(),
        seed: None,
        format: ConfigFormat::Json,
    });
    let config = Config {
        state_dir: layout.root().to_owned(),
        services: vec![service],
        plugins: Plugins::default(),
        healing: Healing::default(),
        proxy: Proxy::default(),
        notify: std::collections::BTreeMap::new(),
        metrics: Default::default(),
    };
    let ledger = Arc::new(Ledger::open(&layout.ledger()).unwrap().0);
    let clock = Arc::new(MachineClock::new());
    let files = Files::new(&config, &layout, Arc::clone(&ledger), clock).unwrap();
    let path = layout.data(&id()).join("shop.json");
    fs::write(&path, br#"{"good": true}"#).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    Place {
        dir,
        files,
        ledger,
        path,
    }
}

impl Place {
    fn name(&self) -> String {
        self.path.display().to_string()
    }
    fn kinds(&self) -> Vec<String> {
        self.ledger
            .entries_after(0, 100)
            .unwrap()
            .into_iter()
            .map(|e| e.kind)
            .collect()
    }
}

fn ready() -> InstanceView {
    InstanceView {
        id: id(),
        service: "shop".into(),
        pid: 1,
        port: 0,
        role: Role::Active,
        state: State::Ready,
        weight: 1,
        generation: 1,
        uptime_ms: 1,
        restarts: 0,
        reason: None,
    }
}

#[test]
fn the_first_good_copy_is_taken_when_the_instance_is_ready_and_not_of_a_broken_file() {
    let place = place();
    fs::write(&place.path, "{broken").unwrap();
    let seen = place.files.sample(&[ready()]);
    assert!(seen.baselines.is_empty());
    let of = |name: &str| {
        seen.observations[0]
            .fields
            .iter()
            .find(|f| f.name == name)
            .unwrap()
            .value
            .clone()
    };
    assert_eq!(of("valid"), Value::Flag(false));
    assert_eq!(of("good_hash"), Value::from(""));

    fs::write(&place.path, r#"{"good": 1}"#).unwrap();
    let starting = InstanceView {
        state: State::Starting,
        ..ready()
    };
    assert!(place.files.sample(&[starting]).baselines.is_empty());
    assert_eq!(place.files.sample(&[ready()]).baselines, [place.name()]);
    assert_eq!(place.kinds(), ["config-baseline"]);
    assert!(
        place.files.sample(&[ready()]).baselines.is_empty(),
        "only the first"
    );
}

#[test]
fn a_change_is_told_at_once_and_again_while_it_lasts_but_a_good_file_is_not() {
    let place = place();
    assert_eq!(place.files.sample(&[ready()]).observations.len(), 1);
    assert!(
        place.files.sample(&[ready()]).observations.is_empty(),
        "nothing new"
    );
    fs::write(&place.path, "{").unwrap();
    for _ in 0..3 {
        let seen = place.files.sample(&[ready()]).observations;
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].kind, "config.file");
        crate::signal::table::fits_its_row(&seen[0]);
    }
    fs::remove_file(&place.path).unwrap();
    let seen = place.files.sample(&[ready()]).observations;
    let problem = seen[0].fields.iter().find(|f| f.name == "problem").unwrap();
    assert_eq!(problem.value, Value::from("the file is missing"));
}

#[test]
fn the_last_good_copy_is_put_back_once_an_operation_and_what_it_replaced_is_kept() {
    let place = place();
    let good = place.files.snapshot(&id(), &place.name(), None).unwrap();
    fs::write(&place.path, "{bad").unwrap();
    let bad = hash_of(b"{bad");
    let before = fs::metadata(&place.path).unwrap();
    let replaced = place
        .files
        .restore(&id(), &place.name(), &cause("op-1"))
        .unwrap();
    assert_eq!(replaced.as_deref(), Some(bad.as_str()));
    assert_eq!(fs::read(&place.path).unwrap(), br#"{"good": true}"#);
    let after = fs::metadata(&place.path).unwrap();
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    assert_eq!(after.mode() & 0o777, 0o640);

    // The same operation again, after somebody changed the file: no second effect.
    fs::write(&place.path, "{worse").unwrap();
    let again = place
        .files
        .restore(&id(), &place.name(), &cause("op-1"))
        .unwrap();
    assert_eq!(again, replaced);
    assert_eq!(fs::read(&place.path).unwrap(), b"{worse");

    place
        .files
        .put_back(&id(), &place.name(), &bad, &cause("op-2"))
        .unwrap();
    assert_eq!(fs::read(&place.path).unwrap(), b"{bad");
    let view = place.files.views(&id()).unwrap().remove(0);
    assert_eq!((view.hash, view.good_hash), (bad, good));
    assert!(view.problem.is_some());
    assert_eq!(
        place.kinds(),
        ["config-snapshot", "config-written", "config-written"]
    );
    let left: Vec<_> = fs::read_dir(place.path.parent().unwrap())
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "nothing is left beside it");
}

#[test]
fn a_good_file_is_left_alone_and_a_missing_one_is_made_again() {
    let place = place();
    place.files.snapshot(&id(), &place.name(), None).unwrap();
    assert_eq!(
        place
            .files
            .restore(&id(), &place.name(), &cause("op-1"))
            .unwrap(),
        None
    );
    fs::remove_file(&place.path).unwrap();
    assert!(
        place
            .files
            .restore(&id(), &place.name(), &cause("op-2"))
            .unwrap()
            .is_some()
    );
    assert_eq!(fs::metadata(&place.path).unwrap().mode() & 0o777, 0o640);
}

#[test]
fn an_operation_that_a_crash_cut_off_is_finished_with_its_first_answer() {
    let place = place();
    place.files.snapshot(&id(), &place.name(), None).unwrap();
    let bad = place.files.blobs.keep(b"{bad").unwrap();
    // As a crash after the rename and before the completion leaves it.
    let intent = serde_json::json!({
        "wanted": hash_of(br#"{"good": true}"#), "replaced": bad, "done": false });
    place
        .ledger
        .transaction::<_, grace_ledger::LedgerError>(|tx| tx.put("op:op-1", &intent))
        .unwrap();
    let answer = place
        .files
        .restore(&id(), &place.name(), &cause("op-1"))
        .unwrap();
    assert_eq!(answer, Some(bad));
    assert_eq!(fs::read(&place.path).unwrap(), br#"{"good": true}"#);
}

#[test]
fn only_declared_files_can_be_named_and_links_of_an_instance_lead_nowhere() {
    let place = place();
    let secret = place.dir.path().join("secret.json");
    fs::write(&secret, r#"{"secret": 1}"#).unwrap();
    let error = place
        .files
        .read(&id(), &secret.display().to_string())
        .unwrap_err();
    assert!(matches!(error, PluginError::NotApplicable(_)), "{error}");

    place.files.snapshot(&id(), &place.name(), None).unwrap();
    fs::remove_file(&place.path).unwrap();
    symlink(&secret, &place.path).unwrap();
    assert!(place.files.read(&id(), &place.name()).is_err());
    assert!(place.files.snapshot(&id(), &place.name(), None).is_err());
    assert!(
        place
            .files
            .restore(&id(), &place.name(), &cause("op-1"))
            .is_err()
    );
    assert_eq!(fs::read(&secret).unwrap(), br#"{"secret": 1}"#);
}

#[test]
fn a_broken_file_never_becomes_the_good_copy() {
    let place = place();
    fs::write(&place.path, "{").unwrap();
    let error = place
        .files
        .snapshot(&id(), &place.name(), None)
        .unwrap_err();
    assert!(matches!(error, PluginError::InvalidInput(_)), "{error}");
    let error = place
        .files
        .restore(&id(), &place.name(), &cause("op-1"))
        .unwrap_err();
    assert!(matches!(error, PluginError::NotApplicable(_)), "{error}");
}

#[test]
fn a_file_that_became_a_link_to_itself_is_told_with_the_next_look() {
    let place = place();
    let view = ready();
    let look = || place.files.sample(std::slice::from_ref(&view)).observations;
    let problem = |seen: &grace_model::plugin::Observation| {
        let found = seen.fields.iter().find(|field| field.name == "problem");
        found.map(|field| field.value.to_string()).unwrap()
    };
    assert_eq!(problem(&look()[0]), "");
    // The same file, but its name now leads there through a link.
    let data = place.path.parent().unwrap();
    let away = place.dir.path().join("away");
    fs::create_dir(&away).unwrap();
    fs::rename(&place.path, away.join("shop.json")).unwrap();
    symlink(away.join("shop.json"), data.join("shop.json")).unwrap();
    let seen = look();
    assert!(problem(&seen[0]).contains("symbolic link"), "{seen:?}");
}

#[test]
fn an_artifact_is_right_by_its_snapshot_alone_and_is_put_back_by_its_hash() {
    let mut place = place();
    let model = place.dir.path().join("model.bin");
    let declared = ConfigFile {
        path: model.display().to_string(),
        seed: None,
        format: ConfigFormat::Artifact,
    };
    place.files.services[0].config.push(declared);
    let (shop, two) = (
        InstanceId::from("shop"),
        [
            ready(),
            InstanceView {
                id: "shop-2".into(),
                ..ready()
            },
        ],
    );
    let problem = |place: &Place| place.files.artifacts(&two).unwrap()[0].problem.clone();
    fs::write(&model, [0xff, 1]).unwrap();
    // A ready instance makes no snapshot of it: only a person does.
    assert_eq!(place.files.sample(&two).baselines, [place.name()]);
    assert!(!place.files.guard(&two).awaited);
    assert!(problem(&place).unwrap().contains("never snapshotted"));
    assert!(place.files.snapshot_artifacts(Some("other"), &two).is_err());
    let taken = place.files.snapshot_artifacts(Some("shop"), &two).unwrap();
    assert_eq!((taken.len(), taken[0].target.as_str()), (1, "shop"));
    assert_eq!(problem(&place), None);
    fs::write(&model, [0xff, 2]).unwrap();
    assert!(problem(&place).unwrap().contains("not those"));
    let seen: Vec<_> = place
        .files
        .sample(&two)
        .observations
        .into_iter()
        .filter(|o| o.kind == "artifact.file")
        .collect();
    assert_eq!(
        (seen.len(), seen[0].target.as_str()),
        (1, "shop"),
        "once for the service"
    );
    crate::signal::table::fits_its_row(&seen[0]);
    let name = model.display().to_string();
    let replaced = place
        .files
        .restore(&shop, &name, &cause("op-9"))
        .unwrap()
        .unwrap();
    assert_eq!(fs::read(&model).unwrap(), [0xff, 1]);
    place
        .files
        .put_back(&shop, &name, &replaced, &cause("op-10"))
        .unwrap();
    assert_eq!(fs::read(&model).unwrap(), [0xff, 2]);
    fs::remove_file(&model).unwrap();
    assert_eq!(problem(&place).unwrap(), "the file is missing");
    place.files.restore(&shop, &name, &cause("op-11")).unwrap();
    assert_eq!(problem(&place), None);
}
