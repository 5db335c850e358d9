//! One `[[service]]` table, resolved and checked.

use std::path::Path;

use grace_model::config::{ConfigFile, ConfigFormat, Ready, Restart, Service, Socket};
use grace_model::id::ServiceName;
use grace_os::user;
use toml::Spanned;

use super::fault::Fault;
use super::file::{CommandLine, ConfigTable, FrontKeys, RestartTable, ServiceTable, SocketKind};
use super::resolve::{MOST_INSTANCES, collide, not_zero, within};
use super::roles;
use super::units::Millis;
use super::{Surroundings, confine, front, literal, program, record};

/// Bytes of output that may be kept in memory: at least what an exit tells.
const OUTPUT_RING: std::ops::RangeInclusive<u64> = 4 * 1024..=16 * 1024 * 1024;

/// Resolves it; `before` are the services above it. None when not even its name is usable.
pub fn resolve(
    table: Spanned<ServiceTable>,
    base: &Path,
    around: &Surroundings,
    before: &[Service],
    faults: &mut Vec<Fault>,
) -> Option<Service> {
    let table = table.into_inner();
    let name = match ServiceName::parse(table.name.get_ref()) {
        Ok(name) => name,
        Err(error) => {
            faults.push(Fault::new(table.name.span(), error.to_string()));
            return None;
        }
    };
    if before.iter().any(|other| other.name == name) {
        faults.push(Fault::new(
            table.name.span(),
            format!(
                "there are two services {name:?}; give each its own name",
                name = name.as_str()
            ),
        ));
    }
    if let Some(dir) = &table.dir
        && let Some(what) = literal::wrong_path(dir.get_ref(), "dir")
    {
        faults.push(Fault::new(dir.span(), what));
    }
    let work_dir = match &table.dir {
        Some(dir) => base.join(dir.get_ref()).components().collect(),
        None => base.to_owned(),
    };
    if let Some(dir) = &table.dir
        && !work_dir.is_dir()
    {
        let what = format!(
            "there is no directory {}; make it, or correct `dir`",
            work_dir.display()
        );
        faults.push(Fault::new(dir.span(), what));
    }
    let mut service = Service::new(name, Vec::new(), work_dir);
    for (key, value) in table.env {
        if let Some(what) = literal::wrong_variable(key.get_ref()) {
            faults.push(Fault::new(key.span(), what));
        }
        if let Some(what) = literal::wrong_word(&value.get_ref().0) {
            faults.push(Fault::new(value.span(), what));
        }
        service.env.insert(key.into_inner(), value.into_inner().0);
    }
    service.user = user_of(table.user, around, faults);
    service.command = command(table.command, &service, around, faults);
    if let Some(listen) = table.listen {
        let addr = listen.get_ref().0;
        if let Some(other) = before
            .iter()
            .find(|other| other.listen.is_some_and(|other| collide(addr, other)))
        {
            let what = format!(
                "the service {:?} listens on {addr} too",
                other.name.as_str()
            );
            faults.push(Fault::new(listen.span(), what));
        }
        service.listen = Some(addr);
    }
    if let Some(instances) = &table.instances {
        match u32::try_from(*instances.get_ref()) {
            Ok(count) if count <= MOST_INSTANCES => service.instances = count,
            _ => faults.push(Fault::new(
                instances.span(),
                format!("`instances` is 0 to {MOST_INSTANCES}"),
            )),
        }
    }
    let counts = [
        ("active", &table.active),
        ("hot", &table.hot),
        ("warm", &table.warm),
    ];
    if let Some(roles) = roles::resolve(counts, table.instances.as_ref(), faults) {
        service.instances = roles.active + roles.hot + roles.warm;
        service.roles = Some(roles);
    }
    service.chaos = table.chaos;
    service.ramp_step_ms = table.ramp.map_or(0, |step| step.0);
    let keys = FrontKeys {
        protocol: table.protocol,
        proxy_protocol: table.proxy_protocol,
        tls: table.tls,
        trusted_proxies: table.trusted_proxies,
        trace: table.trace,
        priority: table.priority,
    };
    let socket = table.socket.as_ref().map(|it| (it.get_ref(), it.span()));
    service.front = front::resolve(keys, base, socket, service.instances, faults);
    sockets_and_ready(&mut service, table.socket, table.ready, &table.name, faults);
    service.start_timeout_ms = not_zero(
        table.start_timeout,
        service.start_timeout_ms,
        "start_timeout",
        faults,
    );
    let ms = |value: Option<Millis>, default| value.map_or(default, |time: Millis| time.0);
    service.stop_timeout_ms = ms(table.stop_timeout, service.stop_timeout_ms);
    service.drain_timeout_ms = ms(table.drain_timeout, service.drain_timeout_ms);
    let probe = table.probe;
    service.probe_interval_ms = not_zero(
        probe.interval,
        service.probe_interval_ms,
        "interval",
        faults,
    );
    service.probe_timeout_ms = not_zero(probe.timeout, service.probe_timeout_ms, "timeout", faults);
    service.probe_failures = within(
        probe.failures,
        service.probe_failures,
        1..=1000,
        "failures",
        faults,
    );
    service.allow = super::govern::allowed(table.allow, faults);
    if table.heartbeat.is_some() {
        service.heartbeat_ms = Some(not_zero(table.heartbeat, 1_000, "heartbeat", faults));
    }
    if let Some(size) = table.output_ring {
        if OUTPUT_RING.contains(&size.get_ref().0) {
            service.output_ring_bytes = size.get_ref().0;
        } else {
            faults.push(Fault::new(
                size.span(),
                "`output_ring` is \"4KiB\" to \"16MiB\"; leave it out for \"64KiB\"",
            ));
        }
    }
    service.restart = restart(table.restart, faults);
    let configs = table.config.len();
    let artifacts = table.artifact.into_iter().map(|artifact| ConfigTable {
        path: artifact.path,
        seed: None,
        format: Some(ConfigFormat::Artifact),
    });
    for (index, file) in table.config.into_iter().chain(artifacts).enumerate() {
        let span = file.path.span();
        if index < configs && file.format == Some(ConfigFormat::Artifact) {
            let what = "an artifact is declared as [[service.artifact]] with `path`";
            faults.push(Fault::new(span.clone(), what));
        }
        let file = config_file(file, base, &service, faults);
        if service.config.iter().any(|other| other.path == file.path) {
            let what = "this file is declared twice; what holds of it is said in one place";
            faults.push(Fault::new(span, what));
        }
        service.config.push(file);
    }
    service.record = record::resolve(table.record, faults);
    confine::resolve(table.limits, table.isolation, base, &mut service, faults);
    Some(service)
}

