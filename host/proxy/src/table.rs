//! A new table: endpoints that are known are kept with all that is known of them, new ones are
//! put under watch, gone ones are let go.

use std::collections::HashMap;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use grace_model::config::{Front, Protocol};
use grace_model::event::Subject;
use grace_model::id::ServiceName;
use grace_model::instance::State;
use grace_model::ipc::{Table, TableInstance, TableProbe, TableService};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::address::Address;
use crate::budget::ServiceCells;
use crate::certs::{Certificate, InUse};
use crate::class::Classes;
use crate::control::{Control, News};
use crate::endpoint::Endpoint;
use crate::probe::{self, Pace};
use crate::routes::{RouteService, Routes, Shared, Target};
use crate::watched::{Leave, Watched};

impl Control {
    /// Makes a table the one that requests go by.
    pub(crate) fn apply(&mut self, table: Table) {
        let now = Instant::now();
        let mut keep = HashSet::new();
        let mut services = Vec::with_capacity(table.services.len());
        for service in &table.services {
            let cells = self.cells_of(&service.name);
            let probe = service.probe.clone().map(Rc::new);
            let mut targets = Vec::with_capacity(service.instances.len());
            for instance in &service.instances {
                let end = self.endpoint(service, instance, now);
                keep.insert(end.id);
                end.mark_fenced(instance.fenced);
                self.set_pace(&end, instance, probe.as_ref(), &service.front);
                targets.push(Target {
                    end,
                    state: instance.state,
                    fenced: instance.fenced,
                    weight: instance.weight,
                    leave: instance.leave,
                });
            }
            let front = Arc::new(service.front.clone());
            services.push(Arc::new(RouteService {
                cells,
                classes: Arc::new(Classes::new(&front.priority)),
                tls: self.certificate(&service.name, &front),
                front,
                record: Arc::new(service.record.clone()),
                targets,
            }));
        }
        self.watched.retain(|id, _| keep.contains(id));
        self.keys.retain(|_, id| keep.contains(id));
        let settings = Arc::new(table.proxy.clone());
        let routes = Arc::new(Routes { settings, services });
        self.table = Some(table);
        self.shared.routes.store(Arc::clone(&routes));
        self.set_limits(&routes);
        let epoch = self.shared.bump();
        self.begin_leaves(&routes, epoch);
    }

    /// The certificate of a service, read now if it is new.
    fn certificate(&mut self, name: &ServiceName, front: &Front) -> Option<Arc<InUse>> {
        let Some(files) = &front.tls else {
            self.certificates.remove(name);
            return None;
        };
        let known = self.certificates.get(name);
        if known.is_none_or(|it| !it.is_of(files)) {
            let mut new = Certificate::new(files.clone());
            new.look();
            tell_certificate(name, &new);
            self.certificates.insert(name.clone(), new);
        }
        let certificate = self.certificates.get(name)?;
        Some(Arc::clone(&certificate.in_use))
    }

    /// Takes certificates whose files have changed.
    pub(crate) fn look_at_certificates(&mut self) {
        for (name, certificate) in &mut self.certificates {
            if certificate.look() {
                tell_certificate(name, certificate);
            }
        }
    }

    fn cells_of(&mut self, name: &ServiceName) -> Arc<ServiceCells> {
        let threads = self.shared.threads.len();
        let cells = self
            .cells
            .entry(name.clone())
            .or_insert_with(|| Arc::new(ServiceCells::new(name.clone(), threads)));
        Arc::clone(cells)
    }

    /// The endpoint of a line of the table: the known one if it is the same process.
    fn endpoint(
        &mut self,
        service: &TableService,
        instance: &TableInstance,
        now: Instant,
    ) -> Arc<Endpoint> {
        let key = (instance.id.clone(), instance.generation);
        if let Some(watched) = self.keys.get(&key).and_then(|id| self.watched.get(id))
            && watched.end.addr == Address::of(instance)
            && watched.end.process == instance.process
        {
            return Arc::clone(&watched.end);
        }
        let subject = Subject {
            instance: instance.id.clone(),
            service: service.name.clone(),
            generation: instance.generation,
        };
        let mut dead = instance.process.is_none();
        let handle = instance.process.as_ref().and_then(|id| {
            match grace_os::pidfd::open_same(id) {
                Ok(Some(handle)) => Some(handle),
                Ok(None) => {
                    dead = true;
                    None
                }
                Err(error) => {
                    // Its death will be seen by its broken connections and its probe.
                    tracing::warn!(instance = %instance.id, %error, "no handle of its process");
                    None
                }
            }
        });
        let end = Arc::new(Endpoint::new(
            subject,
            Address::of(instance),
            instance.process.clone(),
            handle,
            self.shared.threads.len(),
        ));
        if dead {
            end.mark_dead();
        }
        let mut watched = Watched::new(Arc::clone(&end), now);
        if !dead {
            let prober = probe::watch(
                Arc::clone(&end),
                Rc::clone(&watched.pace),
                self.news.clone(),
            );
            // It begins with its first turn, when its pace has been set.
            watched
                .tasks
                .push(tokio::task::spawn_local(prober).abort_handle());
            let death = await_death(
                Arc::clone(&end),
                Arc::clone(&self.shared),
                self.news.clone(),
            );
            watched
                .tasks
                .push(tokio::task::spawn_local(death).abort_handle());
        }
        self.keys.insert(key, end.id);
        self.watched.insert(end.id, watched);
        end
    }

