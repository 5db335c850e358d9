//! Calls the actions of a pack as the host does: parameters checked against `describe` first,
//! and `plan` must have changed nothing.

use super::World;
use super::fake;
use crate::action::{ActionPack, Call, ParamType, Receipt};
use crate::{Field, PluginError, Result, Value};

/// A host with one pack.
pub struct FakeHost(());

impl FakeHost {
    /// An empty world whose clock says 1,000,000.
    #[must_use]
    pub fn start() -> Self {
        fake::reset();
        fake::world(|world| world.now = 1_000_000);
        Self(())
    }

    /// Looks at or changes the world.
    pub fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        fake::world(look)
    }

    /// What was changed so far, a line a call.
    #[must_use]
    pub fn effects(&self) -> Vec<String> {
        fake::world(|world| world.effects.clone())
    }

    /// Runs an action.
    ///
    /// # Errors
    /// The parameters do not fit `describe`, or what the action says.
    pub fn run<P: ActionPack>(&self, action: &str, params: &[(&str, Value)]) -> Result<Receipt> {
        let call = call(action, params);
        check::<P>(&call)?;
        P::run(&call)
    }

    /// Plans an action.
    ///
    /// # Errors
    /// As [`FakeHost::run`]; and it is an error to have changed anything.
    pub fn plan<P: ActionPack>(
        &self,
        action: &str,
        params: &[(&str, Value)],
    ) -> Result<Vec<String>> {
        let before = self.effects();
        let call = call(action, params);
        check::<P>(&call)?;
        let lines = P::plan(&call)?;
        if self.effects() != before {
            return Err(PluginError::Other(format!(
                "plan of {action} changed something"
            )));
        }
        Ok(lines)
    }

    /// Takes back what a receipt says.
    ///
    /// # Errors
    /// What the action says.
    pub fn undo<P: ActionPack>(&self, action: &str, receipt: &Receipt) -> Result<()> {
        P::undo(action, receipt)
    }
}

fn call(action: &str, params: &[(&str, Value)]) -> Call {
    let params = params
        .iter()
        .map(|(name, value)| Field {
            name: (*name).to_owned(),
            value: value.clone(),
        })
        .collect();
    Call {
        action: action.into(),
        params,
        incident: "inc-1".into(),
    }
}

fn check<P: ActionPack>(call: &Call) -> Result<()> {
    let invalid = |text: String| Err(PluginError::InvalidInput(text));
    let actions = P::describe();
    let Some(info) = actions.iter().find(|info| info.name == call.action) else {
        return invalid(format!("describe has no action {:?}", call.action));
    };
    for field in &call.params {
        let Some(param) = info.params.iter().find(|param| param.name == field.name) else {
            return invalid(format!("{} takes no parameter {:?}", info.name, field.name));
        };
        let fits = match param.kind {
            ParamType::Text | ParamType::Target => matches!(field.value, Value::Text(_)),
            ParamType::Integer | ParamType::Duration => matches!(field.value, Value::Integer(_)),
            ParamType::Flag => matches!(field.value, Value::Flag(_)),
        };
        if !fits {
            return invalid(format!(
                "{}: {} must be of type {:?}",
                info.name, field.name, param.kind
            ));
        }
    }
    for param in info.params.iter().filter(|param| param.required) {
        if !call.params.iter().any(|field| field.name == param.name) {
            return invalid(format!(
                "{} needs the parameter {:?}",
                info.name, param.name
            ));
        }
    }
    Ok(())
}
