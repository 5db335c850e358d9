//! Who descends from whom, for instances without a group. One list of the machine's processes
//! serves a whole round.

use std::collections::{HashMap, HashSet};

use grace_os::process::ProcStat;
use grace_os::tree;

/// All processes at one moment, by parent.
#[derive(Debug)]
pub struct Family {
    by_parent: HashMap<u32, Vec<ProcStat>>,
}

impl Family {
    /// Lists them.
    pub fn look() -> Self {
        let mut by_parent: HashMap<u32, Vec<ProcStat>> = HashMap::new();
        for stat in tree::snapshot().into_iter().filter(|stat| !stat.is_gone()) {
            by_parent.entry(stat.ppid).or_default().push(stat);
        }
        Self { by_parent }
    }

    /// All that descends from a process, without it.
    pub fn below(&self, main: u32) -> Vec<&ProcStat> {
        let mut seen = HashSet::from([main]);
        let (mut found, mut open) = (Vec::new(), vec![main]);
        while let Some(pid) = open.pop() {
            for child in self.by_parent.get(&pid).into_iter().flatten() {
                if seen.insert(child.pid) {
                    open.push(child.pid);
                    found.push(child);
                }
            }
        }
        found
    }
}