    fn set_pace(
        &self,
        end: &Arc<Endpoint>,
        instance: &TableInstance,
        probe: Option<&Rc<TableProbe>>,
        front: &Front,
    ) {
        let Some(watched) = self.watched.get(&end.id) else {
            return;
        };
        // No connection to a fenced one, and a paused one is known not to answer.
        let silent = instance.fenced || instance.state == State::Paused;
        let pace = Pace {
            probe: probe.filter(|_| !silent).map(Rc::clone),
            starting: instance.state == State::Starting,
            greeting: front.proxy_out,
            two: front.protocol == Protocol::H2c,
        };
        *watched.pace.borrow_mut() = (!end.dead()).then_some(pace);
    }

    fn begin_leaves(&mut self, routes: &Routes, epoch: u64) {
        let threads = self.shared.threads.len();
        let leaving: HashMap<u64, Option<u64>> = routes
            .services
            .iter()
            .flat_map(|service| &service.targets)
            .map(|target| (target.end.id, target.leaving().then_some(target.leave)))
            .collect();
        for (id, watched) in &mut self.watched {
            let Some(number) = leaving.get(id).copied().flatten() else {
                watched.leave = None;
                continue;
            };
            // A leave of another number wants a word of its own.
            if watched
                .leave
                .as_ref()
                .is_none_or(|leave| leave.number != number)
            {
                watched.leave = Some(Leave {
                    number,
                    epoch,
                    idle: vec![false; threads],
                    told: false,
                });
            }
        }
    }

    /// How an endpoint is probed: failures in a row that count, and whether it is starting.
    pub(crate) fn probing(&self, end: &Endpoint) -> (u32, bool) {
        let failures = self
            .table_service(&end.subject.service)
            .and_then(|service| service.probe.as_ref())
            .map_or(1, |probe| probe.failures);
        (failures, self.state_of(end) == Some(State::Starting))
    }

    /// Its state by the table.
    pub(crate) fn state_of(&self, end: &Endpoint) -> Option<State> {
        self.table_service(&end.subject.service)?
            .instances
            .iter()
            .find(|it| it.id == end.subject.instance && it.generation == end.subject.generation)
            .map(|it| it.state)
    }

    /// Services with a probe whose pass proves more than an open port.
    pub(crate) fn probed_by_http(&self) -> HashSet<ServiceName> {
        let services = self.table.iter().flat_map(|table| &table.services);
        services
            .filter(|service| {
                service
                    .probe
                    .as_ref()
                    .is_some_and(|probe| probe.http.is_some())
            })
            .map(|service| service.name.clone())
            .collect()
    }

    pub(crate) fn table_service(&self, name: &ServiceName) -> Option<&TableService> {
        self.table
            .as_ref()?
            .services
            .iter()
            .find(|service| service.name == *name)
    }
}

fn tell_certificate(name: &ServiceName, certificate: &Certificate) {
    match &certificate.problem {
        None => tracing::info!(service = %name, "a certificate is in use"),
        Some(problem) if certificate.in_use.get().is_some() => {
            tracing::error!(service = %name, problem, "the certificate before it stays in use");
        }
        Some(problem) => {
            tracing::error!(service = %name, problem, "no certificate; its clients are turned away");
        }
    }
}

/// Takes an endpoint out of rotation the moment its process ends, without asking anyone.
async fn await_death(end: Arc<Endpoint>, shared: Arc<Shared>, news: mpsc::Sender<News>) {
    let Some(handle) = end
        .handle
        .as_ref()
        .and_then(|handle| handle.try_clone().ok())
    else {
        return;
    };
    #[allow(
        deprecated,
        reason = "unsound only for types whose number may change or close early; an OwnedFd's \
                  cannot, and its successor is unsafe, which only `os` may be"
    )]
    let waiting = AsyncFd::<OwnedFd>::with_interest(handle, Interest::READABLE);
    let Ok(handle) = waiting else {
        tracing::warn!(instance = %end.subject.instance, "cannot wait for its death");
        return;
    };
    if handle.readable().await.is_ok() {
        if end.mark_dead() {
            shared.bump();
        }
        // Control may be ending.
        let _ = news.send(News::Died(end.id)).await;
    }
}
