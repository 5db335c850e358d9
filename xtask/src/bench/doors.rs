//! Whether a door is ever shut: clients that open a connection for every request, while the proxy
//! is killed again and again, and while the whole host is replaced by another binary.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::fleet::Fleet;
use super::kill::kill;
use super::load::{Knocked, Knocking};
use super::process::bounded;
use super::row::{Figure, Spec, at_most};

pub const PROXY_ROWS: &[Spec] = &[at_most("proxy_restart_refused", "connections", "", 0.0)];
pub const UPGRADE_ROWS: &[Spec] = &[at_most("upgrade_refused", "connections", "", 0.0)];

const CLIENTS: usize = 4;
/// Deaths of the proxy, and upgrades.
const TIMES: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that an upgrade may take.
const UPGRADE: Duration = Duration::from_secs(120);

/// The connections refused while something happens, with a pause before and after it.
fn refused(fleet: &Fleet, happens: impl FnOnce() -> Result<()>) -> Result<f64> {
    let knocking = Knocking::start(&fleet.listen, CLIENTS)?;
    std::thread::sleep(PAUSE);
    let done = happens();
    std::thread::sleep(PAUSE);
    let knocked = knocking.stop();
    done?;
    eprintln!("{knocked:?}");
    count(knocked)
}

/// Clients that hardly got anywhere prove nothing.
fn count(knocked: Knocked) -> Result<f64> {
    if knocked.answered < 100 || knocked.answered * 2 < knocked.made {
        bail!("the clients could not be served at all: {knocked:?}");
    }
    Ok(knocked.refused as f64)
}

pub fn proxy(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, 2, 0, 1)?;
    let refused = refused(&fleet, || {
        for _ in 0..TIMES {
            let old = fleet.process("proxy")?;
            kill("KILL", old)?;
            await_other(&fleet, "proxy", old)?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    })?;
    Ok(vec![Figure::alone(&PROXY_ROWS[0], refused)])
}

/// Until another process of this name runs.
fn await_other(fleet: &Fleet, name: &str, old: u32) -> Result<()> {
    let begun = Instant::now();
    while fleet.process(name).is_ok_and(|pid| pid == old) || fleet.process(name).is_err() {
        if begun.elapsed() > Duration::from_secs(20) {
            bail!("no other {name} 20 s after the death of {old}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// To copies of the same binary: what is handed over does not depend on what has changed in it.
pub fn upgrade(grace: &Path) -> Result<Vec<Figure>> {
    let fleet = Fleet::start(grace, 2, 0, 1)?;
    let before = fleet.instances()?;
    let refused = refused(&fleet, || {
        for number in 1..=TIMES {
            let next = fleet.dir().join(format!("grace-{number}"));
            std::fs::copy(grace, &next)?;
            let old = fleet.process("proxy")?;
            let next = next.display().to_string();
            let mut command = fleet.command(&["upgrade", &next]);
            let (status, _, words) = bounded(&mut command, UPGRADE)?;
            if !status.success() {
                bail!("grace upgrade: {status}: {}", words.trim());
            }
            await_other(&fleet, "proxy", old)?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    })?;
    if fleet.instances()? != before {
        bail!("an upgrade replaced instances, and was to hand them over");
    }
    Ok(vec![Figure::alone(&UPGRADE_ROWS[0], refused)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_were_never_served_prove_nothing() {
        let knocked = |made, answered, refused| Knocked {
            made,
            answered,
            refused,
        };
        assert!(count(knocked(50, 50, 0)).is_err());
        assert!(count(knocked(5_000, 200, 0)).is_err());
        assert!((count(knocked(5_000, 4_990, 7)).unwrap() - 7.0).abs() < 1e-9);
    }
}