fn user_of(
    written: Option<Spanned<String>>,
    around: &Surroundings,
    faults: &mut Vec<Fault>,
) -> Option<String> {
    let name = written?;
    match user::lookup(name.get_ref()) {
        Ok(None) => faults.push(Fault::new(
            name.span(),
            format!(
                "this machine has no user {:?}; make it, or name another",
                name.get_ref()
            ),
        )),
        Ok(Some(entry)) if !around.root && entry.uid != user::effective_uid() => {
            faults.push(Fault::new(
                name.span(),
                format!(
                    "only root can run a service as another user ({:?}); run `grace` as root, or leave `user` out",
                    name.get_ref()
                ),
            ));
        }
        Ok(Some(_)) => {}
        Err(error) => faults.push(Fault::new(name.span(), error.to_string())),
    }
    Some(name.into_inner())
}

fn command(
    written: Spanned<CommandLine>,
    service: &Service,
    around: &Surroundings,
    faults: &mut Vec<Fault>,
) -> Vec<String> {
    let span = written.span();
    let mut words = written.into_inner().0;
    for what in words.iter().filter_map(|word| literal::wrong_word(word)) {
        faults.push(Fault::new(span.clone(), what));
    }
    let Some(first) = words.first_mut().filter(|first| !first.is_empty()) else {
        faults.push(Fault::new(
            span,
            "`command` is empty; write the program and its arguments, such as [\"./shop\", \"--port\", \"{port}\"]",
        ));
        return words;
    };
    if literal::PLACEHOLDERS
        .iter()
        .any(|placeholder| first.contains(placeholder))
    {
        return words;
    }
    let own_path = service.env.get("PATH").map(std::ffi::OsString::from);
    match program::find(
        first,
        own_path.as_ref().unwrap_or(&around.path),
        &service.work_dir,
    ) {
        Err(what) => faults.push(Fault::new(
            span,
            format!("service {}: {what}", service.name),
        )),
        Ok(found) => {
            if around.root
                && let Some(runner) = service.user.as_deref()
                && let Ok(Some(runner)) = user::lookup(runner)
                && let Some(what) = program::barrier(&found, &runner)
            {
                faults.push(Fault::new(
                    span,
                    format!("service {}: {what}", service.name),
                ));
            }
            *first = found.display().to_string();
        }
    }
    words
}

/// How an instance gets its socket, and how it tells that it is ready; each limits the other.
fn sockets_and_ready(
    service: &mut Service,
    socket: Option<Spanned<SocketKind>>,
    ready: Option<Spanned<super::file::ReadyForm>>,
    name: &Spanned<String>,
    faults: &mut Vec<Fault>,
) {
    let socket_span = socket.as_ref().map(Spanned::span);
    let kind = socket.map(Spanned::into_inner);
    let ready_span = ready.as_ref().map_or_else(|| name.span(), Spanned::span);
    let written = ready.map(|form| form.into_inner().0);
    service.ready = match (&written, &kind, service.listen) {
        (Some(ready), _, _) => ready.clone(),
        (None, Some(SocketKind::Inherit), _) => {
            faults.push(Fault::new(
                socket_span.clone().unwrap_or(ready_span.clone()),
                "with `socket = \"inherit\"` say how readiness is told: `ready = { http = \"/\" }` or \
                 `ready = { notify = true }`",
            ));
            Ready::Process
        }
        (None, None, None) => Ready::Process,
        (None, _, _) => Ready::Tcp,
    };
    service.socket = match kind {
        Some(kind) => kind.into(),
        None if service.listen.is_some() => Socket::Port,
        None if matches!(service.ready, Ready::Http(_) | Ready::Tcp) => Socket::Port,
        None => Socket::None,
    };
    if service.socket == Socket::Inherit && service.ready == Ready::Tcp {
        faults.push(Fault::new(
            ready_span,
            "a connection to an inherited socket is accepted before the program runs, so it tells nothing; \
             use `ready = { http = \"/\" }` or `ready = { notify = true }`",
        ));
    }
}

