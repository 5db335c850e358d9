//! Under load: errors and slowness of one instance are healed by actions alone, what is not
//! idempotent is never sent twice, and a WebSocket passes through.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::harness::{Host, Traffic, eventually, eventually_some, get, send, signal, worker};

/// Tells the process of one instance, past the proxy.
fn tell(host: &Host, id: &str, path: &str) {
    let port = host.instance(id)["port"].as_u64().expect("port");
    let addr = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("port")));
    assert_eq!(get(addr, path).expect("answer").status, 200);
}

#[test]
fn an_error_burst_is_healed_by_actions_alone() {
    let host = Host::shop(3, "");
    let addr = host.up();
    let traffic = Traffic::start(addr);
    // As long as a detector looks back, and more: against all that went well, the few requests
    // that fail before the proxy takes it out are no high share.
    traffic.more(5_000);
    let pid = host.pid("shop-2");
    tell(&host, "shop-2", "/break?errors=1");
    host.new_process("shop-2", pid);
    let incident = host.incident("shop-2", "resolved");
    assert_eq!(incident["playbook"], "error-rate", "{incident}");
    traffic.more(100);
    assert_eq!(traffic.stop(), Vec::<String>::new());
    // Its siblings were left alone.
    for id in ["shop-1", "shop-3"] {
        assert_eq!(host.instance(id)["generation"], 1);
    }
    host.down();
}

#[test]
fn an_instance_that_becomes_slow_is_healed_by_actions_alone() {
    // The limit is lower than by default, so that the test need not be as slow as that.
    let host = Host::shop(
        3,
        "[plugins.config.latency]\np99_limit = \"200ms\"\nmin_requests = 1\nsustain = \"1s\"\n",
    );
    let addr = host.up();
    let traffic = Traffic::start(addr);
    traffic.more(100);
    let pid = host.pid("shop-3");
    tell(&host, "shop-3", "/break?delay_ms=350");
    host.new_process("shop-3", pid);
    let incident = host.incident("shop-3", "resolved");
    assert_eq!(incident["playbook"], "latency-high", "{incident}");
    assert_eq!(traffic.stop(), Vec::<String>::new());
    host.down();
}

#[test]
fn a_post_in_flight_when_its_instance_is_killed_is_never_sent_twice_and_a_get_is() {
    let host = Host::new(&format!(
        "[[service]]\nname = \"shop\"\ncommand = {}\nlisten = \"127.0.0.1:0\"\ninstances = 3\nready = {{ http = \"/healthz\" }}\n",
        worker("\"--orders\", \"{data}/orders\"")
    ));
    let addr = host.up();
    let orders = || -> Vec<(String, String)> {
        ["shop-1", "shop-2", "shop-3"]
            .into_iter()
            .flat_map(|id| {
                let file = host.state().join("data").join(id).join("orders");
                let text = fs::read_to_string(file).unwrap_or_default();
                text.lines()
                    .map(|line| (id.to_owned(), line.to_owned()))
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    for round in 0..3 {
        let path = format!("/slow?ms=2500&id=order-{round}");
        std::thread::scope(|scope| {
            let post = scope.spawn(|| send(addr, "POST", &path, "one book"));
            let id = eventually_some("the order is begun", || {
                orders().into_iter().find(|(_, line)| *line == path)
            })
            .0;
            // Beside it, on the same instance or not: a GET may be sent again.
            let gets: Vec<_> = (0..6)
                .map(|number| {
                    let path = format!("/slow?ms=2500&id=look-{number}");
                    scope.spawn(move || get(addr, &path))
                })
                .collect();
            // Looks of every instance are under way: each is sent at once, and lasts long.
            eventually("the looks are in flight", || inflight(addr) >= 7);
            let pid = host.pid(&id);
            signal("KILL", pid);
            let answer = post.join().expect("thread").expect("an answer");
            assert_eq!(answer.status, 502, "{answer:?}");
            for get in gets {
                let answer = get.join().expect("thread").expect("an answer");
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            host.new_process(&id, pid);
        });
        let times = orders().iter().filter(|(_, line)| *line == path).count();
        assert_eq!(times, 1, "{:?}", orders());
    }
    // The control: without a death a POST is done, once.
    let answer = send(addr, "POST", "/echo?id=calm", "two books").expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "two books"));
    assert!(answer.head.contains("x-worker-pid: "), "{answer:?}");
    assert_eq!(
        orders()
            .iter()
            .filter(|(_, line)| line.contains("calm"))
            .count(),
        1
    );
    host.down();
}

/// Connections to the proxy that are established, as the kernel counts them.
fn inflight(addr: SocketAddr) -> usize {
    let port = format!(":{:04X}", addr.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    table
        .lines()
        .filter(|line| {
            let mut words = line.split_whitespace();
            words.nth(1).is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("01")
        })
        .count()
}

/// A client of a WebSocket through the proxy.
struct Socket(TcpStream);

impl Socket {
    fn open(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        // Key and answer of the example in RFC 6455.
        stream
            .write_all(
                b"GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .expect("write");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the answer's head");
            head.extend(byte);
        }
        let head = String::from_utf8(head).expect("text");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Self(stream)
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mask = [7, 1, 9, 4];
        let mut frame = vec![0x80 | opcode, 0x80 | 126];
        frame.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        self.0.write_all(&frame).expect("write");
    }

    fn receive(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let length = match head[1] {
            126 => {
                let mut long = [0; 2];
                self.0.read_exact(&mut long)?;
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        Ok((head[0] & 0x0f, payload))
    }

    fn echoes(&mut self, text: &str) {
        self.send(1, text.as_bytes());
        assert_eq!(
            self.receive().expect("an echo"),
            (1, text.as_bytes().to_vec())
        );
    }
}

#[test]
fn a_websocket_passes_through_and_outlives_the_deaths_of_others() {
    let host = Host::shop(2, "");
    let addr = host.up();
    let mut one = Socket::open(addr);
    one.echoes("hello");
    one.echoes(&"long ".repeat(5_000));
    for name in ["healer", "supervisor", "keeper"] {
        let pid = host.process(name);
        signal("KILL", pid);
        eventually(&format!("another {name}"), || host.process(name) != pid);
        one.echoes(name);
    }
    let mut two = Socket::open(addr);
    two.echoes("also");
    // A socket ends with its own instance.
    for id in ["shop-1", "shop-2"] {
        let pid = host.pid(id);
        signal("KILL", pid);
        host.new_process(id, pid);
    }
    assert!(one.receive().is_err() && two.receive().is_err());
    Socket::open(addr).echoes("again");
    host.down();
}
