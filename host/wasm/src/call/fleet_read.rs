//! Interface `fleet-read`: instances as they are.

use grace_model::port::{HostAnswer, HostCall};

use crate::bindings::fleet_read::{Host, Instance};
use crate::call::Answered;
use crate::convert::host::instance_out;
use crate::state::CallState;

impl Host for CallState {
    fn get_instance(&mut self, id: String) -> Answered<Instance> {
        self.ask(HostCall::GetInstance { id }, |answer| match answer {
            HostAnswer::Instance { instance } => Some(instance_out(instance)),
            _ => None,
        })
    }

    fn list_instances(&mut self, service: String) -> Answered<Vec<Instance>> {
        self.ask(HostCall::ListInstances { service }, |answer| match answer {
            HostAnswer::Instances { instances } => {
                Some(instances.into_iter().map(instance_out).collect())
            }
            _ => None,
        })
    }
}
