//! A message as a mail, by SMTP. The password is read for each message and stands in no error.

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use grace_model::config::{Email, MailSecurity};
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};

use super::notify::Message;

/// Sends it within `limit`.
///
/// # Errors
/// Why it did not arrive, for a person.
pub fn send(email: &Email, message: &Message, limit: Duration) -> Result<(), String> {
    let mail = written(email, message)?;
    let transport = transport(email, limit)?;
    // The library's limit is one of each line. A server that sends its lines slowly would hold us
    // for ever, so the whole is waited for here; what is left ends with its own limits.
    let (sender, answer) = sync_channel(1);
    std::thread::Builder::new()
        .name("mail".to_owned())
        .spawn(move || {
            let sent = transport.send(&mail).map(drop).map_err(|e| e.to_string());
            let _nobody_waits_any_more = sender.send(sent);
        })
        .map_err(|e| e.to_string())?;
    let place = format!("{}:{}", email.server, email.port);
    match answer.recv_timeout(limit) {
        Ok(sent) => sent.map_err(|e| format!("{place}: {e}")),
        Err(RecvTimeoutError::Timeout) => Err(format!(
            "{place} did not take the mail within {} ms",
            limit.as_millis()
        )),
        Err(RecvTimeoutError::Disconnected) => Err(format!("{place}: the sending thread fell")),
    }
}

fn written(email: &Email, message: &Message) -> Result<Mail, String> {
    let mailbox = |address: &str| -> Result<Mailbox, String> {
        address.parse().map_err(|e| format!("{address}: {e}"))
    };
    let mut mail = Mail::builder()
        .from(mailbox(&email.from)?)
        // The same for a repetition, so that a reader sees it once.
        .message_id(Some(format!("<{}@grace>", message.id.replace('/', "."))))
        .subject(&message.subject)
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        mail = mail.to(mailbox(to)?);
    }
    let incident = message.incident.as_deref().unwrap_or("none");
    let severity = format!("{:?}", message.severity).to_lowercase();
    let text = format!(
        "{}\n\nincident: {incident}\nseverity: {severity}\nmessage: {}\n",
        message.text, message.id
    );
    mail.body(text).map_err(|e| e.to_string())
}

fn transport(email: &Email, limit: Duration) -> Result<SmtpTransport, String> {
    let parameters = || TlsParameters::new(email.server.clone()).map_err(|e| e.to_string());
    let tls = match email.security {
        MailSecurity::Tls => Tls::Wrapper(parameters()?),
        MailSecurity::Starttls => Tls::Required(parameters()?),
        MailSecurity::None => Tls::None,
    };
    let mut transport = SmtpTransport::builder_dangerous(&email.server)
        .port(email.port)
        .tls(tls)
        .timeout(Some(limit));
    if let Some((user, file)) = &email.login {
        let password = fs::read_to_string(file)
            .map_err(|e| format!("the password in {}: {e}", file.display()))?;
        let password = password.trim_end_matches(['\n', '\r']).to_owned();
        transport = transport.credentials(Credentials::new(user.clone(), password));
    }
    Ok(transport.build())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::reach::notify::tests::message;

    fn email(port: u16) -> Email {
        Email {
            server: "127.0.0.1".into(),
            port,
            security: MailSecurity::None,
            from: "grace@example.org".into(),
            to: vec!["ops@example.org".into(), "Night <night@example.org>".into()],
            login: None,
        }
    }

    /// A mail server for one connection: hands over what it was told.
    fn server(greets: bool) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut answer = stream.try_clone().unwrap();
            if greets {
                answer.write_all(b"220 test\r\n").unwrap();
            }
            let (mut all, mut body) = (String::new(), false);
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                all.push_str(&line);
                all.push('\n');
                let reply = match line.as_str() {
                    "." => {
                        body = false;
                        "250 taken\r\n"
                    }
                    _ if body => continue,
                    "DATA" => {
                        body = true;
                        "354 go on\r\n"
                    }
                    "QUIT" => "221 bye\r\n",
                    _ => "250 good\r\n",
                };
                if answer.write_all(reply.as_bytes()).is_err() {
                    break;
                }
            }
            all
        });
        (port, heard)
    }

    #[test]
    fn a_mail_reaches_everyone_it_is_for_by_smtp() {
        let (port, heard) = server(true);
        send(&email(port), &message(), Duration::from_secs(20)).unwrap();
        let heard = heard.join().unwrap();
        for part in [
            "MAIL FROM:<grace@example.org>",
            "RCPT TO:<ops@example.org>",
            "RCPT TO:<night@example.org>",
            "Subject: shop-1 is down",
            "incident: inc-1",
        ] {
            assert!(heard.contains(part), "{part} is not in {heard}");
        }
    }

    #[test]
    fn a_mail_server_that_hangs_is_bounded_and_a_password_that_cannot_be_read_is_named() {
        let (port, heard) = server(false);
        let error = send(&email(port), &message(), Duration::from_millis(300)).unwrap_err();
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
        heard.join().unwrap();
        let mut login = email(port);
        login.login = Some(("me".into(), "/nonexistent/password".into()));
        let error = send(&login, &message(), Duration::from_secs(20)).unwrap_err();
        assert!(error.contains("/nonexistent/password"), "{error}");
    }
}
