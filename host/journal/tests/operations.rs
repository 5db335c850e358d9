//! The memory of operations over a restart.

use grace_journal::{Limits, Operations, Remembered, Writer};
use grace_model::command::{Command, Outcome};
use grace_model::event::{Event, What};
use grace_model::id::OpId;

#[test]
fn operations_are_remembered_over_a_restart_finished_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let command = Command::RestartProcess {
        process: "proxy".to_owned(),
    };
    let outcome = Outcome::Done { number: 7 };
    let (first, second) = (OpId::from("inc-1/1/a/0/0"), OpId::from("inc-1/1/b/0/0"));
    let mut writer = Writer::open(dir.path(), Limits::default()).unwrap();
    let steps = [
        What::OperationBegun {
            op: first.clone(),
            command: command.clone(),
        },
        What::OperationDone {
            op: first.clone(),
            outcome: outcome.clone(),
        },
        What::OperationBegun {
            op: second.clone(),
            command: command.clone(),
        },
    ];
    for what in steps {
        writer.append_durable(&Event { at: 1, what }).unwrap();
    }
    drop(writer);
    let operations = Operations::load(dir.path()).unwrap();
    assert_eq!(operations.get(&first), Some(&Remembered::Done(outcome)));
    assert_eq!(operations.unfinished(), [(second, command)]);
    assert_eq!(operations.get(&OpId::from("other")), None);
    assert!(
        Operations::load(&dir.path().join("absent"))
            .unwrap()
            .is_empty()
    );
}