fn restart(table: RestartTable, faults: &mut Vec<Fault>) -> Restart {
    let default = Restart::default();
    let ms = |value: Option<Millis>, default| value.map_or(default, |time: Millis| time.0);
    let backoff_min_ms = ms(table.backoff_min, default.backoff_min_ms);
    let backoff_max_ms = match table.backoff_max {
        None => default.backoff_max_ms.max(backoff_min_ms),
        Some(most) if most.get_ref().0 < backoff_min_ms => {
            faults.push(Fault::new(
                most.span(),
                "`backoff_max` is below `backoff_min`",
            ));
            backoff_min_ms
        }
        Some(most) => most.get_ref().0,
    };
    Restart {
        reflex: table.reflex.unwrap_or(default.reflex),
        external_max: table.external_max.unwrap_or(default.external_max),
        own_max: table.own_max.unwrap_or(default.own_max),
        window_ms: not_zero(table.window, default.window_ms, "window", faults),
        backoff_min_ms,
        backoff_max_ms,
        healthy_ms: ms(table.healthy, default.healthy_ms),
    }
}

fn config_file(
    table: ConfigTable,
    base: &Path,
    service: &Service,
    faults: &mut Vec<Fault>,
) -> ConfigFile {
    let written = table.path.get_ref();
    if written.is_empty() || written.ends_with('/') {
        faults.push(Fault::new(table.path.span(), "`path` names no file"));
    }
    if let Some(what) = literal::wrong_path(Path::new(written), "path")
        .filter(|_| !written.is_empty())
        .or_else(|| literal::wrong_word(written))
    {
        faults.push(Fault::new(table.path.span(), what));
    } else if written.rfind("{data}").is_some_and(|at| at > 0)
        || (written.contains("{data}") && !written.starts_with("{data}/"))
    {
        let what = "{data} is a whole directory and stands at the beginning: \"{data}/NAME\"";
        faults.push(Fault::new(table.path.span(), what));
    }
    let path = if written.starts_with("{data}/") {
        written.clone()
    } else {
        base.join(written).display().to_string()
    };
    if Path::new(&path)
        .components()
        .any(|part| part == std::path::Component::ParentDir)
    {
        faults.push(Fault::new(table.path.span(), "`path` may not contain `..`"));
    }
    if service.instances > 1 && path.contains("{instance}") {
        faults.push(Fault::new(
            table.path.span(),
            "a file for each instance lies in its data directory; write \"{data}/NAME\"",
        ));
    }
    let format = table.format.unwrap_or_else(|| by_extension(&path));
    let seed = table.seed.map(|seed| {
        if let Some(what) = literal::wrong_path(seed.get_ref(), "seed") {
            faults.push(Fault::new(seed.span(), what));
            return seed.into_inner();
        }
        let file = base.join(seed.get_ref());
        match std::fs::read(&file) {
            Err(error) => faults.push(Fault::new(
                seed.span(),
                format!("cannot read the seed {}: {error}", file.display()),
            )),
            Ok(bytes) => {
                if let Some(problem) = problem_of(format, &bytes) {
                    faults.push(Fault::new(
                        seed.span(),
                        format!(
                            "the seed {} is not good {format:?}: {problem}",
                            file.display()
                        ),
                    ));
                }
            }
        }
        file
    });
    ConfigFile { path, seed, format }
}

fn by_extension(path: &str) -> ConfigFormat {
    match Path::new(path).extension().and_then(|end| end.to_str()) {
        Some("json") => ConfigFormat::Json,
        Some("toml") => ConfigFormat::Toml,
        Some("yaml" | "yml") => ConfigFormat::Yaml,
        _ => ConfigFormat::Text,
    }
}

/// Why a seed does not parse. YAML is left to the healer, which has a reader for it.
fn problem_of(format: ConfigFormat, bytes: &[u8]) -> Option<String> {
    match format {
        ConfigFormat::Json => serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
            .err()
            .map(|error| error.to_string()),
        ConfigFormat::Toml => {
            let text = match std::str::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => return Some(error.to_string()),
            };
            toml::from_str::<toml::Table>(text)
                .err()
                .map(|error| error.message().to_owned())
        }
        ConfigFormat::Yaml | ConfigFormat::Text | ConfigFormat::Artifact => None,
    }
}
