//! Which attribute of one side is which of the other, as an administrator says it.
//!
//! A mapping is a list of targets, each with an [`Expr`] that says what comes there. Outward, targets are
//! SCIM [paths](crate::Path) and the record is a user of the directory; inward, targets are the
//! directory's fields and the record is the SCIM resource, whose values are named by paths.
//!
//! An expression is one value:
//!
//! | form | is |
//! |---|---|
//! | `username`, `name.givenName` | what the record has under a name; nothing if it has nothing |
//! | `` `emails[type eq "work"].value` `` | the same, for names with other characters |
//! | `"text"`, `12`, `true`, `false`, `null` | itself |
//! | `a + b` | the texts joined; nothing if one of them is nothing |
//! | `lower(a)` and the other [functions](Function) | what the function makes of it |
//!
//! Nothing is not false and no empty text: what is made of nothing is nothing, and a target whose
//! expression comes to nothing is left alone. An expression has no loops and no definitions, so
//! deciding it always ends; its size and that of its value are bounded.

mod decide;
mod expr;
mod function;
mod parse;
mod rules;

pub use decide::{Record, TEXT_LIMIT, TooLarge};
pub use expr::Expr;
pub use function::Function;
pub use parse::EXPR_LIMIT;
pub use rules::{Inward, MappingError, Outward, ResourceRecord, USER_IN, USER_OUT};
