//! Secrets in plain text: by their form, as values known from elsewhere, in queries, cookies and
//! arguments.

use super::REDACTED;
use super::names::Names;

/// A known value shorter than this is not looked for elsewhere: it would be found everywhere.
const LEARN: usize = 6;

/// Forms of secrets that need no name.
const KNOWN: [&str; 9] = [
    // JSON web tokens.
    r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*",
    r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}",
    // Keys of well-known services.
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\b(?:sk|pk|rk)[-_](?:live|test|ant|proj)?[-_]?[A-Za-z0-9_-]{16,}",
    r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    // The user part of a URL.
    r"://[^/\s:@?#]+:[^/\s@]+@",
    // What a log or a message says by name.
    r#"(?i)\b[a-z0-9_-]*(?:password|passwd|passphrase|secret|token|api[_-]?key)["']?\s*[:=]\s*["']?[^\s"',;&}]+"#,
];

pub(super) fn known_patterns() -> Vec<regex_lite::Regex> {
    // Each is tested; one that were none would be left out here and missed there.
    let all = KNOWN.iter();
    all.filter_map(|it| regex_lite::Regex::new(it).ok())
        .collect()
}

/// Takes known values and forms out of any text.
pub(super) struct Scrub<'a> {
    patterns: &'a [regex_lite::Regex],
    /// Longest first, so that none hides a part of another.
    values: Vec<String>,
}

impl<'a> Scrub<'a> {
    pub(super) fn new(patterns: &'a [regex_lite::Regex]) -> Self {
        Self {
            patterns,
            values: Vec::new(),
        }
    }

    /// Remembers a secret value, also as it stands in URLs.
    pub(super) fn learn(&mut self, value: &str) {
        let value = value.trim();
        for form in [value.to_owned(), decoded(value), encoded(value)] {
            if form.len() >= LEARN && form != REDACTED && !self.values.contains(&form) {
                let longer = |it: &String| it.len() >= form.len();
                let at = self.values.partition_point(longer);
                self.values.insert(at, form);
            }
        }
    }

    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), REDACTED);
            }
        }
        for pattern in self.patterns {
            if pattern.is_match(&text) {
                text = pattern.replace_all(&text, REDACTED).into_owned();
            }
        }
        cards(&text)
    }
}

/// Takes out numbers of payment cards: 13 to 19 digits, also in groups, that pass the check of
/// ISO/IEC 7812.
fn cards(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_digit() || c == ' ' || c == '-';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(begin);
        let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
        let (run, after) = from.split_at(end);
        out.push_str(before);
        let digits: Vec<u32> = run.chars().filter_map(|c| c.to_digit(10)).collect();
        if (13..=19).contains(&digits.len()) && luhn(&digits) {
            out.push_str(REDACTED);
        } else {
            out.push_str(run);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != 0)
}

/// The pairs of a query or a form.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

pub(super) fn gather_query(target: &str, names: &Names, scrub: &mut Scrub<'_>) {
    if let Some((_, query)) = target.split_once('?') {
        gather_form(query, names, scrub);
    }
}

pub(super) fn gather_form(form: &str, names: &Names, scrub: &mut Scrub<'_>) {
    for (name, value) in pairs(form) {
        if names.is_secret_field(&decoded(name)) {
            scrub.learn(value);
        }
    }
}

/// A target with the values of secret fields taken out.
pub(super) fn query(target: &str, names: &Names) -> String {
    match target.split_once('?') {
        Some((path, query)) => format!("{path}?{}", form(query, names)),
        None => target.to_owned(),
    }
}

pub(super) fn form(text: &str, names: &Names) -> String {
    let one = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if names.is_secret_field(&decoded(name)) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    };
    text.split('&').map(one).collect::<Vec<_>>().join("&")
}

pub(super) fn gather_cookies(text: &str, scrub: &mut Scrub<'_>) {
    for pair in text.split(';') {
        scrub.learn(pair.split_once('=').map_or(pair, |(_, value)| value));
    }
}

/// Cookies without any value: each may be a key to somebody's session.
pub(super) fn cookies(text: &str) -> String {
    let one = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{}={REDACTED}", name.trim()),
        None => REDACTED.to_owned(),
    };
    text.split(';').map(one).collect::<Vec<_>>().join("; ")
}

/// Words of a command that follow a secret's name.
pub(super) fn secret_arguments<'a>(command: &'a [String], names: &Names) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut next = false;
    for word in command {
        match word.split_once('=') {
            Some((name, value)) if names.is_secret(name) => found.push(value),
            _ if next => found.push(word.as_str()),
            _ => {}
        }
        next = word.starts_with('-') && !word.contains('=') && names.is_secret(word);
    }
    found
}

pub(super) fn arguments(command: &[String], names: &Names, scrub: &Scrub<'_>) -> Vec<String> {
    let secret = secret_arguments(command, names);
    command
        .iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if secret.contains(&value) => format!("{name}={REDACTED}"),
            _ if secret.contains(&word.as_str()) => REDACTED.to_owned(),
            _ => scrub.text(word),
        })
        .collect()
}

/// `%41+b` as `A b`; what is no text then stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let byte = match (first, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high * 16 + low
                }
                _ => b'%',
            },
            (b'+', _) => b' ',
            _ => *first,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|it| u8::try_from(it).ok())
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_form() {
        let patterns = known_patterns();
        assert_eq!(patterns.len(), KNOWN.len(), "one of them is no pattern");
        let scrub = Scrub::new(&patterns);
        for secret in [
            "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4fw",
            "Authorization: Bearer abcdefgh12345",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_abcdefghijklmnopqrst1234",
            "sk-ant-abcdefghijklmnop1234",
            "postgres://app:hunter2@db/shop",
            "db_password = 'hunter2'",
            "4111 1111 1111 1111",
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
        ] {
            let out = scrub.text(&format!("before {secret} after"));
            assert!(
                out.contains(REDACTED) && out.starts_with("before "),
                "{out}"
            );
            for part in ["hunter2", "abcdefgh", "4111", "AKIAIO", "SflK", "abc\n"] {
                assert!(!out.contains(part), "{out}");
            }
        }
        let plain = "GET /orders/12345?page=2 took 17 ms, 4111 1111 1111 1112 is no card";
        assert_eq!(scrub.text(plain), plain);
    }

    #[test]
    fn a_value_is_found_as_it_stands_in_urls_too() {
        let mut scrub = Scrub::new(&[]);
        scrub.learn("a b/c-secret");
        assert_eq!(
            scrub.text("x=a%20b%2Fc-secret&y"),
            format!("x={REDACTED}&y")
        );
        let mut scrub = Scrub::new(&[]);
        scrub.learn("a+b%2Fc-secret");
        assert_eq!(scrub.text("<a b/c-secret>"), format!("<{REDACTED}>"));
    }

    #[test]
    fn arguments_after_a_secrets_name_are_taken_out() {
        let names = Names::new(&grace_model::record::Redact::default());
        let command = [
            "shop",
            "--db-password",
            "hunter2",
            "--token=abc",
            "--port",
            "1",
        ];
        let command: Vec<String> = command.iter().map(|it| (*it).to_owned()).collect();
        let out = arguments(&command, &names, &Scrub::new(&[]));
        let wanted = [
            "shop",
            "--db-password",
            REDACTED,
            "--token=[redacted]",
            "--port",
            "1",
        ];
        assert_eq!(out, wanted);
    }
}
