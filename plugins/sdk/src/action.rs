//! Action packs: describe, plan, run, undo. It must not know playbooks.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::action::exports::grace::plugin::act::{
    ActionInfo, Call, Param, ParamType, Receipt, Risk,
};

use crate::{Field, PluginError, Result, Value};

/// A pack of actions: `pack.verb`.
pub trait ActionPack {
    /// The actions of this pack. Pure.
    fn describe() -> Vec<ActionInfo>;

    /// What `run` would do, a line each. Changes nothing.
    ///
    /// # Errors
    /// Why it could not be done, as far as that can be told beforehand.
    fn plan(call: &Call) -> Result<Vec<String>>;

    /// Does it. The host may make the same call again after a crash.
    ///
    /// # Errors
    /// Why it was not done.
    fn run(call: &Call) -> Result<Receipt>;

    /// Takes back what the receipt says was done. May be called again, too.
    ///
    /// # Errors
    /// Why it could not be taken back.
    fn undo(action: &str, receipt: &Receipt) -> Result<()>;
}

/// An action that takes nothing, gives nothing and can not be undone; add what differs.
#[must_use]
pub fn action(name: &str, summary: &str, risk: Risk) -> ActionInfo {
    ActionInfo {
        name: name.into(),
        summary: summary.into(),
        params: Vec::new(),
        outputs: Vec::new(),
        risk,
        undoable: false,
    }
}

/// A parameter that must be given.
#[must_use]
pub fn required(name: &str, kind: ParamType, summary: &str) -> Param {
    Param {
        name: name.into(),
        kind,
        required: true,
        summary: summary.into(),
    }
}

/// A parameter that may be left out.
#[must_use]
pub fn optional(name: &str, kind: ParamType, summary: &str) -> Param {
    Param {
        name: name.into(),
        kind,
        required: false,
        summary: summary.into(),
    }
}

impl ActionInfo {
    /// With these parameters.
    #[must_use]
    pub fn taking(mut self, params: impl IntoIterator<Item = Param>) -> Self {
        self.params.extend(params);
        self
    }

    /// With these outputs.
    #[must_use]
    pub fn giving(mut self, outputs: &[&str]) -> Self {
        self.outputs
            .extend(outputs.iter().map(|name| String::from(*name)));
        self
    }

    /// One that `undo` can take back.
    #[must_use]
    pub fn undoable(mut self) -> Self {
        self.undoable = true;
        self
    }
}

/// The receipt of an action; add what differs.
#[must_use]
pub fn receipt(changed: bool, summary: impl Into<String>) -> Receipt {
    Receipt {
        changed,
        summary: summary.into(),
        outputs: Vec::new(),
        undo: Vec::new(),
    }
}

impl Receipt {
    /// With this output.
    #[must_use]
    pub fn output(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.outputs.push(Field {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// With what `undo` will need.
    ///
    /// # Errors
    /// That it cannot be written down.
    pub fn undo_with<T: Serialize>(mut self, undo: &T) -> Result<Self> {
        self.undo = postcard::to_allocvec(undo).map_err(|error| {
            PluginError::Other(alloc::format!("the receipt cannot be written: {error}"))
        })?;
        Ok(self)
    }

    /// What `run` left for `undo`; none when there is nothing to take back.
    ///
    /// # Errors
    /// The receipt was not written by this pack.
    pub fn undo_data<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        if self.undo.is_empty() {
            return Ok(None);
        }
        postcard::from_bytes(&self.undo).map(Some).map_err(|error| {
            PluginError::InvalidInput(alloc::format!("the receipt is not of this pack: {error}"))
        })
    }
}

/// The error for an action that is not in the pack.
#[must_use]
pub fn unknown(action: &str) -> PluginError {
    PluginError::InvalidInput(alloc::format!("this pack has no action {action:?}"))
}

/// An error's text, for a sentence.
#[must_use]
pub fn words(error: &PluginError) -> &str {
    match error {
        PluginError::InvalidInput(text)
        | PluginError::Denied(text)
        | PluginError::Unavailable(text)
        | PluginError::NotApplicable(text)
        | PluginError::TimedOut(text)
        | PluginError::Other(text) => text,
    }
}

/// Exports an [`ActionPack`] as the component's world. Write `export_action!(Name)` in a crate
/// without `std`, `export_action!(Name, std)` in one with it.
#[macro_export]
macro_rules! export_action {
    ($name:ident) => {
        $crate::__runtime!();
        $crate::export_action!($name, std);
    };
    ($name:ident, std) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::bindings::action::exports::grace::plugin::act;

            struct Component;

            impl act::Guest for Component {
                fn describe() -> $crate::action::Actions {
                    <$name as $crate::ActionPack>::describe()
                }
                fn plan(call: act::Call) -> $crate::Result<$crate::action::Lines> {
                    <$name as $crate::ActionPack>::plan(&call)
                }
                fn run(call: act::Call) -> $crate::Result<act::Receipt> {
                    <$name as $crate::ActionPack>::run(&call)
                }
                fn undo(action: $crate::action::Text, receipt: act::Receipt) -> $crate::Result<()> {
                    <$name as $crate::ActionPack>::undo(&action, &receipt)
                }
            }

            $crate::bindings::action::export!(
                Component with_types_in $crate::bindings::action
            );
        };
    };
}

// Names that the macro can write in a crate without `alloc` in scope.
#[doc(hidden)]
pub type Actions = Vec<ActionInfo>;
#[doc(hidden)]
pub type Lines = Vec<String>;
#[doc(hidden)]
pub type Text = String;
