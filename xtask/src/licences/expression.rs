//! SPDX licence expressions, as in a `Cargo.toml`'s `license` field.
//!
//! ```text
//! any     = all { ("OR" | "/") all }        "/" is how crates wrote OR before 2016
//! all     = licence { "AND" licence }
//! licence = name [ "WITH" exception ] | "(" any ")"
//! ```
//! Source: SPDX specification 2.3, annex D.

use std::iter::Peekable;
use std::str::FromStr;
use std::vec::IntoIter;

use anyhow::{Error, Result, bail, ensure};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// A licence, with its exception if it has one: `Apache-2.0 WITH LLVM-exception`.
    One(String),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

impl Expression {
    /// Whether someone who takes only licences that `accepts` can keep to this expression.
    pub(super) fn is_satisfied_by(&self, accepts: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::One(licence) => accepts(licence),
            Self::All(parts) => parts.iter().all(|part| part.is_satisfied_by(accepts)),
            Self::Any(parts) => parts.iter().any(|part| part.is_satisfied_by(accepts)),
        }
    }
}

impl FromStr for Expression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut tokens = tokens(text).into_iter().peekable();
        let expression = any(&mut tokens)?;
        match tokens.next() {
            None => Ok(expression),
            Some(rest) => bail!("unexpected {rest:?}"),
        }
    }
}

type Tokens = Peekable<IntoIter<String>>;

/// Words, and the marks `(`, `)` and `/` by themselves.
fn tokens(text: &str) -> Vec<String> {
    let spaced: String =
        text.chars().flat_map(|c| if "()/".contains(c) { vec![' ', c, ' '] } else { vec![c] }).collect();
    spaced.split_whitespace().map(str::to_owned).collect()
}

fn any(tokens: &mut Tokens) -> Result<Expression> {
    let mut parts = vec![all(tokens)?];
    while tokens.next_if(|token| token == "OR" || token == "/").is_some() {
        parts.push(all(tokens)?);
    }
    Ok(alone_or(parts, Expression::Any))
}

fn all(tokens: &mut Tokens) -> Result<Expression> {
    let mut parts = vec![licence(tokens)?];
    while tokens.next_if_eq("AND").is_some() {
        parts.push(licence(tokens)?);
    }
    Ok(alone_or(parts, Expression::All))
}

fn licence(tokens: &mut Tokens) -> Result<Expression> {
    if tokens.next_if_eq("(").is_some() {
        let inner = any(tokens)?;
        ensure!(tokens.next_if_eq(")").is_some(), "a parenthesis is not closed");
        return Ok(inner);
    }
    let licence = name(tokens)?;
    if tokens.next_if_eq("WITH").is_none() {
        return Ok(Expression::One(licence));
    }
    Ok(Expression::One(format!("{licence} WITH {}", name(tokens)?)))
}

fn name(tokens: &mut Tokens) -> Result<String> {
    match tokens.next() {
        None => bail!("a licence is missing at the end"),
        Some(token) if ["OR", "AND", "WITH", "(", ")", "/"].contains(&token.as_str()) => bail!("unexpected {token:?}"),
        Some(token) => Ok(token),
    }
}

fn alone_or(mut parts: Vec<Expression>, join: impl Fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _more => join(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_accepted_choice_is_enough() {
        assert!(accepts_mit("MIT"));
        assert!(accepts_mit("GPL-2.0-only OR MIT"));
        assert!(!accepts_mit("GPL-2.0-only OR GPL-3.0-only"));
    }

    #[test]
    fn every_part_of_a_conjunction_must_be_accepted() {
        assert!(!accepts_mit("MIT AND GPL-2.0-only"));
        assert!(accepts_mit("MIT AND MIT"));
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(accepts_mit("MIT OR GPL-2.0-only AND GPL-3.0-only"));
        assert!(!accepts_mit("(MIT OR GPL-2.0-only) AND GPL-3.0-only"));
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        let expression: Expression = "MIT OR Apache-2.0 WITH LLVM-exception".parse().unwrap();
        let names = [one("MIT"), one("Apache-2.0 WITH LLVM-exception")];
        assert_eq!(expression, Expression::Any(names.into()));
    }

    #[test]
    fn the_old_slash_means_or() {
        assert!(accepts_mit("MIT/Apache-2.0"));
        assert!(accepts_mit("Apache-2.0 / MIT"));
    }

    #[test]
    fn parentheses_nest_and_need_no_spaces() {
        assert!(accepts_mit("((MIT)OR(Zlib AND(ISC)))"));
    }

    #[test]
    fn broken_expressions_are_refused() {
        for broken in ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT Apache-2.0", "MIT WITH", "AND"] {
            assert!(broken.parse::<Expression>().is_err(), "{broken:?} was read");
        }
    }

    fn accepts_mit(expression: &str) -> bool {
        expression.parse::<Expression>().unwrap().is_satisfied_by(&|licence| licence == "MIT")
    }

    fn one(licence: &str) -> Expression {
        Expression::One(licence.to_owned())
    }
}
