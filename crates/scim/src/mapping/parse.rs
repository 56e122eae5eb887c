//! Reading expressions.

use std::str::FromStr;

use super::expr::is_inner;
use super::{Expr, Function};
use crate::text::{Scanner, SyntaxError, shortened};

/// How long an expression may be, in bytes.
pub const EXPR_LIMIT: usize = 4 * 1024;

impl Expr {
    /// Reads an expression that may use any name.
    ///
    /// # Errors
    /// If the text is none, or a larger one than is read.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Self::parse_with(text, |_| true)
    }

    /// Reads an expression on a record whose names are known.
    ///
    /// # Errors
    /// If the text is none, a larger one than is read, or uses another name.
    pub fn parse_with(text: &str, is_known: impl Fn(&str) -> bool) -> Result<Self, SyntaxError> {
        let mut parser = Parser {
            scanner: Scanner::new(text, EXPR_LIMIT)?,
            is_known: &is_known,
        };
        let expr = parser.joined()?;
        if parser.scanner.at_end() {
            Ok(expr)
        } else {
            Err(parser.scanner.expected("`+` or the end"))
        }
    }
}

impl FromStr for Expr {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::parse(text)
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    is_known: &'a dyn Fn(&str) -> bool,
}

impl Parser<'_> {
    fn joined(&mut self) -> Result<Expr, SyntaxError> {
        let first = self.one()?;
        let mut parts = Vec::new();
        while self.scanner.eat('+') {
            parts.push(self.one()?);
        }
        if parts.is_empty() {
            return Ok(first);
        }
        parts.insert(0, first);
        Ok(Expr::Join(parts))
    }

    /// One value, and the spaces around it.
    fn one(&mut self) -> Result<Expr, SyntaxError> {
        self.scanner.skip_spaces();
        let mark = self.scanner.mark();
        let expr = match self.scanner.peek() {
            Some('"') => Expr::Text(self.scanner.string()?),
            Some('-' | '0'..='9') => {
                let number = self.scanner.number()?;
                let whole = number.as_i64().ok_or_else(|| SyntaxError::Literal {
                    at: self.scanner.place(mark),
                    what: "this is no whole number, or too large a one",
                })?;
                Expr::Number(whole)
            }
            Some('(') => {
                self.scanner.enter()?;
                self.scanner.eat('(');
                let inner = self.joined()?;
                if !self.scanner.eat(')') {
                    return Err(self.scanner.expected("`+` or `)`"));
                }
                self.scanner.leave();
                inner
            }
            Some('`') => {
                self.scanner.eat('`');
                let name = self.scanner.run(|next| next != '`');
                if !self.scanner.eat('`') {
                    return Err(self.scanner.expected("the closing ` of the name"));
                }
                self.name(name, mark)?
            }
            Some(next) if is_inner(next) || next == '$' => self.word(mark)?,
            _ => {
                return Err(self.scanner.expected(
                    "a name, a function, \"text\" in quotation marks, a number, true, false or null",
                ));
            }
        };
        self.scanner.skip_spaces();
        Ok(expr)
    }

    /// A name, a function with its arguments, or a literal.
    fn word(&mut self, mark: usize) -> Result<Expr, SyntaxError> {
        let word = self
            .scanner
            .run(|next| is_inner(next) || matches!(next, '.' | '$'));
        self.scanner.skip_spaces();
        if self.scanner.peek() == Some('(') {
            return self.call(word, mark);
        }
        match word {
            "true" => Ok(Expr::Bool(true)),
            "false" => Ok(Expr::Bool(false)),
            "null" => Ok(Expr::Null),
            word if super::expr::is_plain(word) => self.name(word, mark),
            _ => {
                self.scanner.back_to(mark);
                Err(self.scanner.expected("a name such as username or name.givenName"))
            }
        }
    }

    fn name(&self, name: &str, mark: usize) -> Result<Expr, SyntaxError> {
        if (self.is_known)(name) {
            return Ok(Expr::Name(name.to_owned()));
        }
        Err(SyntaxError::Unknown {
            at: self.scanner.place(mark),
            kind: "field",
            name: shortened(name),
        })
    }

    /// The arguments of a function; the scanner stands at the parenthesis.
    fn call(&mut self, name: &str, mark: usize) -> Result<Expr, SyntaxError> {
        let known = Function::ALL
            .into_iter()
            .find(|function| function.as_str() == name);
        let function = known.ok_or_else(|| SyntaxError::Unknown {
            at: self.scanner.place(mark),
            kind: "function",
            name: shortened(name),
        })?;
        self.scanner.enter()?;
        self.scanner.eat('(');
        self.scanner.skip_spaces();
        let mut arguments = Vec::new();
        if !self.scanner.eat(')') {
            loop {
                arguments.push(self.joined()?);
                if self.scanner.eat(')') {
                    break;
                }
                if !self.scanner.eat(',') {
                    return Err(self.scanner.expected("`,`, `+` or `)`"));
                }
            }
        }
        self.scanner.leave();
        let (least, most, takes) = function.takes();
        if !(least..=most).contains(&arguments.len()) {
            return Err(SyntaxError::Arguments {
                at: self.scanner.place(mark),
                function: function.as_str(),
                takes,
                given: arguments.len(),
            });
        }
        Ok(Expr::Call(function, arguments))
    }
}
