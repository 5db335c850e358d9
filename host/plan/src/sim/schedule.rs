//! One schedule: a shape of service, at least fifty random steps, then calm, in which
//! everything must come to rest as planned.

use fastrand::Rng;
use grace_model::command::StopMode;
use grace_model::config::Restart;
use grace_model::instance::{ExitCause, Role, State};

use super::world::World;
use crate::fleet::{self, Ask, Fleet, Plan, Strategy};
use crate::restart;

/// Random steps of every schedule.
pub(super) const STEPS: u64 = 50;

/// Calm seconds within which rest must come. The longest wait of all is a ramp that was broken
/// off five times.
const REST_SECONDS: u32 = 240;

fn restart_policy(led: bool) -> restart::Policy {
    restart::Policy {
        restart: Restart {
            reflex: true,
            external_max: 3,
            own_max: 2,
            window_ms: 10_000,
            backoff_min_ms: 50,
            backoff_max_ms: 500,
            healthy_ms: 2_000,
        },
        ready_at_once: false,
        start_timeout_ms: 1_000,
        stop_timeout_ms: 200,
        drain_timeout_ms: 300,
        led,
    }
}

fn fleet_policy(roles: bool, ramp: bool) -> fleet::Policy {
    fleet::Policy {
        roles,
        ramp_step_ms: if ramp { 100 } else { 0 },
        leave_ms: 300,
        cut_ms: 100,
        start_timeout_ms: 1_500,
        watch_ms: 800,
        keep_ms: 1_000,
    }
}

fn world(seed: u64) -> World {
    let mut rng = Rng::with_seed(seed ^ 0x9e37_79b9);
    let (active, hot, warm, roles) = match rng.u32(0..10) {
        0..4 => (1, 1, 1, true),
        4 => (1, 2, 1, true),
        5 => (2, 1, 1, true),
        6 => (1, 1, 0, true),
        7 => (1, 0, 1, true),
        8 => (3, 0, 0, false),
        _ => (1, 0, 0, false),
    };
    let plan = Plan { active, hot, warm };
    let fleet = Fleet::new(fleet_policy(roles, rng.bool()), plan, 1);
    let limit = roles.then_some(active as usize);
    World::new(seed, fleet, restart_policy(roles), limit)
}

/// Runs a schedule; the number of events, or what went wrong.
pub(super) fn run(seed: u64) -> Result<u64, String> {
    let mut world = world(seed);
    // Mostly from a fleet that stands.
    if !seed.is_multiple_of(4) {
        world.pass(300);
    }
    let mut version = 1;
    for _ in 0..STEPS {
        world.events += 1;
        step(&mut world, &mut version);
        world.settle();
        world.check();
        if let Some(problem) = world.problem {
            return Err(problem);
        }
    }
    rest(world)
}

fn cause(rng: &mut Rng) -> ExitCause {
    match rng.u32(0..5) {
        0 | 1 => ExitCause::Signal(9),
        2 => ExitCause::Code(1),
        3 => ExitCause::Oom,
        _ => ExitCause::Unknown,
    }
}

fn step(world: &mut World, version: &mut u64) {
    let count = world.nodes.len().max(2) as u32;
    let number = world.rng.u32(1..count);
    match world.rng.u32(0..100) {
        0..24 => {
            let ms = world.rng.u64(0..300);
            world.pass(ms);
        }
        24..27 => {
            let ms = world.rng.u64(0..3_000);
            world.pass(ms);
        }
        27..36 => {
            let cause = cause(&mut world.rng);
            world.die(number, cause);
        }
        36..42 => with_process(world, number, |process| process.healthy = false),
        42..48 => with_process(world, number, |process| process.healthy = true),
        48..50 => with_process(world, number, |process| process.ignores_term = true),
        50..52 => {
            with_process(world, number, |process| process.stuck = !process.stuck);
            end_killed(world, number);
        }
        52..54 => {
            if let Some(node) = world.node(number) {
                node.starts = !node.starts;
            }
        }
        54..56 => {
            if let Some(node) = world.node(number) {
                node.well = !node.well;
            }
        }
        56..72 => requests(world),
        72..75 => world.proxy_dies(),
        75..77 => world.supervisor_dies(),
        77..79 => world.crash_in = Some(world.rng.u32(0..6)),
        79..87 => ask_instance(world, number),
        _ => ask_fleet(world, number, version),
    }
}

/// A SIGKILL that was sent to one that could not die takes effect when it can.
fn end_killed(world: &mut World, number: u32) {
    let process = world.node(number).and_then(|node| node.process);
    if process.is_some_and(|process| process.killed && !process.stuck) {
        world.die(number, ExitCause::Signal(9));
    }
}

fn with_process(world: &mut World, number: u32, change: impl FnOnce(&mut super::world::Process)) {
    if let Some(process) = world.node(number).and_then(|node| node.process.as_mut()) {
        change(process);
    }
}

/// Requests come to whoever may get one, or end.
fn requests(world: &mut World) {
    if !world.proxy.alive {
        return;
    }
    let begin = world.rng.u32(0..3) > 0;
    for place in 0..world.proxy.held.len() {
        let Some(held) = world.proxy.held.get(place).copied() else {
            continue;
        };
        let lives = world
            .node(held.line.number)
            .and_then(|node| node.process)
            .is_some_and(|process| process.generation == held.line.generation);
        if let Some(held) = world.proxy.held.get_mut(place) {
            if !begin {
                held.inflight = held.inflight.saturating_sub(1);
            } else if held.routable() && lives {
                held.inflight += 1;
            }
        }
    }
}

