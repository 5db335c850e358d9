//! Taking secrets out of a capsule, in all its parts: what a name, a path, a pattern or its form
//! gives away, and every other place where a value found so stands. What cannot be looked into,
//! such as a packed or cut body, goes as a whole.

mod names;
mod text;
mod value;

use std::collections::BTreeMap;

use grace_model::record::Redact;

use crate::blob::Blob;
use crate::capsule::{Answer, Capsule, Form, Request};

use names::Names;
use text::Scrub;

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`redact.patterns`: {pattern:?} is no regular expression: {why}")]
pub struct RuleError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

/// Takes secrets out by the rules of one service.
#[derive(Debug, Clone)]
pub struct Redactor {
    names: Names,
    patterns: Vec<regex_lite::Regex>,
}

/// Where one message is looked into.
struct Message<'a> {
    headers: &'a [(String, Blob)],
    body: &'a Blob,
    cut: bool,
}

impl Redactor {
    /// By these rules, beside those that always hold.
    ///
    /// # Errors
    /// [`RuleError`] for a pattern that is none.
    pub fn new(rules: &Redact) -> Result<Self, RuleError> {
        let own = rules.patterns.iter().map(|pattern| {
            regex_lite::Regex::new(pattern).map_err(|error| RuleError {
                pattern: pattern.clone(),
                why: error.to_string(),
            })
        });
        let known = text::known_patterns().into_iter().map(Ok);
        Ok(Self {
            names: Names::new(rules),
            patterns: known.chain(own).collect::<Result<_, _>>()?,
        })
    }

    /// The capsule without its secrets. `id` is what it was made from.
    #[must_use]
    pub fn capsule(&self, raw: &Capsule, id: &str) -> Capsule {
        let mut scrub = Scrub::new(&self.patterns);
        for request in &raw.requests {
            self.gather(request, &mut scrub);
        }
        for (name, value) in &raw.env {
            if self.names.is_secret(name) {
                scrub.learn(value);
            }
        }
        for word in text::secret_arguments(&raw.build.command, &self.names) {
            scrub.learn(word);
        }
        let mut capsule = raw.clone();
        capsule.form = Form::Redacted;
        capsule.made_from = Some(id.to_owned());
        capsule.output = scrub.text(&raw.output);
        capsule.build.command = text::arguments(&raw.build.command, &self.names, &scrub);
        capsule.build.program = scrub.text(&raw.build.program);
        capsule.env = self.variables(&raw.env, &scrub);
        capsule.requests = raw
            .requests
            .iter()
            .map(|request| self.request(request, &scrub))
            .collect();
        capsule
    }

    fn variables(
        &self,
        env: &BTreeMap<String, String>,
        scrub: &Scrub<'_>,
    ) -> BTreeMap<String, String> {
        env.iter()
            .map(|(name, value)| {
                let value = if self.names.is_secret(name) {
                    REDACTED.to_owned()
                } else {
                    scrub.text(value)
                };
                (name.clone(), value)
            })
            .collect()
    }

    /// Learns the values that names give away, to find them elsewhere too.
    fn gather(&self, request: &Request, scrub: &mut Scrub<'_>) {
        text::gather_query(&request.target, &self.names, scrub);
        self.gather_message(&of_request(request), scrub);
        if let Some(answer) = &request.answer {
            self.gather_message(&of_answer(answer), scrub);
        }
    }

    fn gather_message(&self, message: &Message<'_>, scrub: &mut Scrub<'_>) {
        for (name, value) in message.headers {
            let Some(text) = value.text() else { continue };
            match name.as_str() {
                "cookie" => text::gather_cookies(text, scrub),
                "set-cookie" => text::gather_cookies(text.split(';').next().unwrap_or(""), scrub),
                "referer" | "location" => text::gather_query(text, &self.names, scrub),
                name if self.names.is_secret_header(name) => {
                    scrub.learn(text);
                    // The scheme is none of it.
                    scrub.learn(text.split_once(' ').map_or("", |(_, rest)| rest));
                }
                _ => {}
            }
        }
        value::gather(message, &self.names, scrub);
    }

    fn request(&self, request: &Request, scrub: &Scrub<'_>) -> Request {
        let mut out = request.clone();
        out.target = scrub.text(&text::query(&request.target, &self.names));
        out.method = scrub.text(&request.method);
        let message = of_request(request);
        out.headers = self.headers(message.headers, scrub);
        out.body = value::body(&message, &self.names, scrub);
        out.body_bytes = size(&out.body, request.is_cut(), request.body_bytes);
        out.answer = request.answer.as_ref().map(|answer| {
            let message = of_answer(answer);
            let body = value::body(&message, &self.names, scrub);
            Answer {
                headers: self.headers(message.headers, scrub),
                body_bytes: size(&body, message.cut, answer.body_bytes),
                body,
                ..answer.clone()
            }
        });
        out
    }

    fn headers(&self, headers: &[(String, Blob)], scrub: &Scrub<'_>) -> Vec<(String, Blob)> {
        let one = |(name, value): &(String, Blob)| {
            let text = value.text();
            let value = match (name.as_str(), text) {
                // What is no text cannot be looked into.
                (_, None) => REDACTED.to_owned(),
                ("cookie", Some(text)) => text::cookies(text),
                ("set-cookie", Some(text)) => {
                    text::cookies(text.split(';').next().unwrap_or_default())
                }
                ("referer" | "location", Some(text)) => text::query(text, &self.names),
                (name, _) if self.names.is_secret_header(name) => REDACTED.to_owned(),
                (_, Some(text)) => text.to_owned(),
            };
            (scrub.text(name), Blob::from(scrub.text(&value).as_str()))
        };
        headers.iter().map(one).collect()
    }
}

fn of_request(request: &Request) -> Message<'_> {
    Message {
        headers: &request.headers,
        body: &request.body,
        cut: request.is_cut(),
    }
}

fn of_answer(answer: &Answer) -> Message<'_> {
    Message {
        headers: &answer.headers,
        body: &answer.body,
        cut: answer.body.0.len() as u64 != answer.body_bytes,
    }
}

/// A whole body stays whole, and a cut one cut.
fn size(body: &Blob, cut: bool, before: u64) -> u64 {
    let now = body.0.len() as u64;
    if cut { before.max(now + 1) } else { now }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::planted;
