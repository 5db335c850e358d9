//! Isolation: an instance that tries to get out, and what is found outside of it afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use grace_demo::judge;
use serde_json::Value;

use crate::claim::{Seen, Variant};
use crate::fleet::{Fleet, room, worker};
use crate::stage::Stage;

/// Waits for its victim's pid, then writes where it may not, kills whom it may not, takes more
/// memory than it has, and says that it is done.
fn script(outside: &Path) -> String {
    let outside = outside.display();
    format!(
        "while [ ! -s {outside}/victim ]; do sleep 0.05; done; \
         (echo broken > {outside}/file) 2>/dev/null; \
         kill -9 $(cat {outside}/victim) 2>/dev/null; \
         head -c 160000000 /dev/zero | tail -c 160000000 > /dev/null; \
         echo $? > {{data}}/memory; exec sleep 1000"
    )
}

/// A service that may nothing of it, or, in the control, whatever its user may.
pub fn isolation(stage: &Stage, variant: Variant) -> Result<Seen> {
    let dir = room()?;
    let outside = dir.path().join("outside");
    fs::create_dir(&outside)?;
    let file = outside.join("file");
    fs::write(&file, "whole\n")?;
    // By its permissions anyone may write here.
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o777))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    let confined = match variant {
        Variant::Whole => {
            "limits = { memory = \"64MiB\" }\nisolation = { network = \"none\", read_only = [\"outside\"], signals = \"own\" }"
        }
        Variant::Broken => "isolation = { signals = \"any\" }",
    };
    let toml = format!(
        "[[service]]\nname = \"shop\"\ncommand = {worker}\nlisten = \"127.0.0.1:0\"\n\
         ready = {{ http = \"/healthz\" }}\n\n\
         [[service]]\nname = \"jail\"\ncommand = {jail}\nlisten = \"127.0.0.1:0\"\nsocket = \"inherit\"\n\
         ready = {{ process = true }}\n{confined}\n",
        worker = worker(&stage.grace, &[]),
        jail = Value::from(vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            script(&outside)
        ]),
    );
    let fleet = Fleet::start_in(stage, dir, &toml)?;
    let (neighbour, jail) = (fleet.instance("shop-1")?, fleet.instance("jail-1")?);
    let mut seen = Seen::new();
    let net = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let own = net(&jail.pid.to_string());
    let devices = fs::read_to_string(format!("/proc/{}/net/dev", jail.pid)).unwrap_or_default();
    seen.look(
        own.is_some() && own != net("self") && devices.lines().skip(2).count() == 1,
        "it has a network of its own with nothing but a loopback",
    );
    fs::write(outside.join("victim"), neighbour.pid.to_string())?;
    let memory = fleet.data("jail-1").join("memory");
    let ended = stage.need("the end of what the instance tries", || {
        let text = fs::read_to_string(&memory).ok()?;
        text.trim().parse::<i32>().ok()
    })?;
    seen.look(
        judge::holds(&file, b"whole\n"),
        "a file outside, which anyone may write, is as it was",
    );
    seen.look(
        judge::runs(neighbour.pid),
        format!(
            "its neighbour, pid {}, of the same user, lives",
            neighbour.pid
        ),
    );
    seen.look(
        ended == 137,
        format!("what took 160 MB of memory in it ended with {ended} (137: killed)"),
    );
    Ok(seen)
}
