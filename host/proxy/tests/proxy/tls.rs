//! Clients that speak TLS, and certificates that change.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grace_model::config::{Protocol, Tls};
use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use crate::stage::Stage;

/// A certificate and its key.
struct Pair {
    cert: String,
    der: CertificateDer<'static>,
    key: String,
}

impl Pair {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self {
            cert: cert.pem(),
            der: cert.der().clone(),
            key: key.serialize_pem(),
        }
    }

    fn good() -> Self {
        Self::new(|_| {})
    }

    /// A client that trusts this one and no other.
    fn client(&self, stage: &Stage) -> Result<Secret, String> {
        self.client_for(stage, &[b"http/1.1"])
    }

    fn client_for(&self, stage: &Stage, alpn: &[&[u8]]) -> Result<Secret, String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        let name = ServerName::try_from("shop.test").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = TcpStream::connect(stage.addr).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(|error| error.to_string())?;
        }
        Ok(Secret(stream))
    }
}

struct Secret(StreamOwned<ClientConnection, TcpStream>);

impl Secret {
    /// One request; the answer as text, to the end of what it says.
    fn get(&mut self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        self.0.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("\r\n\r\n") {
            self.0.read_exact(&mut byte).unwrap();
            text.push(char::from(byte[0]));
        }
        let lower = text.to_lowercase();
        let (_, rest) = lower.split_once("content-length: ").expect(&lower);
        let length: usize = rest.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        text + &String::from_utf8(body).unwrap()
    }
}

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new(pair: &Pair) -> Self {
        let it = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        it.write(&pair.cert, &pair.key);
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts new files in the place of the old ones, as renewing programs do.
    fn write(&self, cert: &str, key: &str) {
        for (name, text) in [("new.key", key), ("new.crt", cert)] {
            std::fs::write(self.path(name), text).unwrap();
            let to = self.path(&name.replace("new", "shop"));
            std::fs::rename(self.path(name), to).unwrap();
        }
    }

    fn tls(&self) -> Tls {
        Tls {
            cert: self.path("shop.crt"),
            key: self.path("shop.key"),
        }
    }

    fn stage(&self) -> Stage {
        Stage::with(1, |table| table.services[0].front.tls = Some(self.tls()))
    }
}

fn problem(stage: &Stage) -> String {
    let stats = stage.stats();
    let problem = &stats["certificates"][0]["problem"];
    problem.as_str().unwrap_or_default().to_owned()
}

#[test]
fn tls_ends_at_the_proxy_and_the_instance_is_told() {
    let pair = Pair::good();
    let files = Files::new(&pair);
    let stage = files.stage();
    let mut client = pair.client(&stage).unwrap();
    assert_eq!(client.0.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..3 {
        let echo = client.get("/echo");
        assert!(echo.contains("x-forwarded-proto: https"), "{echo}");
    }
    let big = client.get("/big?3000000");
    assert!(big.len() > 3_000_000);
}

#[test]
fn a_new_certificate_is_taken_while_old_connections_go_on() {
    let (old, new) = (Pair::good(), Pair::good());
    let files = Files::new(&old);
    let stage = files.stage();
    let mut before = old.client(&stage).unwrap();
    before.get("/");
    files.write(&new.cert, &new.key);
    stage.until("the new one is in use", |stage| new.client(stage).is_ok());
    assert!(old.client(&stage).is_err(), "and the old one is not");
    assert_eq!(problem(&stage), "");
    assert!(before.get("/").contains("200"));
}

#[test]
fn a_bad_expired_or_mismatched_certificate_leaves_the_old_one_in_use_and_is_told() {
    let good = Pair::good();
    let other = Pair::good();
    let expired = Pair::new(|params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let early = Pair::new(|params| params.not_before = rcgen::date_time_ymd(2200, 1, 1));
    let files = Files::new(&good);
    let stage = files.stage();
    for (cert, key, words) in [
        (expired.cert.as_str(), expired.key.as_str(), "has expired"),
        (&early.cert, &early.key, "not valid yet"),
        (&other.cert, &good.key, "not a pair"),
        ("nonsense", &good.key, "there is no certificate"),
        (&other.cert, "nonsense", "shop.key"),
        (&other.key, &other.key, "there is no certificate"),
    ] {
        files.write(cert, key);
        stage.until(words, |stage| problem(stage).contains(words));
        let said = problem(&stage);
        assert!(said.contains("shop."), "it names the file: {said}");
        assert!(
            good.client(&stage).unwrap().get("/").contains("200"),
            "{words}"
        );
    }
    std::fs::remove_file(files.path("shop.crt")).unwrap();
    stage.until("it is told", |stage| problem(stage).contains("shop.crt"));
    assert!(good.client(&stage).is_ok());
    files.write(&other.cert, &other.key);
    stage.until("a good one is taken again", |stage| {
        other.client(stage).is_ok()
    });
    assert_eq!(problem(&stage), "");
}

#[test]
fn without_any_good_certificate_clients_are_turned_away_until_there_is_one() {
    let pair = Pair::good();
    let files = Files::new(&pair);
    files.write("nonsense", "nonsense");
    let stage = files.stage();
    assert!(pair.client(&stage).is_err());
    let mut plain = stage.client();
    plain.send("GET", "/", "X-Id: it\r\n", b"");
    assert!(plain.is_closed(), "never in the clear instead");
    assert_eq!(stage.workers[0].seen("it"), 0);
    files.write(&pair.cert, &pair.key);
    stage.until("it is taken", |stage| pair.client(stage).is_ok());
}

#[test]
fn a_client_that_never_ends_its_handshake_is_cut_off_and_one_in_the_clear_is_refused() {
    let pair = Pair::good();
    let files = Files::new(&pair);
    let stage = Stage::with(1, |table| {
        table.services[0].front.tls = Some(files.tls());
        table.proxy.head_timeout_ms = 300;
    });
    let mut silent = stage.client();
    let mut half = stage.client();
    half.write(b"\x16\x03\x01\x02\x00\x01");
    let mut plain = stage.client();
    plain.send("GET", "/", "X-Id: it\r\n", b"");
    let mut said = Vec::new();
    let _ = plain.stream().read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    assert!(silent.is_closed());
    assert!(half.is_closed());
    assert_eq!(stage.workers[0].seen("it"), 0);
    assert!(pair.client(&stage).unwrap().get("/").contains("200"));
}

#[test]
fn a_tcp_service_may_have_tls_too() {
    let pair = Pair::good();
    let files = Files::new(&pair);
    let stage = Stage::with(1, |table| {
        table.services[0].front.tls = Some(files.tls());
        table.services[0].front.protocol = Protocol::Tcp;
    });
    stage.workers[0].mode("raw");
    let mut client = pair.client(&stage).unwrap();
    let mut said = [0; 10];
    client.0.read_exact(&mut said).unwrap();
    assert_eq!(said, *b"220 ready\n");
    client.0.write_all(b"hello\n").unwrap();
    let mut said = [0; 13];
    client.0.read_exact(&mut said).unwrap();
    assert_eq!(said, *b"shop-1 hello\n");
}
