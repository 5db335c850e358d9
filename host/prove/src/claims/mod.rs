//! The claims. Only what exists is listed: what is not built is not claimed.

mod balance;
mod chaos;
mod drop_in;
mod healing;
mod isolation;
mod parts;
mod processes;
mod standby;
mod truth;

use crate::claim::Claim;

/// All of them, in the order of the report.
pub const ALL: &[Claim] = &[
    Claim {
        id: "seed.six-pids",
        claim: "A fleet of six is six processes, each with its own pid, port and data directory",
        control: "six names for one process",
        needs: &[],
        trial: processes::six,
    },
    Claim {
        id: "seed.balancer",
        claim: "One port serves from all instances in equal shares, and a killed instance costs no request that may be tried again",
        control: "second tries off",
        needs: &[],
        trial: balance::balancer,
    },
    Claim {
        id: "seed.weights",
        claim: "Traffic follows the weights that are set, 70, 20 and 10 of a hundred",
        control: "equal weights",
        needs: &[],
        trial: balance::weights,
    },
    Claim {
        id: "seed.failover",
        claim: "When the active instance dies or hangs, a running standby serves in its place, the old one is dead before, and the next standby is started",
        control: "no standby, and healing off",
        needs: &[],
        trial: standby::failover,
    },
    Claim {
        id: "seed.isolation",
        claim: "An instance cannot write where its service forbids it, signal its neighbours, reach the network or take more memory than it has",
        control: "the same instance with nothing asked for",
        needs: &[
            "cgroup memory",
            "landlock signals",
            "mount namespace",
            "network namespace",
        ],
        trial: isolation::isolation,
    },
    Claim {
        id: "seed.playbooks-run",
        claim: "Playbooks in YAML run to their end: a hung, an erring and a misconfigured instance serve again",
        control: "playbooks and reflex off",
        needs: &[],
        trial: healing::playbooks,
    },
    Claim {
        id: "seed.fixes-verified",
        claim: "An incident counts as resolved only when its playbook's check sees that it helped; else a person is called",
        control: "a playbook without that check",
        needs: &[],
        trial: truth::verified,
    },
    Claim {
        id: "seed.kernel-restart",
        claim: "Each process of Grace itself that is killed comes back as another, and requests are served meanwhile",
        control: "who restarts it stands still",
        needs: &[],
        trial: parts::restart,
    },
    Claim {
        id: "seed.scale",
        claim: "Scaling a service starts and ends real processes, and all that are there serve",
        control: "nothing is asked for",
        needs: &[],
        trial: processes::scale,
    },
    Claim {
        id: "seed.restore",
        claim: "A declared configuration file that is overwritten with rubbish or deleted comes back byte for byte",
        control: "playbooks off",
        needs: &[],
        trial: healing::restore,
    },
    Claim {
        id: "seed.chaos",
        claim: "A fault that is induced on purpose is detected and healed, its run passes only then, and nothing of it is left",
        control: "healing off",
        needs: &[],
        trial: chaos::chaos,
    },
    Claim {
        id: "card.wasm-limits",
        claim: "A plugin that loops or grows without end is stopped by its limits, and the host goes on healing",
        control: "the same loop in a process without limits",
        needs: &[],
        trial: drop_in::limits,
    },
    Claim {
        id: "card.drop-in",
        claim: "A component copied into the plugin directory of a running host works at once, and only with what it was granted",
        control: "nothing is granted",
        needs: &[],
        trial: drop_in::drop_in,
    },
];
