//! Tests of expressions.

use grace_model::playbook::Expression;
use grace_model::plugin::Value;
use proptest::prelude::*;

use super::*;
use crate::playbook::Scope;

fn scope() -> Scope {
    let mut scope = Scope::new();
    scope.insert("restart.changed", true);
    scope.insert("finding.severity", "major");
    scope.insert("finding.confidence", 900_i64);
    scope.insert("finding.evidence.path", "/etc/a.json");
    scope.insert("params.time", "90s");
    scope
}

fn holds(text: &str) -> Result<bool, EvalError> {
    evaluate(&Expression(text.to_owned()), &scope())
}

#[test]
fn comparisons_and_logic_give_what_they_say() {
    for (text, expected) in [
        ("true", true),
        ("restart.changed", true),
        ("${restart.changed}", true),
        ("not restart.changed", false),
        ("not not true", true),
        (
            "finding.confidence >= 900 and finding.confidence < 901",
            true,
        ),
        (
            "finding.confidence > 900 or finding.confidence <= -5",
            false,
        ),
        ("${finding.confidence} == 900", true),
        ("finding.evidence.path contains '.json'", true),
        ("finding.evidence.path != \"/etc/a.json\"", false),
        ("finding.severity >= 'moderate'", true),
        ("finding.severity > 'major'", false),
        ("params.time > '1m'", true),
        ("false and nobody.knows", false),
        ("true or nobody.knows", true),
        ("true or false and false", true),
        ("(true or false) and false", false),
        ("'it\\'s' == \"it's\"", true),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn nothing_is_guessed_when_values_do_not_fit() {
    for (text, part) in [
        ("finding.confidence", "not true or false"),
        ("finding.confidence == '900'", "cannot be compared"),
        ("'a' < 'b'", "no order"),
        ("true < false", "no order"),
        ("finding.confidence contains 9", "in a text"),
        ("finding.severity and true", "not true or false"),
    ] {
        let error = holds(text).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn missing_evidence_says_what_there_is() {
    let error = holds("finding.evidence.file == 'x'").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the finding has no evidence `file`; it has `path`"
    );
    let error = holds("restart.chnged").unwrap_err();
    assert!(
        error.to_string().contains("did you mean `restart.changed`"),
        "{error}"
    );
}

#[test]
fn faults_are_told_with_their_place() {
    for (text, offset, part) in [
        ("a.b = 1", 4, "write `==`"),
        ("a.b && c.d", 4, "write `and`"),
        ("(a.b", 0, "never closed"),
        ("${a.b", 0, "never closed"),
        ("a.b)", 3, "not expected"),
        ("a.b == ", 7, "missing at the end"),
        ("", 0, "missing"),
        ("1 < 2 < 3", 6, "do not chain"),
        ("'abc", 0, "never closed"),
        ("12ab == 1", 0, "no whole number"),
        ("99999999999999999999 == 1", 0, "no whole number"),
        ("a..b", 0, "no name"),
        ("a.b == ü", 7, "no meaning"),
        ("and true", 0, "a value is expected"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.offset, offset, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    for deep in [
        format!("{}true{}", "(".repeat(5000), ")".repeat(5000)),
        format!("{}true", "not ".repeat(1000)),
        vec!["true"; 500].join(" and "),
        "x".repeat(MAX_LENGTH + 1),
        format!(
            "{}true{}",
            "(".repeat(MAX_DEPTH + 1),
            ")".repeat(MAX_DEPTH + 1)
        ),
    ] {
        let error = parse(&deep).unwrap_err();
        assert!(error.message.contains("at most"), "{error}");
    }
    assert!(
        parse(&format!(
            "{}true{}",
            "(".repeat(MAX_DEPTH),
            ")".repeat(MAX_DEPTH)
        ))
        .is_ok()
    );
}

#[test]
fn what_never_changes_is_known_beforehand() {
    for (text, constant) in [
        ("false", Some(false)),
        ("a.b and false", Some(false)),
        ("a.b or true", Some(true)),
        ("a.b and true", None),
        ("not (1 == 1)", Some(false)),
        ("1 > 2 or a.b", None),
        ("a.b == a.b", Some(true)),
        ("a.b", None),
    ] {
        assert_eq!(parse(text).unwrap().constant(), constant, "{text}");
    }
}

fn any_ast() -> impl Strategy<Value = Ast> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(|flag| Ast::Literal(Value::Flag(flag))),
        any::<i64>().prop_map(|number| Ast::Literal(Value::Integer(number))),
        "[ -~äß\\n]{0,8}".prop_map(|text| Ast::Literal(Value::Text(text))),
        "x[a-z_]{0,4}(\\.[a-z_][a-z0-9_-]{0,4}){0,2}"
            .prop_map(|name| Ast::Name { name, offset: 0 }),
    ];
    leaf.prop_recursive(5, 24, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|ast| Ast::Not(Box::new(ast))),
            pair.clone()
                .prop_map(|(a, b)| Ast::And(Box::new(a), Box::new(b))),
            pair.clone()
                .prop_map(|(a, b)| Ast::Or(Box::new(a), Box::new(b))),
            (0..7_usize, pair).prop_map(|(operator, (a, b))| {
                let operator = [
                    Operator::Equal,
                    Operator::NotEqual,
                    Operator::Less,
                    Operator::LessOrEqual,
                    Operator::Greater,
                    Operator::GreaterOrEqual,
                    Operator::Contains,
                ][operator];
                Ast::Compare(operator, Box::new(a), Box::new(b))
            }),
        ]
    })
}

fn without_places(ast: Ast) -> Ast {
    let inner = |ast: Box<Ast>| Box::new(without_places(*ast));
    match ast {
        Ast::Name { name, .. } => Ast::Name { name, offset: 0 },
        Ast::Not(a) => Ast::Not(inner(a)),
        Ast::And(a, b) => Ast::And(inner(a), inner(b)),
        Ast::Or(a, b) => Ast::Or(inner(a), inner(b)),
        Ast::Compare(operator, a, b) => Ast::Compare(operator, inner(a), inner(b)),
        literal @ Ast::Literal(_) => literal,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn an_expression_that_is_written_and_parsed_is_the_same(ast in any_ast()) {
        let written = ast.to_string();
        let parsed = parse(&written).map_err(|e| TestCaseError::fail(format!("{written}: {e}")))?;
        prop_assert_eq!(without_places(parsed), ast, "{}", written);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_text_of_its_own_words_makes_it_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "and", "or", "not", "(", ")", "${", "}", "==", "<", "contains", "a.b", "1", "'x'",
                "'", "\\", "-", ".",
            ]),
            0..40,
        ),
    ) {
        if let Ok(ast) = parse(&words.join(" ")) {
            let _ = ast.holds(&scope());
            let _ = ast.constant();
        }
    }

    #[test]
    fn what_is_constant_evaluates_to_that_or_to_an_error(ast in any_ast()) {
        if let Some(constant) = ast.constant()
            && let Ok(value) = ast.holds(&scope())
        {
            prop_assert_eq!(value, constant);
        }
    }
}
