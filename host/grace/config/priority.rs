//! `[[service.priority]]`: which requests come first when not all can be served, resolved and
//! checked. It matches no request; the proxy does.

use grace_model::config::{Priority, Protocol};
use toml::Spanned;

use super::fault::Fault;
use super::file::PriorityTable;

/// Rules of one service at most: every request is held against them until one fits.
const MOST: usize = 64;

/// Resolves the rules, in their order.
pub fn resolve(
    tables: Vec<Spanned<PriorityTable>>,
    protocol: Protocol,
    faults: &mut Vec<Fault>,
) -> Vec<Priority> {
    if let Some(first) = tables.first() {
        if protocol == Protocol::Tcp {
            let what = "priorities are of requests, and with `protocol = \"tcp\"` nobody looks at any; leave them out";
            faults.push(Fault::new(first.span(), what));
        }
        if tables.len() > MOST {
            let what = format!("at most {MOST} rules of priority");
            faults.push(Fault::new(first.span(), what));
        }
    }
    tables.into_iter().map(|table| one(table, faults)).collect()
}

fn one(table: Spanned<PriorityTable>, faults: &mut Vec<Fault>) -> Priority {
    let span = table.span();
    let table = table.into_inner();
    if table.path.is_none() && table.methods.is_empty() && table.header.is_none() {
        let what = "this rule fits every request; say which: `path = \"/cart\"`, `methods = [\"POST\"]` or \
                    `header = \"x-priority\"`";
        faults.push(Fault::new(span, what));
    }
    if let Some(path) = &table.path
        && !(path.get_ref().starts_with('/')
            && path.get_ref().bytes().all(|c| c.is_ascii_graphic()))
    {
        let what = "a path begins with / and is written as in a request, without spaces";
        faults.push(Fault::new(path.span(), what));
    }
    for method in &table.methods {
        let word = method.get_ref();
        if word.is_empty() || !word.bytes().all(|c| c.is_ascii_uppercase() || c == b'-') {
            let what = format!("{word:?} is no method; write it as \"POST\"");
            faults.push(Fault::new(method.span(), what));
        }
    }
    if let Some(header) = &table.header {
        let word = header.get_ref();
        let good = |c: u8| c.is_ascii_alphanumeric() || b"-_".contains(&c);
        if word.is_empty() || !word.bytes().all(good) {
            let what = format!("{word:?} is no name of a header; write it as \"x-priority\"");
            faults.push(Fault::new(header.span(), what));
        }
    }
    if let (Some(value), None) = (&table.value, &table.header) {
        let what = "`value` is that of a header; add `header = \"x-priority\"`";
        faults.push(Fault::new(value.span(), what));
    }
    let text = |it: Option<Spanned<String>>| it.map(Spanned::into_inner);
    Priority {
        class: table.class,
        path: text(table.path),
        methods: table.methods.into_iter().map(Spanned::into_inner).collect(),
        header: text(table.header).map(|it| it.to_ascii_lowercase()),
        value: text(table.value),
    }
}

#[cfg(test)]
mod tests {
    use grace_model::config::Class;

    use super::*;
    use crate::config::{Surroundings, parse};

    fn read(lines: &str) -> Result<Vec<Priority>, Vec<Fault>> {
        let dir = tempfile::tempdir().unwrap();
        let around = Surroundings {
            path: "/usr/bin:/bin".into(),
            root: false,
            state: None,
        };
        let text =
            format!("[[service]]\nname = \"shop\"\ncommand = \"sh\"\nlisten = \":0\"\n{lines}");
        let mut config = parse(&text, dir.path(), &around)?;
        Ok(config.services.remove(0).front.priority)
    }

    #[test]
    fn rules_of_priority_are_read_in_their_order() {
        let lines = "[[service.priority]]\nclass = \"high\"\npath = \"/cart\"\nmethods = [\"POST\", \"PUT\"]\n\
                     [[service.priority]]\nclass = \"low\"\nheader = \"X-Batch\"\nvalue = \"yes\"\n";
        let rules = read(lines).unwrap();
        let wanted = [
            Priority {
                class: Class::High,
                path: Some("/cart".to_owned()),
                methods: vec!["POST".to_owned(), "PUT".to_owned()],
                ..Priority::default()
            },
            Priority {
                class: Class::Low,
                header: Some("x-batch".to_owned()),
                value: Some("yes".to_owned()),
                ..Priority::default()
            },
        ];
        assert_eq!(rules, wanted);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn a_rule_of_priority_that_cannot_be_meant_is_refused_with_the_remedy() {
        for (head, rule, words) in [
            ("", "class = \"high\"", "fits every request"),
            ("", "class = \"urgent\"\npath = \"/\"", "high"),
            ("", "class = \"low\"\npath = \"cart\"", "begins with /"),
            ("", "class = \"low\"\nmethods = [\"post\"]", "POST"),
            ("", "class = \"low\"\nheader = \"x y\"", "x-priority"),
            ("", "class = \"low\"\npath = \"/\"\nvalue = \"1\"", "header"),
            ("", "class = \"low\"\npaths = \"/\"", "path"),
            (
                "protocol = \"tcp\"\n",
                "class = \"low\"\npath = \"/\"",
                "leave them out",
            ),
        ] {
            let faults = read(&format!("{head}[[service.priority]]\n{rule}")).unwrap_err();
            assert_eq!(faults.len(), 1, "{rule}");
            let said = format!("{:?}", faults[0]);
            assert!(said.contains(words), "{rule}: {said}");
        }
    }
}
