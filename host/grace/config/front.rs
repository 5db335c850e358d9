//! How a service's clients and instances are spoken to, resolved and checked.

use std::ops::Range;
use std::path::{Path, PathBuf};

use grace_model::config::{Front, Protocol, Tls};

use super::fault::Fault;
use super::file::{FrontKeys, SocketKind};
use super::priority;

/// Resolves the keys; `socket` is what the instances listen on, as written, with its place.
pub fn resolve(
    keys: FrontKeys,
    base: &Path,
    socket: Option<(&SocketKind, Range<usize>)>,
    instances: u32,
    faults: &mut Vec<Fault>,
) -> Front {
    let mut front = Front {
        protocol: keys.protocol.unwrap_or_default(),
        ..Front::default()
    };
    if let Some((SocketKind::Unix(path), span)) = socket {
        if !path.starts_with('/') && !path.starts_with("{data}/") {
            faults.push(Fault::new(
                span.clone(),
                "the path of a Unix socket is absolute or begins with {data}/, as {data}/shop.sock",
            ));
        }
        if instances > 1 && !path.contains("{data}") && !path.contains("{instance}") {
            faults.push(Fault::new(
                span,
                "every instance needs a Unix socket of its own; write {data}/shop.sock",
            ));
        }
        front.unix = Some(path.clone());
    }
    if let Some(table) = keys.proxy_protocol {
        front.proxy_in = table.accept.unwrap_or(false);
        if let Some(version) = table.send {
            if front.protocol != Protocol::Tcp {
                faults.push(Fault::new(
                    version.span(),
                    "a PROXY header is sent for `protocol = \"tcp\"` only: connections of HTTP are \
                     shared by many clients, and X-Forwarded-For tells who they are",
                ));
            }
            front.proxy_out = Some(version.into_inner());
        }
    }
    if let Some(table) = keys.tls {
        let mut file = |path: toml::Spanned<PathBuf>| {
            let whole = base.join(path.get_ref());
            if let Err(error) = std::fs::File::open(&whole) {
                let what = format!("cannot read {}: {error}", whole.display());
                faults.push(Fault::new(path.span(), what));
            }
            whole
        };
        front.tls = Some(Tls {
            cert: file(table.cert),
            key: file(table.key),
        });
    }
    for net in keys.trusted_proxies {
        match net.get_ref().parse() {
            Ok(net) => front.trusted_proxies.push(net),
            Err(error) => faults.push(Fault::new(net.span(), format!("{error}"))),
        }
    }
    front.trace = keys.trace.unwrap_or_default();
    front.priority = priority::resolve(keys.priority, front.protocol, faults);
    front
}

#[cfg(test)]
mod tests {
    use grace_model::config::{Config, ProxyVersion, Socket, Trace};

    use super::*;
    use crate::config::{Surroundings, parse};

    fn read(lines: &str) -> Result<Config, Vec<Fault>> {
        let dir = tempfile::tempdir().unwrap();
        let around = Surroundings {
            path: "/usr/bin:/bin".into(),
            root: false,
            state: None,
        };
        let text =
            format!("[[service]]\nname = \"shop\"\ncommand = \"sh\"\nlisten = \":0\"\n{lines}");
        parse(&text, dir.path(), &around)
    }

    #[test]
    fn a_tcp_service_on_unix_sockets_with_proxy_headers_is_read() {
        let lines = "protocol = \"tcp\"\nsocket = { unix = \"{data}/it.sock\" }\ninstances = 2\n\
                     proxy_protocol = { accept = true, send = \"v2\" }";
        let config = read(lines).unwrap();
        let service = &config.services[0];
        assert_eq!(service.socket, Socket::None);
        let wanted = Front {
            protocol: Protocol::Tcp,
            unix: Some("{data}/it.sock".to_owned()),
            proxy_in: true,
            proxy_out: Some(ProxyVersion::V2),
            ..Front::default()
        };
        assert_eq!(service.front, wanted);
    }

    #[test]
    fn whom_to_trust_and_what_becomes_of_traces_is_read() {
        let lines = "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\ntrace = \"pass\"";
        let front = &read(lines).unwrap().services[0].front;
        let nets: Vec<String> = front
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(nets, ["10.0.0.0/8", "::1/128"]);
        assert_eq!(front.trace, Trace::Pass);
        let front = &read("").unwrap().services[0].front;
        assert_eq!((front.trusted_proxies.len(), front.trace), (0, Trace::Hop));
    }

    #[test]
    fn a_front_that_cannot_work_is_refused_with_the_remedy() {
        for (lines, words) in [
            ("socket = { unix = \"it.sock\" }", "{data}/"),
            (
                "socket = { unix = \"/run/it.sock\" }\ninstances = 2",
                "of its own",
            ),
            ("proxy_protocol = { send = \"v1\" }", "X-Forwarded-For"),
            ("proxy_protocol = { send = \"v3\" }", "v1"),
            ("proxy_protocol = { sent = \"v1\" }", "sent"),
            ("protocol = \"udp\"", "tcp"),
            ("trusted_proxies = [\"10.0.0.0/64\"]", "10.0.0.0/8"),
            ("trace = \"off\"", "pass"),
            (
                "tls = { cert = \"/no/cert\", key = \"/dev/null\" }",
                "/no/cert",
            ),
        ] {
            let faults = read(lines).unwrap_err();
            assert_eq!(faults.len(), 1, "{lines}");
            let said = format!("{:?}", faults[0]);
            assert!(said.contains(words), "{lines}: {said}");
        }
    }
}
