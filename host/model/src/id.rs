//! Names of things. Text inside, a type outside, so that one kind of name cannot stand for
//! another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is no valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no valid {what}: use 1 to 48 of a-z, 0-9 and -, starting with a letter")]
pub struct NameError {
    /// What the name was for.
    pub what: &'static str,
    /// The text that was given.
    pub text: String,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    };
}

text_id!(
    /// A service, as named in `grace.toml`.
    ServiceName
);
text_id!(
    /// An instance: `SERVICE-N`, N from 1. Stable over restarts.
    InstanceId
);
text_id!(
    /// An operation. Whoever carries it out remembers it, so that its effect happens once.
    OpId
);
text_id!(
    /// An incident: `inc-N`, N from 1, rising over the life of a state directory.
    IncidentId
);
text_id!(
    /// One run of a playbook for an incident: `INCIDENT/N`.
    RunId
);
text_id!(
    /// A plugin, as its file is named.
    PluginName
);
text_id!(
    /// A playbook's `id`.
    PlaybookId
);

impl ServiceName {
    /// Checks a service's name as a user wrote it.
    ///
    /// # Errors
    /// [`NameError`] when it has other characters or another length than it says.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let good = (1..=48).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError {
                what: "service name",
                text: text.to_owned(),
            })
        }
    }
}

impl InstanceId {
    /// The `number`th instance of `service`, from 1.
    #[must_use]
    pub fn of(service: &ServiceName, number: u32) -> Self {
        Self(format!("{service}-{number}"))
    }

    /// The service's name and the number, or none when this is no instance's name.
    #[must_use]
    pub fn split(&self) -> Option<(ServiceName, u32)> {
        let (service, number) = self.0.rsplit_once('-')?;
        Some((ServiceName(service.to_owned()), number.parse().ok()?))
    }
}

impl OpId {
    /// The operation id of host call `index` in attempt `attempt` of step `step` of `run`.
    ///
    /// The same after a crash of the healer, so that a repeated call is recognised.
    #[must_use]
    pub fn of_step(run: &RunId, step: &str, attempt: u32, index: u32) -> Self {
        Self(format!("{run}/{step}/{attempt}/{index}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_are_lower_case_words() {
        assert!(ServiceName::parse("shop-2").is_ok());
        for bad in ["", "Shop", "2shop", "a b", "ü", &"a".repeat(49)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_instance_id_splits_into_what_it_was_made_of() {
        let service = ServiceName::from("my-shop");
        let id = InstanceId::of(&service, 12);
        assert_eq!(id.as_str(), "my-shop-12");
        assert_eq!(id.split(), Some((service, 12)));
        assert_eq!(InstanceId::from("shop").split(), None);
    }
}