fn ask_instance(world: &mut World, number: u32) {
    use restart::Ask;
    if world.node(number).is_none() {
        return;
    }
    let ask = match world.rng.u32(0..12) {
        0 => Ask::Pause,
        1 => Ask::Resume,
        2..4 => Ask::Drain,
        4..6 => Ask::Quarantine,
        6..9 => Ask::Release,
        9 => Ask::Restart(StopMode::Kill),
        _ => Ask::Restart(StopMode::Graceful),
    };
    let op = world.new_op();
    world.give(number, restart::Event::Ask { op, ask });
}

fn ask_fleet(world: &mut World, number: u32, version: &mut u64) {
    let ask = match world.rng.u32(0..10) {
        0..5 => Ask::Promote(number),
        5 => Ask::Weights(vec![(number, 10_000)]),
        6 => {
            let mut plan = world.plan;
            if world.limit.is_some() {
                plan.hot = world.rng.u32(0..3);
                plan.warm = world.rng.u32(0..2);
            } else {
                plan.active = world.rng.u32(1..4);
            }
            Ask::Resize(plan)
        }
        7 | 8 => {
            *version += 1;
            let strategy = match world.rng.u32(0..3) {
                0 => Strategy::Rolling,
                1 => Strategy::BlueGreen,
                _ => Strategy::Canary,
            };
            Ask::Rollout {
                version: *version,
                strategy,
            }
        }
        _ => Ask::Rollback,
    };
    let op = world.new_op();
    world.tell_fleet(fleet::Event::Ask { op, ask });
    world.plan = world.fleet.plan();
}

/// Faults stop: everything must come to rest as planned, and every operation must have ended.
fn rest(mut world: World) -> Result<u64, String> {
    world.calm = true;
    world.crash_in = None;
    for number in 0..world.nodes.len() as u32 {
        with_process(&mut world, number, |process| {
            process.healthy = true;
            process.ignores_term = false;
            process.stuck = false;
        });
        end_killed(&mut world, number);
    }
    for second in 0..REST_SECONDS {
        ease(&mut world, second);
        world.settle();
        world.pass(1_000);
        if let Some(problem) = world.problem {
            return Err(problem);
        }
        if world.is_quiet() && is_at_rest(&world).is_ok() {
            if let Some(op) = world.ended.iter().position(|ended| !*ended) {
                return Err(format!("operation {op} never ended"));
            }
            return Ok(world.events);
        }
    }
    match is_at_rest(&world) {
        Ok(()) => Err("words go on for ever".to_owned()),
        Err(why) => Err(format!("does not come to rest: {why}")),
    }
}

/// What an operator does when the trouble is over, and requests that come to their end.
fn ease(world: &mut World, second: u32) {
    use restart::{Ask, Event};
    for held in &mut world.proxy.held {
        held.inflight = 0;
    }
    for number in 0..world.nodes.len() as u32 {
        let Some(node) = world.node(number) else {
            continue;
        };
        let state = node.machine.state();
        let stopped = node.process.is_some_and(|process| process.stopped);
        if !second.is_multiple_of(10) {
            continue;
        }
        let ask = match state {
            State::Failed => Ask::Restart(StopMode::Kill),
            State::Paused => Ask::Resume,
            State::Quarantined | State::Draining => Ask::Release,
            _ if stopped => Ask::Resume,
            _ => continue,
        };
        let op = world.new_op();
        world.give(number, Event::Ask { op, ask });
    }
}

fn is_at_rest(world: &World) -> Result<(), String> {
    let fleet = &world.fleet;
    if fleet.is_rolling() {
        return Err("a rollout goes on".to_owned());
    }
    if let Some(at) = fleet.deadline() {
        return Err(format!("the fleet waits until {at}, now {}", world.now));
    }
    let plan = fleet.plan();
    let mut counts = [0_u32; 3];
    for (number, node) in world.nodes.iter().enumerate() {
        let (Some(node), number) = (node, number as u32) else {
            continue;
        };
        let state = node.machine.state();
        if node.machine.deadline().is_some() {
            return Err(format!("instance {number} waits"));
        }
        if !fleet.wants(number) {
            if node.process.is_some() {
                return Err(format!("instance {number} is not wanted and runs"));
            }
            continue;
        }
        let place = match (fleet.role(number), state) {
            (Some(Role::Active), State::Ready) => 0,
            (Some(Role::Hot), State::Ready) => 1,
            (Some(Role::Warm), State::Stopped) => 2,
            (role, state) => return Err(format!("instance {number} is {role:?} and {state:?}")),
        };
        counts[place] += 1;
    }
    // A warm one that was never started is known to the fleet alone.
    let never = |number: &u32| {
        let node = world.nodes.get(*number as usize).and_then(Option::as_ref);
        node.is_none() && fleet.role(*number) == Some(Role::Warm)
    };
    counts[2] += fleet.numbers().filter(never).count() as u32;
    if counts != [plan.active, plan.hot, plan.warm] {
        return Err(format!("{counts:?} of {plan:?}"));
    }
    let routable = world
        .proxy
        .held
        .iter()
        .filter(|held| held.routable())
        .count();
    let shares = fleet.weights().len();
    if routable != shares || (plan.active > 0 && shares == 0) {
        return Err(format!("{routable} get requests, {shares} have a share"));
    }
    Ok(())
}
