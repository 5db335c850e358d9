//! Which class a request is of, by its path, method and headers, and how it ranks among the
//! classes that its service has. It sends nobody away.

use grace_model::config::{Class, Priority};
use http::header::{HeaderMap, HeaderName};
use http::{Method, Uri};

/// The rules of one service, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    rules: Vec<Rule>,
    /// Whether any rule is of the highest class.
    high: bool,
}

/// A class, and its place among those that the service has: 0 is the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) class: Class,
    pub(crate) rank: u8,
}

#[derive(Debug)]
struct Rule {
    class: Class,
    path: Option<String>,
    methods: Vec<Method>,
    header: Option<HeaderName>,
    value: Option<String>,
}

impl Classes {
    pub(crate) fn new(rules: &[Priority]) -> Self {
        Self {
            high: rules.iter().any(|rule| rule.class == Class::High),
            rules: rules.iter().filter_map(Rule::new).collect(),
        }
    }

    /// The class of a request: that of the first rule that fits.
    pub(crate) fn of(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Standing {
        let class = self
            .rules
            .iter()
            .find(|rule| rule.fits(method, uri, headers))
            .map_or(Class::Normal, |rule| rule.class);
        let rank = match class {
            Class::High => 0,
            Class::Normal => u8::from(self.high),
            Class::Low => u8::from(self.high) + 1,
        };
        Standing { class, rank }
    }
}

impl Rule {
    /// None: it names what no request can have, so that it never fits. The configuration is
    /// checked for that before.
    fn new(rule: &Priority) -> Option<Self> {
        let methods: Result<Vec<Method>, _> = rule.methods.iter().map(|it| it.parse()).collect();
        let header = match &rule.header {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        Some(Self {
            class: rule.class,
            path: rule.path.clone(),
            methods: methods.ok()?,
            header,
            value: rule.value.clone(),
        })
    }

    fn fits(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        let header = |name: &HeaderName| match &self.value {
            None => headers.contains_key(name),
            Some(value) => headers.get_all(name).iter().any(|it| it == value.as_str()),
        };
        (self.methods.is_empty() || self.methods.contains(method))
            && self
                .path
                .as_ref()
                .is_none_or(|path| is_below(uri.path(), path))
            && self.header.as_ref().is_none_or(header)
    }
}

/// Whether a path is this one, or one below it.
fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || top.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(class: Class) -> Priority {
        Priority {
            class,
            ..Priority::default()
        }
    }

    fn class(rules: &[Priority], method: Method, path: &str, header: Option<&str>) -> (Class, u8) {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.append("x-class", "other".parse().unwrap());
            headers.append("x-class", value.parse().unwrap());
        }
        let classes = Classes::new(rules);
        let standing = classes.of(&method, &path.parse().unwrap(), &headers);
        (standing.class, standing.rank)
    }

    #[test]
    fn without_rules_every_request_is_of_the_highest_rank_there_is() {
        assert_eq!(class(&[], Method::GET, "/", None), (Class::Normal, 0));
        let only_low = [Priority {
            path: Some("/batch".to_owned()),
            ..rule(Class::Low)
        }];
        assert_eq!(class(&only_low, Method::GET, "/", None), (Class::Normal, 0));
        assert_eq!(
            class(&only_low, Method::GET, "/batch/1", None),
            (Class::Low, 1)
        );
    }

    #[test]
    fn the_first_rule_of_which_everything_fits_decides() {
        let rules = [
            Priority {
                path: Some("/cart".to_owned()),
                methods: vec!["POST".to_owned()],
                ..rule(Class::High)
            },
            Priority {
                header: Some("x-class".to_owned()),
                value: Some("batch".to_owned()),
                ..rule(Class::Low)
            },
            Priority {
                header: Some("x-class".to_owned()),
                ..rule(Class::High)
            },
        ];
        for (method, path, header, wanted) in [
            (Method::POST, "/cart", None, (Class::High, 0)),
            (Method::POST, "/cart/7?x=1", Some("batch"), (Class::High, 0)),
            (Method::GET, "/cart", None, (Class::Normal, 1)),
            (Method::POST, "/cartoon", None, (Class::Normal, 1)),
            (Method::GET, "/", Some("batch"), (Class::Low, 2)),
            (Method::GET, "/", Some("batch2"), (Class::High, 0)),
        ] {
            assert_eq!(class(&rules, method, path, header), wanted, "{path}");
        }
    }

    #[test]
    fn a_path_is_below_another_by_whole_parts() {
        for (path, top, below) in [
            ("/a/b", "/a", true),
            ("/a", "/a", true),
            ("/ab", "/a", false),
            ("/a/b", "/a/", true),
            ("/a", "/a/", false),
            ("/x", "/", true),
        ] {
            assert_eq!(is_below(path, top), below, "{path} {top}");
        }
    }
}
