//! Conditions: comparisons and logic over dotted names. Pure, without functions or loops, and
//! bounded, so that a condition can neither hang nor change anything.
//!
//! ```text
//! or     := and { "or" and }
//! and    := not { "and" not }
//! not    := "not" not | compare
//! compare:= value [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "contains") value ]
//! value  := true | false | 12 | -3 | 'text' | "text" | name.name | "(" or ")" | "${" or "}"
//! ```

mod eval;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use grace_model::plugin::Value;

pub use eval::{EvalError, evaluate};
pub(crate) use eval::{kind, lookup};
pub(crate) use parse::is_name;
pub use parse::parse;

/// Longest expression, in bytes.
pub const MAX_LENGTH: usize = 4096;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 32;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ast {
    /// A fixed value.
    Literal(Value),
    /// A dotted name, and where it stands in the text.
    Name {
        /// Without spaces.
        name: String,
        /// First byte.
        offset: usize,
    },
    /// True when the operand is false.
    Not(Box<Ast>),
    /// True when both are.
    And(Box<Ast>, Box<Ast>),
    /// True when one is.
    Or(Box<Ast>, Box<Ast>),
    /// A comparison.
    Compare(Operator, Box<Ast>, Box<Ast>),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `contains`
    Contains,
}

impl Operator {
    /// As it is written.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::Contains => "contains",
        }
    }
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// First byte of the fault.
    pub offset: usize,
    /// Its length in bytes; may be 0 at the end of the text.
    pub length: usize,
    /// What is wrong.
    pub message: String,
}

impl Ast {
    /// Every name in it with its place.
    #[must_use]
    pub fn names(&self) -> Vec<(&str, usize)> {
        match self {
            Ast::Literal(_) => Vec::new(),
            Ast::Name { name, offset } => vec![(name, *offset)],
            Ast::Not(inner) => inner.names(),
            Ast::And(left, right) | Ast::Or(left, right) | Ast::Compare(_, left, right) => {
                let mut names = left.names();
                names.extend(right.names());
                names
            }
        }
    }

    /// Its value when it has the same one whatever the names stand for.
    #[must_use]
    pub fn constant(&self) -> Option<bool> {
        match self {
            Ast::Literal(Value::Flag(flag)) => Some(*flag),
            Ast::Literal(_) | Ast::Name { .. } => None,
            Ast::Not(inner) => inner.constant().map(|flag| !flag),
            Ast::And(left, right) => match (left.constant(), right.constant()) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), other) | (other, Some(true)) => other,
                (None, None) => None,
            },
            Ast::Or(left, right) => match (left.constant(), right.constant()) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), other) | (other, Some(false)) => other,
                (None, None) => None,
            },
            Ast::Compare(operator, left, right) => match (left.as_ref(), right.as_ref()) {
                (Ast::Literal(left), Ast::Literal(right)) => {
                    eval::compare(*operator, left, right).ok()
                }
                (Ast::Name { name: left, .. }, Ast::Name { name: right, .. }) if left == right => {
                    match operator {
                        Operator::Equal => Some(true),
                        Operator::NotEqual => Some(false),
                        _ => None,
                    }
                }
                _ => None,
            },
        }
    }
}

impl fmt::Display for Ast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ast::Literal(Value::Text(text)) => write_text(f, text),
            Ast::Literal(value) => write!(f, "{value}"),
            Ast::Name { name, .. } => f.write_str(name),
            Ast::Not(inner) => write!(f, "not {}", Inner(inner)),
            Ast::And(left, right) => write!(f, "{} and {}", Inner(left), Inner(right)),
            Ast::Or(left, right) => write!(f, "{} or {}", Inner(left), Inner(right)),
            Ast::Compare(operator, left, right) => {
                write!(f, "{} {} {}", Inner(left), operator.sign(), Inner(right))
            }
        }
    }
}

/// In parentheses, unless it is a single value.
struct Inner<'a>(&'a Ast);

impl fmt::Display for Inner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ast::Literal(_) | Ast::Name { .. } => write!(f, "{}", self.0),
            other => write!(f, "({other})"),
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    f.write_str("'")
}
