//! The language of playbooks: read YAML, check it, choose one, fill in its values, explain it.
//! Pure: text and values in, values out. It must not know files, clocks or the fleet.
//!
//! ```text
//! read(text) -> Read -> check(catalogue) -> diagnostics
//!                 \-> Playbook -> choose(case) -> evaluate / fill / arguments while it runs
//! ```

pub mod check;
pub mod choose;
pub mod diagnostic;
pub mod duration;
pub mod explain;
pub mod expression;
mod keys;
pub mod read;
pub mod schema;
pub mod scope;
pub mod template;
#[cfg(test)]
mod tests;
mod yaml;

pub use check::{Catalogue, Loaded, check, load};
pub use choose::{Case, Choice, Chosen, Considered, choose};
pub use diagnostic::{Diagnostic, Level, Place, render};
pub use explain::explain;
pub use expression::{EvalError, SyntaxError, evaluate};
pub use read::{Read, read};
pub use schema::schema;
pub use scope::Scope;
pub use template::{arguments, fill, typed};
