//! What a call does not do: map memory of its own, or link.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use grace_model::plugin::{ActionCall, PluginError};
use grace_model::port::{HostAnswer, HostCall, HostPort, PluginHost};
use grace_wasm::Registry;

use crate::guests::{SLEEP, action, finder};
use crate::world::{DETECTOR, Yard, patiently, seen};

/// Looks at the pool while a call waits for it.
struct Looks {
    registry: Arc<Registry>,
    seen: Arc<Mutex<Vec<Option<u64>>>>,
}

impl HostPort for Looks {
    fn call(&mut self, _call: HostCall, _budget: Duration) -> Result<HostAnswer, PluginError> {
        let instances = self.registry.figures().instances;
        self.seen.lock().expect("not poisoned").push(instances);
        Ok(HostAnswer::Done)
    }
}

#[test]
fn an_instance_is_taken_from_the_pool_for_the_length_of_its_call() {
    let yard = Yard::new();
    let nap = action(
        "nap1",
        SLEEP,
        "(call $sleep (i32.const 1) (i32.const 5000)) (i32.const 1024)",
        "",
    );
    yard.put(
        "nap",
        &nap,
        "api = \"0.1\"\nworld = \"action\"\nwants = [\"clock\"]\n",
    );
    yard.grants("nap = [\"clock\"]\n");
    let registry = yard.start();
    assert!(registry.figures().pooled);
    assert_eq!(registry.figures().instances, Some(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let port = Looks {
        registry: Arc::clone(&registry),
        seen: Arc::clone(&seen),
    };
    let call = ActionCall {
        action: "nap1.do".to_owned(),
        params: Vec::new(),
        incident: "inc-1".to_owned(),
    };
    let ran = registry.run(&call, Box::new(port), Duration::from_secs(20));
    assert!(ran.is_ok(), "{ran:?}");
    assert_eq!(*seen.lock().expect("not poisoned"), [Some(1)]);
    assert_eq!(registry.figures().instances, Some(0), "and given back");
}

#[test]
fn a_plugin_is_linked_once_when_it_is_loaded_and_in_no_call() {
    let yard = Yard::new();
    yard.put("one", &finder("version1", 1), DETECTOR);
    let registry = yard.start();
    assert_eq!(registry.figures().linked, 1);
    for _ in 0..20 {
        assert!(patiently(|| registry.observe("one", &[], &seen())).is_ok());
    }
    assert_eq!(registry.figures().linked, 1);
    yard.put("one", &finder("version2", 1), DETECTOR);
    registry.rescan();
    assert!(patiently(|| registry.observe("one", &[], &seen())).is_ok());
    assert_eq!(registry.figures().linked, 2);
}
