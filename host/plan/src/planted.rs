//! Faults that tests plant in the machines, to see whether the simulation finds them. Outside
//! tests there is none: every question is answered "no" at compile time.

#[cfg(test)]
use std::cell::Cell;

/// A fault that can be planted.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A standby takes over before the old one is known to be out.
    PromoteBeforeFence,
    /// A budget that is used up is used all the same.
    BudgetIgnored,
    /// A word about an earlier process or an earlier leave is taken for one about this.
    StaleBelieved,
}

#[cfg(test)]
thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Plants a fault for this thread, or takes it away.
#[cfg(test)]
pub(crate) fn plant(fault: Option<Fault>) {
    PLANTED.with(|planted| planted.set(fault));
}

#[cfg(test)]
fn is_planted(fault: Fault) -> bool {
    PLANTED.with(|planted| planted.get() == Some(fault))
}

#[cfg(test)]
pub(crate) fn promote_before_fence() -> bool {
    is_planted(Fault::PromoteBeforeFence)
}

#[cfg(test)]
pub(crate) fn budget_ignored() -> bool {
    is_planted(Fault::BudgetIgnored)
}

#[cfg(test)]
pub(crate) fn stale_believed() -> bool {
    is_planted(Fault::StaleBelieved)
}

#[cfg(not(test))]
pub(crate) const fn promote_before_fence() -> bool {
    false
}

#[cfg(not(test))]
pub(crate) const fn budget_ignored() -> bool {
    false
}

#[cfg(not(test))]
pub(crate) const fn stale_believed() -> bool {
    false
}
