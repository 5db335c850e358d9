//! Names that give a secret away: of headers, fields, variables, arguments.

use grace_model::record::Redact;

/// A name with one of these inside names a secret, written in any case and with any of `-_. `
/// between its words.
const WITHIN: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "privatekey",
    "accesskey",
    "sessionid",
    "cardnumber",
    "creditcard",
];
/// And one of these alone.
const EXACT: [&str; 16] = [
    "pwd",
    "pass",
    "pin",
    "cvv",
    "cvc",
    "ssn",
    "jwt",
    "otp",
    "sid",
    "sig",
    "auth",
    "session",
    "signature",
    "iban",
    "pan",
    "bearer",
];

/// Names by which values are known to be secret.
#[derive(Debug, Clone)]
pub(super) struct Names {
    headers: Vec<String>,
    query: Vec<String>,
    json: Vec<Vec<String>>,
}

impl Names {
    pub(super) fn new(rules: &Redact) -> Self {
        let lower = |all: &[String]| all.iter().map(|it| plain(it)).collect();
        Self {
            headers: lower(&rules.headers),
            query: lower(&rules.query),
            json: rules
                .json
                .iter()
                .map(|path| path.split('.').map(str::to_owned).collect())
                .collect(),
        }
    }

    /// Of a variable, an argument, a field.
    pub(super) fn is_secret(&self, name: &str) -> bool {
        let name = plain(name);
        WITHIN.iter().any(|word| name.contains(word)) || EXACT.contains(&name.as_str())
    }

    pub(super) fn is_secret_header(&self, name: &str) -> bool {
        self.is_secret(name) || self.headers.contains(&plain(name))
    }

    pub(super) fn is_secret_field(&self, name: &str) -> bool {
        self.is_secret(name) || self.query.contains(&plain(name))
    }

    /// Of a place in JSON: the keys that lead to it, places in lists left out. A rule of one name
    /// holds anywhere, one of several from the top on.
    pub(super) fn is_secret_path(&self, path: &[&str]) -> bool {
        let Some(last) = path.last() else {
            return false;
        };
        self.is_secret(last)
            || self.json.iter().any(|rule| match &rule[..] {
                [name] => name == last,
                rule => {
                    rule.len() == path.len()
                        && rule
                            .iter()
                            .zip(path)
                            .all(|(want, is)| want == "*" || want == is)
                }
            })
    }
}

fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_' | '.' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_writing_and_harmless_ones_are_let_be() {
        let names = Names::new(&Redact::default());
        for secret in [
            "X-Api-Key",
            "api_key",
            "accessToken",
            "PGPASSWORD",
            "pin",
            "Set-Cookie",
        ] {
            assert!(names.is_secret(secret), "{secret}");
        }
        for harmless in [
            "shipping",
            "opinion",
            "passenger",
            "id",
            "quantity",
            "assign",
        ] {
            assert!(!names.is_secret(harmless), "{harmless}");
        }
    }

    #[test]
    fn a_json_rule_of_one_name_holds_anywhere_and_a_path_from_the_top() {
        let names = Names::new(&Redact {
            json: vec!["maiden".to_owned(), "user.*.street".to_owned()],
            ..Redact::default()
        });
        assert!(names.is_secret_path(&["a", "maiden"]));
        assert!(names.is_secret_path(&["user", "home", "street"]));
        assert!(!names.is_secret_path(&["user", "street"]));
        assert!(!names.is_secret_path(&["x", "user", "home", "street"]));
    }
}
