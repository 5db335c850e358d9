//! The healer's process: plugins, the loop, and the API as one of its kernels.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use grace_healer::{Healer, Pulse, Spec};
use grace_model::config::Config;
use grace_model::layout::Layout;
use grace_model::port::HostViews;
use grace_wasm::{Registry, Settings};
use tokio::signal::unix::{SignalKind, signal};

use crate::builtin;

/// Time between two signs of life of the API.
const BEAT: Duration = Duration::from_secs(1);
/// How soon the API notices that it is to end.
const LOOK: Duration = Duration::from_millis(250);

/// Lives until SIGTERM.
pub fn main(state: &Path) -> Result<(), String> {
    live(state).map_err(|error| format!("{error:#}"))
}

fn live(state: &Path) -> Result<()> {
    let layout = Layout::new(state);
    let stop = on_terminate()?;
    let text = std::fs::read(layout.config())
        .with_context(|| format!("cannot read {}", layout.config().display()))?;
    let config: Config = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{}: run `grace up` again, which writes it anew",
            layout.config().display()
        )
    })?;
    if let Some(what) = builtin::missing(builtin::PLUGINS, config.plugins.builtin) {
        tracing::warn!("{what}");
    }
    let settings = Settings {
        compiled: Some(grace_os::memory::give_back),
        ..Settings::of(&config, builtin::PLUGINS.to_vec())
    };
    let registry = Registry::start(settings)?;
    let playbooks: Vec<(String, String)> = builtin::PLAYBOOKS
        .iter()
        .map(|one| (one.name.to_owned(), one.text.to_owned()))
        .collect();
    let metrics = config.metrics.listen;
    let healer = grace_healer::start(config, layout.clone(), registry, &playbooks)?;
    api(&healer, &layout, metrics)?;
    healer.run_until_shutdown(|| stop.load(Ordering::Acquire))?;
    Ok(())
}

/// A flag that SIGTERM and SIGINT set.
fn on_terminate() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    drop(guard);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                set.store(true, Ordering::Release);
            });
        })?;
    Ok(stop)
}

/// The API as a kernel: started again when it fails, ended with the house.
fn api(healer: &Healer, layout: &Layout, metrics: Option<SocketAddr>) -> Result<()> {
    let socket = layout.api_socket();
    let views = healer.views();
    let spec = Spec {
        name: "api",
        tier: 3,
        depends_on: &["ledger", "registry", "fleet-watch"],
    };
    healer
        .supervise(spec, move |pulse| serve(&socket, metrics, &views, pulse))
        .map(drop)
        .map_err(|error| anyhow!("{error}"))
}

fn serve(
    socket: &Path,
    metrics: Option<SocketAddr>,
    views: &Arc<dyn HostViews>,
    pulse: &Pulse,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let answered = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&answered);
    let result = runtime.block_on(async {
        let server = grace_api::serve(socket, Arc::clone(views), counted);
        let watch = async {
            let mut told = 0;
            let mut beaten = tokio::time::Instant::now();
            while !pulse.stopping() {
                if beaten.elapsed() >= BEAT {
                    let now = answered.load(Ordering::Relaxed);
                    pulse.worked(now - told);
                    told = now;
                    beaten = tokio::time::Instant::now();
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            ended = server => ended.map_err(|error| error.to_string()),
            ended = scraped(metrics, views) => ended,
            () = watch => Ok(()),
        }
    });
    // A blocking view must not keep the process from ending.
    runtime.shutdown_background();
    result
}

/// The listener for scrapers, for ever. An address that is taken keeps nobody from the API.
async fn scraped(listen: Option<SocketAddr>, views: &Arc<dyn HostViews>) -> Result<(), String> {
    let Some(listen) = listen else {
        return std::future::pending().await;
    };
    let told = |heard: std::io::Result<SocketAddr>| match heard {
        Ok(addr) => tracing::info!(%addr, "metrics: listening"),
        Err(error) => tracing::warn!(
            %listen, %error,
            "metrics: cannot listen; it is tried again every second: end what has the address, \
             or change `[metrics] listen`"
        ),
    };
    let ended = grace_api::serve_metrics(listen, Arc::clone(views), told).await;
    ended.map_err(|error| format!("the listener for metrics on {listen} ended: {error}"))
}
