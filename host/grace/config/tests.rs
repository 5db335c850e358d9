//! `grace.toml`, good and bad.

use std::os::unix::fs::PermissionsExt;

use grace_model::config::{Channel, ConfigFormat, Ready, Service, Socket};
use grace_model::layout::Layout;

use super::*;

/// A directory with a program `shop`.
pub(super) struct Place(tempfile::TempDir);

impl Place {
    pub(super) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("g").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = Self(dir);
        place.program("shop");
        place
    }

    pub(super) fn dir(&self) -> &Path {
        self.0.path()
    }

    fn program(&self, name: &str) {
        let file = self.0.path().join(name);
        fs::write(&file, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(super) fn around(&self) -> Surroundings {
        Surroundings {
            path: "/usr/bin:/bin".into(),
            root: false,
            state: None,
        }
    }

    pub(super) fn good(&self, text: &str) -> Config {
        match parse(text, self.0.path(), &self.around()) {
            Ok(config) => config,
            Err(faults) => panic!("{}", self.shown(text, faults)),
        }
    }

    pub(super) fn shown(&self, text: &str, faults: Vec<Fault>) -> String {
        Faults {
            file: FILE_NAME.into(),
            text: text.to_owned(),
            faults,
        }
        .to_string()
    }

    /// What is said of a bad text.
    pub(super) fn bad(&self, text: &str) -> String {
        match parse(text, self.0.path(), &self.around()) {
            Ok(config) => panic!("accepted: {config:?}"),
            Err(faults) => self.shown(text, faults),
        }
    }

    /// What is said of one line added to a good service.
    pub(super) fn bad_line(&self, line: &str) -> String {
        self.bad(&format!("{SHOP}{line}\n"))
    }
}

pub(super) const SHOP: &str = "[[service]]\nname = \"shop\"\ncommand = [\"./shop\"]\n";

#[test]
fn a_minimal_file_gets_every_default() {
    let place = Place::new();
    let config = place.good(
        "[[service]]\nname = \"shop\"\ncommand = \"./shop --port {port}\"\nlisten = \":0\"\ninstances = 3\nready = { http = \"/\" }\n",
    );
    let service = &config.services[0];
    let mut wanted = Service::new(
        "shop".into(),
        service.command.clone(),
        place.0.path().into(),
    );
    wanted.listen = Some("0.0.0.0:0".parse().unwrap());
    wanted.instances = 3;
    wanted.ready = Ready::Http("/".into());
    assert_eq!(service, &wanted);
    let program = place.0.path().join("shop").display().to_string();
    assert_eq!(service.command, [program.as_str(), "--port", "{port}"]);
    assert_eq!(config.state_dir, place.0.path().join(".grace"));
    assert_eq!(config.plugins.dir, place.0.path().join("plugins.d"));
    assert_eq!(config.healing.dir, place.0.path().join("playbooks"));
    assert!(config.plugins.builtin && config.healing.playbooks && config.proxy.retry);
}

#[test]
fn readiness_and_socket_follow_from_each_other() {
    let place = Place::new();
    let of = |more: &str| {
        let service = place.good(&format!("{SHOP}{more}")).services.remove(0);
        (service.ready, service.socket)
    };
    assert_eq!(of(""), (Ready::Process, Socket::None));
    assert_eq!(of("listen = \":0\""), (Ready::Tcp, Socket::Port));
    assert_eq!(of("ready = { tcp = true }"), (Ready::Tcp, Socket::Port));
    assert_eq!(
        of("ready = { http = \"/x\" }"),
        (Ready::Http("/x".into()), Socket::Port)
    );
    assert_eq!(
        of("listen = \":0\"\nready = { notify = true }"),
        (Ready::Notify, Socket::Port)
    );
    assert_eq!(
        of("listen = \":0\"\nsocket = \"inherit\"\nready = { notify = true }"),
        (Ready::Notify, Socket::Inherit)
    );
    assert!(
        place
            .bad_line("socket = \"inherit\"")
            .contains("say how readiness")
    );
    assert!(
        place
            .bad_line("socket = \"inherit\"\nready = { tcp = true }")
            .contains("tells nothing")
    );
}

#[test]
fn the_output_kept_in_memory_has_a_size_within_bounds() {
    let place = Place::new();
    let config = place.good(&format!("{SHOP}output_ring = \"1MiB\"\n"));
    assert_eq!(config.services[0].output_ring_bytes, 1 << 20);
    for size in ["1KiB", "17MiB"] {
        let said = place.bad_line(&format!("output_ring = \"{size}\""));
        assert!(said.contains("\"4KiB\" to \"16MiB\""), "{said}");
    }
}

#[test]
fn an_unknown_key_is_an_error_with_its_place_and_did_you_mean() {
    let place = Place::new();
    let said = place.bad_line("lisen = \"127.0.0.1:0\"");
    assert_eq!(
        said,
        "grace.toml:4:1: unknown key `lisen`; did you mean `listen`?\n  4 | lisen = \"127.0.0.1:0\"\n    | ^^^^^"
    );
    for (text, near) in [
        ("servce = 1\n", "service"),
        ("[healing]\nplaybook = false\n", "playbooks"),
        ("[proxy]\nretri = false\n", "retry"),
        ("[plugins]\nbuiltins = false\n", "builtin"),
        ("[notify.a]\ncomand = [\"true\"]\n", "command"),
        (&format!("{SHOP}restart = {{ own_mx = 1 }}\n"), "own_max"),
        (
            &format!("{SHOP}probe = {{ intervall = \"1s\" }}\n"),
            "interval",
        ),
        (&format!("{SHOP}[[service.config]]\npaht = \"x\"\n"), "path"),
    ] {
        let said = place.bad(text);
        assert!(said.contains(&format!("did you mean `{near}`?")), "{said}");
    }
}

#[test]
fn a_wrong_value_is_an_error_at_the_value_that_says_what_to_write() {
    let place = Place::new();
    for (line, what, caret) in [
        ("start_timeout = 5", "a time in quotes", "17"),
        ("start_timeout = \"5\"", "such as \"500ms\"", "17"),
        ("start_timeout = \"0s\"", "cannot be 0", "17"),
        ("listen = \"127.0.0.1\"", "no port", "10"),
        ("listen = \"shop:80\"", "no IP address", "10"),
        ("instances = 257", "0 to 256", "13"),
        ("instances = -1", "0 to 256", "13"),
        ("ready = { htpp = \"/\" }", "did you mean `http`?", "9"),
        ("ready = \"http\"", "{ http = \"/path\" }", "9"),
        ("ready = {}", "`ready` is empty", "9"),
        ("ready = { tcp = false }", "says nothing", "9"),
        ("ready = { http = \"healthz\" }", "starts with /", "9"),
        (
            "ready = { http = \"/\", tcp = true }",
            "`http` and `tcp`",
            "9",
        ),
        ("socket = \"udp\"", "port", "10"),
        ("user = \"no-such-user\"", "no user", "8"),
        ("dir = \"nowhere\"", "no directory", "7"),
        ("probe = { failures = 0 }", "1 to 1000", "22"),
        (
            "restart = { backoff_min = \"5s\", backoff_max = \"1s\" }",
            "below",
            "47",
        ),
        ("env = { \"A=B\" = \"x\" }", "environment variable", "9"),
    ] {
        let said = place.bad_line(line);
        assert!(said.contains(what), "{line}: {said}");
        assert!(
            said.starts_with(&format!("grace.toml:4:{caret}:")),
            "{line}: {said}"
        );
    }
    let said = place.bad("state = \"a\"\nstate = \"b\"\n");
    assert!(
        said.starts_with("grace.toml:2:1:") && said.contains("duplicate"),
        "{said}"
    );
    let said = place.bad("[[service]\n");
    assert!(said.starts_with("grace.toml:1:"), "{said}");
}

#[test]
fn a_command_that_cannot_run_is_an_error_with_a_hint() {
    let place = Place::new();
    fs::write(place.0.path().join("data.txt"), "").unwrap();
    for (command, what) in [
        ("[]", "is empty"),
        ("\"\"", "is empty"),
        ("[\"no-such-program\"]", "in PATH (/usr/bin:/bin)"),
        ("[\"shop\"]", "write \"./shop\""),
        ("[\"./shopp\"]", "relative paths start at"),
        ("[\"./data.txt\"]", "chmod +x"),
        ("\"./shop | tee log\"", "no shell reads it"),
    ] {
        let said = place.bad(&format!("[[service]]\nname = \"a\"\ncommand = {command}\n"));
        assert!(said.contains(what), "{command}: {said}");
        assert!(said.starts_with("grace.toml:3:11:"), "{command}: {said}");
    }
    let found = place.good("[[service]]\nname = \"a\"\ncommand = [\"sh\"]\n");
    assert!(found.services[0].command[0].ends_with("/sh"));
}

#[test]
fn services_do_not_collide() {
    let place = Place::new();
    let two = |one: &str, other: &str| {
        format!(
            "{SHOP}listen = \"{one}\"\n[[service]]\nname = \"b\"\ncommand = [\"./shop\"]\nlisten = \"{other}\"\n"
        )
    };
    let said = place.bad(&format!("{SHOP}{SHOP}"));
    assert!(
        said.starts_with("grace.toml:5:8:") && said.contains("two services"),
        "{said}"
    );
    assert!(
        place
            .bad(&two("127.0.0.1:80", ":80"))
            .contains("listens on")
    );
    place.good(&two("127.0.0.1:80", "127.0.0.2:80"));
    place.good(&two(":0", ":0"));
    assert!(place.bad("").contains("no service is declared"));
    let said = place.bad("[[service]]\nname = \"Shop\"\ncommand = [\"./shop\"]\n");
    assert!(said.contains("valid service name"), "{said}");
}

#[test]
fn all_faults_are_told_at_once() {
    let place = Place::new();
    let said = place.bad(&format!(
        "{SHOP}instances = 999\nlisten = \":1\"\n{SHOP}listen = \":1\"\n"
    ));
    assert_eq!(said.matches("grace.toml:").count(), 3, "{said}");
}

#[test]
fn declared_files_are_resolved_and_their_seeds_read() {
    let place = Place::new();
    let good = place.0.path().join("shop.json");
    fs::write(&good, "{}").unwrap();
    let of = |line: &str| format!("{SHOP}[[service.config]]\n{line}\n");
    let config = place.good(&of("path = \"{data}/shop.json\"\nseed = \"shop.json\""));
    let file = &config.services[0].config[0];
    assert_eq!(
        (file.path.as_str(), file.format),
        ("{data}/shop.json", ConfigFormat::Json)
    );
    assert_eq!(file.seed.as_deref(), Some(good.as_path()));
    let config = place.good(&of("path = \"etc/shop.yml\""));
    let file = &config.services[0].config[0];
    assert_eq!(
        file.path,
        place.0.path().join("etc/shop.yml").display().to_string()
    );
    assert_eq!(file.format, ConfigFormat::Yaml);
    assert!(
        place
            .bad(&of("path = \"{data}/x\"\nseed = \"none\""))
            .contains("cannot read the seed")
    );
    assert!(place.bad(&of("path = \"../x\"")).contains(".."));
    assert!(place.bad(&of("path = \"\"")).contains("names no file"));
    fs::write(&good, "{").unwrap();
    assert!(
        place
            .bad(&of("path = \"{data}/x.json\"\nseed = \"shop.json\""))
            .contains("not good")
    );
}

#[test]
fn plugins_and_channels_are_resolved_and_grants_checked() {
    let place = Place::new();
    let config = place.good(&format!(
        "{SHOP}[plugins]\ndisable = [\"x\"]\n[plugins.grants]\nmine = [\"probe\", \"fs:read:/srv\"]\n\
         [plugins.config.mine]\na = 1\nb = true\nc = \"x\"\n[notify.pager]\ncommand = [\"./shop\", \"x\"]\n\
         [notify.audit]\nfile = \"log\"\n"
    ));
    let mine = grace_model::id::PluginName::from("mine");
    assert_eq!(config.plugins.grants[&mine], ["probe", "fs:read:/srv"]);
    let settings: Vec<_> = config.plugins.config[&mine]
        .values()
        .map(String::as_str)
        .collect();
    assert_eq!(settings, ["1", "true", "x"]);
    let shop = place.0.path().join("shop").display().to_string();
    assert_eq!(
        config.notify["pager"],
        Channel::Command(vec![shop, "x".into()])
    );
    assert_eq!(
        config.notify["audit"],
        Channel::File(place.0.path().join("log"))
    );
    let said = place.bad(&format!("{SHOP}[plugins.grants]\nmine = [\"prob\"]\n"));
    assert!(
        said.contains("did you mean \"probe\"?") && said.starts_with("grace.toml:5:9"),
        "{said}"
    );
    assert!(
        place
            .bad(&format!("{SHOP}[notify.log]\nfile = \"x\"\n"))
            .contains("always there")
    );
    assert!(place.bad(&format!("{SHOP}[notify.a]\n")).contains("either"));
}

#[test]
fn a_state_directory_whose_sockets_have_no_room_is_an_error_with_a_remedy() {
    let place = Place::new();
    let long = format!("/tmp/{}", "x".repeat(90));
    let said = place.bad(&format!("state = {long:?}\n{SHOP}"));
    assert!(
        said.contains("too long") && said.contains("--state"),
        "{said}"
    );
    assert!(said.starts_with("grace.toml:1:9:"), "{said}");
    let around = Surroundings {
        state: Some("/tmp/short".into()),
        ..place.around()
    };
    let config = parse(
        &format!("state = {long:?}\n{SHOP}"),
        place.0.path(),
        &around,
    )
    .unwrap();
    assert_eq!(
        Layout::new(&config.state_dir).root(),
        Path::new("/tmp/short")
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_a_remedy() {
    let place = Place::new();
    let file = place.0.path().join(FILE_NAME);
    let error = load(&file, &place.around()).unwrap_err();
    assert!(error.remedy().contains("grace init"), "{error}");
    fs::write(&file, [0xff, 0xfe]).unwrap();
    let error = load(&file, &place.around()).unwrap_err();
    assert!(error.remedy().contains("UTF-8"), "{error}");
    fs::create_dir(place.0.path().join("d")).unwrap();
    assert!(load(&place.0.path().join("d"), &place.around()).is_err());
}

#[test]
fn the_state_directory_is_found_beside_a_file_that_is_wrong_elsewhere() {
    let place = Place::new();
    let file = place.0.path().join(FILE_NAME);
    fs::write(&file, "state = \"s\"\nnonsense = 1\n").unwrap();
    assert_eq!(state_of(&file).unwrap(), place.0.path().join("s"));
    fs::write(&file, "nonsense = 1\n").unwrap();
    assert_eq!(state_of(&file).unwrap(), place.0.path().join(".grace"));
}

#[test]
fn limits_and_isolation_are_resolved() {
    let place = Place::new();
    let config = place.good(
        "[[service]]\nname = \"shop\"\ncommand = \"./shop\"\n[service.limits]\nmemory = \"64MiB\"\ncpu = 0.5\n\
         pids = 64\nfiles = 32\nfile_size = \"1MiB\"\n[service.isolation]\nnetwork = \"none\"\n\
         read_only = [\"/usr\"]\nwritable = [\".\"]\nprivate_tmp = \"8MiB\"\nsignals = \"own\"\n\
         syscalls = \"service\"\ndrop_capabilities = [\"CAP_NET_RAW\"]\n",
    );
    let service = &config.services[0];
    let limits = &service.limits;
    assert_eq!(limits.memory_bytes, Some(64 << 20));
    assert_eq!((limits.cpu_millicores, limits.pids), (Some(500), Some(64)));
    assert_eq!((limits.files, limits.file_bytes), (Some(32), Some(1 << 20)));
    let isolation = &service.isolation;
    assert_eq!(isolation.writable, Some(vec![place.0.path().to_owned()]));
    assert_eq!(isolation.private_tmp_bytes, Some(8 << 20));
    assert_eq!(isolation.drop_capabilities, ["CAP_NET_RAW"]);
    // Unset is unset: nothing is made up here.
    let plain = place.good("[[service]]\nname = \"shop\"\ncommand = \"./shop\"\n");
    assert_eq!(plain.services[0].limits, Default::default());
    assert_eq!(plain.services[0].isolation, Default::default());
}

#[test]
fn limits_and_isolation_that_cannot_be_are_errors_at_their_place() {
    let place = Place::new();
    for (line, hint) in [
        ("limits = { memory = \"64KiB\" }", "1MiB"),
        ("limits = { memory = 64 }", "a size in quotes"),
        ("limits = { cpu = 0 }", "such as 2 or 0.5"),
        ("limits = { cpu = \"all\" }", "such as 2 or 0.5"),
        ("limits = { pids = 0 }", "at least 1"),
        ("limits = { files = 2 }", "8 open files"),
        ("limits = { memroy = \"1MiB\" }", "did you mean `memory`"),
        (
            "isolation = { read_only = [\"/no/such/path\"] }",
            "there is no /no/such/path",
        ),
        (
            "isolation = { writable = [\"/no/such/path\"] }",
            "make it, or correct",
        ),
        ("isolation = { network = \"some\" }", "host"),
        (
            "isolation = { drop_capabilities = [\"net_war\"] }",
            "net_raw",
        ),
        (
            "listen = \"127.0.0.1:0\"\nisolation = { network = \"none\" }",
            "socket = \"inherit\"",
        ),
    ] {
        let said = place.bad_line(line);
        assert!(said.contains(hint), "{line}: {said}");
    }
}

#[test]
fn the_example_names_every_key_and_all_of_them_are_good() {
    let place = Place::new();
    place.program("page-somebody");
    for (file, text) in [("shop.json", "{}"), ("shop.crt", ""), ("shop.key", "")] {
        fs::write(place.0.path().join(file), text).unwrap();
    }
    place.good(EXAMPLE);
    let all: String = EXAMPLE
        .lines()
        .map(|line| {
            if line.starts_with("##") {
                ""
            } else {
                line.strip_prefix("# ").unwrap_or(line)
            }
        })
        .filter(|line| !line.starts_with("user = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let spoken = place.good(&all);
    // What the example shows as defaults are the defaults.
    let silent = place.good(EXAMPLE);
    assert_eq!(spoken.proxy, silent.proxy);
    assert_eq!(spoken.healing, silent.healing);
    assert_eq!(spoken.services[0].restart, silent.services[0].restart);
    assert_eq!(
        spoken.services[0].probe_interval_ms,
        silent.services[0].probe_interval_ms
    );
    assert_eq!(
        spoken.services[0].output_ring_bytes,
        silent.services[0].output_ring_bytes
    );
    assert_eq!(spoken.plugins.rescan_ms, silent.plugins.rescan_ms);
}

#[test]
fn roles_stand_in_place_of_instances_and_need_an_active_one() {
    let place = Place::new();
    let service = place
        .good(&format!(
            "{SHOP}active = 1\nhot = 2\nwarm = 3\nramp = \"2s\"\n"
        ))
        .services
        .remove(0);
    let roles = service.roles.unwrap();
    assert_eq!((roles.active, roles.hot, roles.warm), (1, 2, 3));
    assert_eq!((service.instances, service.ramp_step_ms), (6, 2_000));
    for (lines, says) in [
        ("active = 1\ninstances = 3", "say either"),
        ("hot = 1", "needs `active = 1`"),
        ("active = 0\nhot = 1", "needs `active = 1`"),
        ("active = 300", "0 to 256"),
        ("active = 1\nwarm = -1", "0 to 256"),
        ("active = 200\nhot = 100", "too many"),
    ] {
        let told = place.bad_line(lines);
        assert!(told.contains(says), "{lines}: {told}");
    }
}

#[test]
fn a_deadline_a_number_and_a_size_of_the_queue_are_set_and_so_is_the_limit() {
    let place = Place::new();
    let service = "[[service]]\nname = \"shop\"\ncommand = \"./shop\"\n";
    let proxy = place.good(service).proxy;
    assert_eq!(
        (
            proxy.queue_timeout_ms,
            proxy.queue_requests,
            proxy.queue_bytes
        ),
        (5_000, 1_000, 16 << 20)
    );
    assert_eq!((proxy.limit, proxy.limit_wait_ms), (true, 2_000));
    let keys = "[proxy]\nqueue_timeout = \"7s\"\nqueue_requests = 9\nqueue_bytes = \"1MiB\"\n\
                limit = false\nlimit_wait = \"300ms\"";
    let proxy = place.good(&format!("{keys}\n{service}")).proxy;
    assert_eq!(
        (
            proxy.queue_timeout_ms,
            proxy.queue_requests,
            proxy.queue_bytes
        ),
        (7_000, 9, 1 << 20)
    );
    assert_eq!((proxy.limit, proxy.limit_wait_ms), (false, 300));
}
