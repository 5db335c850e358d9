//! Expression and names to true or false. Nothing is guessed: a name without a value and a
//! comparison of different kinds of value are errors.

use std::cmp::Ordering;

use grace_model::playbook::Expression;
use grace_model::plugin::Value;

use super::{Ast, Operator, SyntaxError, parse};
use crate::playbook::duration;
use crate::playbook::scope::{Scope, severity_of};

/// Why an expression or a template has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// It could not be parsed. Checked playbooks have none of these.
    #[error("`{text}`: {error}")]
    Syntax {
        /// The whole text.
        text: String,
        /// Why.
        error: SyntaxError,
    },
    /// A name has no value.
    #[error("{reason}")]
    Missing {
        /// Which.
        name: String,
        /// Why, and what there is.
        reason: String,
    },
    /// Values of kinds that do not go together.
    #[error("{0}")]
    Kind(String),
}

/// Whether it holds.
///
/// # Errors
/// [`EvalError`]
pub fn evaluate(expression: &Expression, scope: &Scope) -> Result<bool, EvalError> {
    let ast = parse(&expression.0).map_err(|error| EvalError::Syntax {
        text: expression.0.clone(),
        error,
    })?;
    ast.holds(scope)
}

impl Ast {
    /// Whether it holds.
    ///
    /// # Errors
    /// [`EvalError`]
    pub fn holds(&self, scope: &Scope) -> Result<bool, EvalError> {
        match self.value(scope)? {
            Value::Flag(flag) => Ok(flag),
            other => Err(EvalError::Kind(format!(
                "`{self}` is {}, not true or false",
                kind(&other)
            ))),
        }
    }

    fn value(&self, scope: &Scope) -> Result<Value, EvalError> {
        match self {
            Ast::Literal(value) => Ok(value.clone()),
            Ast::Name { name, .. } => lookup(name, scope),
            Ast::Not(inner) => Ok(Value::Flag(!inner.holds(scope)?)),
            Ast::And(left, right) => Ok(Value::Flag(left.holds(scope)? && right.holds(scope)?)),
            Ast::Or(left, right) => Ok(Value::Flag(left.holds(scope)? || right.holds(scope)?)),
            Ast::Compare(operator, left, right) => {
                compare(*operator, &left.value(scope)?, &right.value(scope)?)
                    .map(Value::Flag)
                    .map_err(|problem| EvalError::Kind(format!("`{self}`: {problem}")))
            }
        }
    }
}

pub(crate) fn lookup(name: &str, scope: &Scope) -> Result<Value, EvalError> {
    scope.get(name).cloned().ok_or_else(|| EvalError::Missing {
        name: name.to_owned(),
        reason: scope.missing(name),
    })
}

pub(super) fn compare(operator: Operator, left: &Value, right: &Value) -> Result<bool, String> {
    match (operator, left, right) {
        (Operator::Contains, Value::Text(whole), Value::Text(part)) => Ok(whole.contains(part)),
        (Operator::Contains, ..) => Err("`contains` looks for a text in a text".to_owned()),
        (Operator::Equal, ..) => same_kind(left, right).map(|()| left == right),
        (Operator::NotEqual, ..) => same_kind(left, right).map(|()| left != right),
        _ => order(left, right).map(|order| match operator {
            Operator::Less => order == Ordering::Less,
            Operator::LessOrEqual => order != Ordering::Greater,
            Operator::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        }),
    }
}

fn same_kind(left: &Value, right: &Value) -> Result<(), String> {
    if std::mem::discriminant(left) == std::mem::discriminant(right) {
        Ok(())
    } else {
        Err(format!(
            "{} cannot be compared with {}",
            kind(left),
            kind(right)
        ))
    }
}

/// Numbers by size, severities by how bad they are, durations by length.
fn order(left: &Value, right: &Value) -> Result<Ordering, String> {
    same_kind(left, right)?;
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => Ok(left.cmp(right)),
        (Value::Text(left), Value::Text(right)) => {
            let severities = severity_of(left).zip(severity_of(right));
            let durations = || duration::parse(left).ok().zip(duration::parse(right).ok());
            severities
                .map(|(left, right)| left.cmp(&right))
                .or_else(|| durations().map(|(left, right)| left.cmp(&right)))
                .ok_or_else(|| "texts have no order, but for severities and durations".to_owned())
        }
        _ => Err("true and false have no order".to_owned()),
    }
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Flag(_) => "a flag",
        Value::Integer(_) => "a whole number",
        Value::Text(_) => "a text",
    }
}
