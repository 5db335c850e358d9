//! `grace up`.

use clap::{Args, ValueEnum};
use grace_model::config::Config;

use crate::builtin;
use crate::config::{self, Surroundings};
use crate::front::Front;
use crate::place::Globals;
use crate::problem::Outcome;

/// Start the services of grace.toml and keep them healthy
#[derive(Debug, Args)]
pub struct Up {
    /// Return when everything is ready and leave it running
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    less: Less,
}

/// What may be left out of a host.
#[derive(Debug, Clone, Default, Args)]
pub struct Less {
    /// Which plugins: `none`, or only those inside this program
    #[arg(long, value_name = "WHICH")]
    plugins: Option<Which>,
    /// Turn reflex and playbooks off, to see what would happen
    #[arg(long, hide = true)]
    no_heal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    None,
    Builtin,
}

impl Less {
    /// Leaves it out.
    pub fn apply(&self, config: &mut Config) {
        if let Some(which) = self.plugins {
            config.plugins.builtin = which == Which::Builtin;
            config.plugins.dir = std::path::PathBuf::new();
        }
        if self.no_heal {
            config.healing.playbooks = false;
            for service in &mut config.services {
                service.restart.reflex = false;
            }
        }
    }
}

impl Up {
    /// Starts it.
    pub fn run(self, globals: &Globals) -> Outcome {
        let mut config =
            config::load(&globals.file(), &Surroundings::here(globals.given_state()?))?;
        self.less.apply(&mut config);
        say_what_is_missing(&config);
        Front {
            config,
            detach: self.detach,
            json: globals.json,
            temporary: false,
        }
        .run()
    }
}

/// Notes about what a host of this configuration will not have.
pub fn say_what_is_missing(config: &Config) {
    if let Some(what) = builtin::missing(builtin::PLUGINS, config.plugins.builtin) {
        crate::show::note(&format!("note: {what}"));
    }
    for service in &config.services {
        if let Some(what) = &service.root_because {
            crate::show::note(&format!(
                "note: service {} runs as root, because {what}; set `user` to say whom it runs as",
                service.name
            ));
        }
    }
}
