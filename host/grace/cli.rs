//! The shape of the command line: which commands there are. Each has its file under `cmd/`.

use clap::{Parser, Subcommand};

use crate::cmd;
use crate::place::Globals;
use crate::problem::Outcome;

/// A self-healing host: runs services behind its own load balancer, notices what breaks, repairs it
#[derive(Debug, Parser)]
#[command(
    name = "grace",
    version,
    max_term_width = 100,
    subcommand_required = true
)]
#[command(after_help = "Exit codes: 0 done, 1 the answer is no, 2 it could not run.")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a grace.toml to start from
    Init(cmd::init::Init),
    /// Start the services of grace.toml and keep them healthy
    Up(cmd::up::Up),
    /// End everything that `up` started
    Down(cmd::down::Down),
    /// Balance and heal a program without a file
    Run(cmd::run::Run),
    /// How the host is
    Status(cmd::status::Status),
    /// The parts of Grace itself
    Kernels(cmd::kernels::Kernels),
    /// The services
    Services(cmd::services::Services),
    /// The processes of the services
    Instances(cmd::instances::Instances),
    /// Roles, shares and versions of the instances: promote, scale, roll out, roll back
    Fleet(cmd::fleet::Fleet),
    /// What went wrong and what was done about it
    Incidents(cmd::incidents::Incidents),
    /// Evidence of failures: list, show, replay, make smaller, hand on
    Capsule(cmd::capsule::CapsuleCommand),
    /// Let a playbook run that waits for an answer
    Approve(cmd::govern::Approve),
    /// Keep a playbook from running that waits for an answer
    Deny(cmd::govern::Deny),
    /// The questions that wait for an answer
    Approvals(cmd::govern::Approvals),
    /// What may be changed now: mode, freeze, kill switch, limits, locks
    Governance(cmd::govern::Show),
    /// Whether playbooks heal, or only tell what they would do
    Mode(cmd::govern::ModeOf),
    /// No playbook that changes something begins, until it is over
    Freeze(cmd::govern::Freeze),
    /// No playbook changes anything any more, also those that run
    KillSwitch(cmd::govern::KillSwitch),
    /// Files of services that must be what was snapshotted
    Artifacts(cmd::artifacts::Artifacts),
    /// What is done about what
    Playbook(cmd::playbook::Playbook),
    /// Detectors and actions: list, build, check, grant
    Plugin(cmd::plugin::Plugin),
    /// Output of instances, or Grace's own
    Logs(cmd::logs::Logs),
    /// The fleet, its traffic and its incidents, live
    Top(cmd::top::Top),
    /// Figures for Prometheus
    Metrics(cmd::metrics::Metrics),
    /// What this machine gives Grace
    Doctor(cmd::doctor::Doctor),
    /// Go on with another program of Grace, while everything runs
    Upgrade(cmd::upgrade::Upgrade),
    /// Repair a program whose test command fails
    Agent(cmd::agent::Agent),
    /// Completions for a shell
    Completions(cmd::completions::Completions),
    /// Break a fleet under load in four ways and watch it heal
    Demo(cmd::demo::Demo),
    /// Induce faults on purpose, and see what comes of them
    Chaos(cmd::chaos::Chaos),
    /// Prove what Grace claims of itself, each with a control that must fail
    Prove(cmd::prove::Prove),
    /// Processes that Grace starts itself
    #[command(hide = true)]
    Internal(cmd::internal::Internal),
}

impl Command {
    /// Does it.
    pub fn run(self, globals: &Globals) -> Outcome {
        match self {
            Command::Init(command) => command.run(globals),
            Command::Up(command) => command.run(globals),
            Command::Down(command) => command.run(globals),
            Command::Run(command) => command.run(globals),
            Command::Status(command) => command.run(globals),
            Command::Kernels(command) => command.run(globals),
            Command::Services(command) => command.run(globals),
            Command::Instances(command) => command.run(globals),
            Command::Fleet(command) => command.run(globals),
            Command::Incidents(command) => command.run(globals),
            Command::Capsule(command) => command.run(globals),
            Command::Approve(command) => command.run(globals),
            Command::Deny(command) => command.run(globals),
            Command::Approvals(command) => command.run(globals),
            Command::Governance(command) => command.run(globals),
            Command::Mode(command) => command.run(globals),
            Command::Freeze(command) => command.run(globals),
            Command::KillSwitch(command) => command.run(globals),
            Command::Artifacts(command) => command.run(globals),
            Command::Playbook(command) => command.run(globals),
            Command::Plugin(command) => command.run(globals),
            Command::Logs(command) => command.run(globals),
            Command::Top(command) => command.run(globals),
            Command::Metrics(command) => command.run(globals),
            Command::Doctor(command) => command.run(globals),
            Command::Upgrade(command) => command.run(globals),
            Command::Agent(command) => command.run(globals),
            Command::Completions(command) => command.run(globals),
            Command::Demo(command) => command.run(globals),
            Command::Chaos(command) => command.run(globals),
            Command::Prove(command) => command.run(globals),
            Command::Internal(command) => command.run(globals),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
