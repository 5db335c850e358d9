//! Harm to a declared configuration file of the instance.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::owner::Order;
use crate::record::Undo;

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    Rubbish,
    Truncated,
    Empty,
    Deleted,
    Flipped,
}

impl Harm {
    /// What the file holds afterwards; none: there is none.
    fn of(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Harm::Rubbish => Some(b"{ \"chaos\": [ \x01 = :\n".to_vec()),
            Harm::Truncated => Some(bytes.iter().copied().take(bytes.len() / 2).collect()),
            Harm::Empty => Some(Vec::new()),
            Harm::Deleted => None,
            Harm::Flipped => {
                let mut flipped = bytes.to_vec();
                if let Some(first) = flipped.first_mut() {
                    *first ^= 1;
                }
                Some(flipped)
            }
        }
    }
}

fn target(order: &Order) -> Result<&PathBuf> {
    order.files.first().with_context(|| {
        format!(
            "{} has no declared configuration file; see [[service.config]]",
            order.target
        )
    })
}

/// Keeps a copy, and says what will be there.
pub(crate) fn plan(harm: Harm, order: &Order, copy: &Path) -> Result<Undo> {
    let path = target(order)?;
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::write(copy, &bytes).with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(Undo::Restore {
        path: path.clone(),
        copy: copy.to_owned(),
        harmed: harm.of(&bytes),
    })
}

/// Does it, in place, so that owner and mode stay.
pub(crate) fn induce(harm: Harm, order: &Order) -> Result<()> {
    let path = target(order)?;
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match harm.of(&bytes) {
        Some(bytes) => fs::write(path, bytes),
        None => fs::remove_file(path),
    }
    .with_context(|| format!("cannot harm {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_harm_leaves_other_bytes_than_there_were() {
        let good = b"{\"a\": 1}";
        for harm in [
            Harm::Rubbish,
            Harm::Truncated,
            Harm::Empty,
            Harm::Deleted,
            Harm::Flipped,
        ] {
            assert_ne!(harm.of(good).as_deref(), Some(&good[..]), "{harm:?}");
        }
        assert_eq!(Harm::Flipped.of(b""), Some(Vec::new()));
    }
}
