//! A message as JSON, POSTed to an address. The address may be a secret itself, so errors name
//! its host only; the token is read for each message and stands in no error.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::notify::Message;

/// Sends it; every part of that, with connecting and reading the answer, within `limit`.
///
/// # Errors
/// Why it did not arrive, for a person: also every answer but 200 to 299.
pub fn post(
    url: &str,
    token_file: Option<&Path>,
    message: &Message,
    limit: Duration,
) -> Result<(), String> {
    let body = serde_json::to_vec(message).map_err(|e| e.to_string())?;
    let tls = TlsConfig::builder()
        .root_certs(roots(url))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        // Who answers with another address is not the one that was declared.
        .max_redirects(0)
        .tls_config(tls)
        .build()
        .into();
    let mut request = agent
        .post(url)
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", &message.id);
    if let Some(file) = token_file {
        let token = fs::read_to_string(file)
            .map_err(|e| format!("the token in {}: {e}", file.display()))?;
        request = request.header("Authorization", format!("Bearer {}", token.trim()));
    }
    let host = host_of(url);
    let answer = request.send(&body[..]).map_err(|e| match e {
        ureq::Error::Timeout(_) => format!("{host} gave no answer within {} ms", limit.as_millis()),
        other => format!("{host}: {other}"),
    })?;
    let status = answer.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("{host} answered {}", status.as_u16()))
    }
}

/// The machine's own certificates, when they are needed.
fn roots(url: &str) -> RootCerts {
    if !url.starts_with("https:") {
        return RootCerts::new_with_certs(&[]);
    }
    let found = rustls_native_certs::load_native_certs();
    for e in &found.errors {
        tracing::warn!(cause = %e, "some of the machine's certificates cannot be read");
    }
    let certificates: Vec<Certificate<'static>> = found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der.as_ref()).to_owned())
        .collect();
    RootCerts::new_with_certs(&certificates)
}

/// The host of an address, without what may be secret in it: user, password and path.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    place.rsplit('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::reach::notify::tests::message;

    /// Answers one request with `answer` and hands over what was sent; with none it is silent.
    fn server(answer: Option<&'static str>) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hooks/a-secret", listener.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            let mut part = [0; 1024];
            // All is there when the body's last byte is.
            while !text.ends_with(b"}") {
                match stream.read(&mut part).unwrap() {
                    0 => break,
                    n => text.extend_from_slice(&part[..n]),
                }
            }
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                // Until the other side has had enough.
                None => while stream.read(&mut part).is_ok_and(|n| n > 0) {},
            }
            String::from_utf8(text).unwrap()
        });
        (url, heard)
    }

    #[test]
    fn a_webhook_gets_the_message_as_json_with_its_token() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "abc123\n").unwrap();
        let (url, heard) = server(Some("HTTP/1.1 204 No Content\r\n\r\n"));
        post(&url, Some(&token), &message(), Duration::from_secs(20)).unwrap();
        let heard = heard.join().unwrap();
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hooks/a-secret HTTP/1.1"), "{head}");
        let lower = head.to_lowercase();
        assert!(lower.contains("authorization: bearer abc123"), "{head}");
        assert!(
            lower.contains("idempotency-key: inc-1/1/tell/1/0"),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["subject"], "shop-1 is down");
    }

    #[test]
    fn a_webhook_that_hangs_refuses_or_is_not_there_is_an_error_without_its_secrets() {
        let (url, heard) = server(None);
        let error = post(&url, None, &message(), Duration::from_millis(300)).unwrap_err();
        assert!(error.contains("no answer within 300 ms"), "{error}");
        heard.join().unwrap();
        let (refuses, heard) = server(Some("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"));
        let error = post(&refuses, None, &message(), Duration::from_secs(20)).unwrap_err();
        assert!(error.contains("answered 403"), "{error}");
        heard.join().unwrap();
        let error = post(&url, None, &message(), Duration::from_secs(20)).unwrap_err();
        for error in [
            error,
            post(
                "http://me:pw@127.0.0.1:1/x",
                None,
                &message(),
                Duration::from_secs(20),
            )
            .unwrap_err(),
        ] {
            assert!(
                !error.contains("secret") && !error.contains("pw"),
                "{error}"
            );
        }
    }
}
