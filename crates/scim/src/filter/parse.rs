//! Reading filters.

use std::str::FromStr;

use super::{Filter, Literal, Operator};
use crate::Strictness;
use crate::error::Error;
use crate::name::{AttrPath, is_name};
use crate::text::{Scanner, SyntaxError};

/// How long a filter may be, in bytes.
pub const FILTER_LIMIT: usize = 8 * 1024;

/// Whether a filter stands on its own or on the values of an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Whole,
    Brackets,
}

impl Filter {
    /// Reads a filter. Lenient, a comparison may follow on a selection of values
    /// (`emails[type eq "work"].value eq "a@b.example"`, as Entra ID asks), which means that one of
    /// the selected values has that part.
    ///
    /// # Errors
    /// If the text is no filter, or a larger one than is read.
    pub fn parse(text: &str, strictness: Strictness) -> Result<Self, SyntaxError> {
        let mut parser = Parser {
            scanner: Scanner::new(text, FILTER_LIMIT)?,
            strictness,
        };
        let filter = parser.any(Place::Whole)?;
        if parser.scanner.at_end() {
            Ok(filter)
        } else {
            Err(parser.scanner.expected("`and`, `or` or the end"))
        }
    }

    /// Reads the filter of a request.
    ///
    /// # Errors
    /// `invalidFilter`.
    pub fn of_request(text: &str, strictness: Strictness) -> Result<Self, Error> {
        Self::parse(text, strictness).map_err(|error| Error::filter(&error))
    }

    /// Reads a filter on the values of an attribute, up to its closing bracket; the scanner stands
    /// behind the opening one.
    pub(crate) fn scan_brackets(scanner: &mut Scanner<'_>) -> Result<Self, SyntaxError> {
        // The scanner is lent to the parser, so that places count from the beginning of the path.
        let mut parser = Parser {
            scanner: std::mem::replace(scanner, Scanner::new("", 0)?),
            strictness: Strictness::Strict,
        };
        let filter = parser.brackets();
        *scanner = parser.scanner;
        filter
    }
}

impl FromStr for Filter {
    type Err = SyntaxError;

    /// As the standard has it.
    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::parse(text, Strictness::Strict)
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    strictness: Strictness,
}

impl Parser<'_> {
    fn any(&mut self, place: Place) -> Result<Filter, SyntaxError> {
        let first = self.all(place)?;
        let mut parts = vec![first];
        while self.word_is("or") {
            parts.push(self.all(place)?);
        }
        Ok(one_or(parts, Filter::Or))
    }

    fn all(&mut self, place: Place) -> Result<Filter, SyntaxError> {
        let first = self.one(place)?;
        let mut parts = vec![first];
        while self.word_is("and") {
            parts.push(self.one(place)?);
        }
        Ok(one_or(parts, Filter::And))
    }

    /// One filter, and the spaces around it.
    fn one(&mut self, place: Place) -> Result<Filter, SyntaxError> {
        self.scanner.skip_spaces();
        if self.scanner.peek() == Some('(') {
            return self.group(place);
        }
        if self.word_is("not") {
            self.scanner.skip_spaces();
            return Ok(Filter::Not(Box::new(self.group(place)?)));
        }
        let path = AttrPath::scan(&mut self.scanner)?;
        let filter = if self.scanner.peek() == Some('[') {
            if place == Place::Brackets || path.sub.is_some() {
                return Err(self.scanner.expected("an operator such as eq, or pr"));
            }
            self.scanner.eat('[');
            let filter = self.brackets()?;
            self.selected(path, filter)?
        } else {
            self.comparison(path)?
        };
        self.scanner.skip_spaces();
        Ok(filter)
    }

    /// A filter in parentheses, which are the next character.
    fn group(&mut self, place: Place) -> Result<Filter, SyntaxError> {
        self.scanner.enter()?;
        self.scanner.eat('(');
        let filter = self.any(place)?;
        if !self.scanner.eat(')') {
            return Err(self.scanner.expected("`and`, `or` or `)`"));
        }
        self.scanner.leave();
        self.scanner.skip_spaces();
        Ok(filter)
    }

    /// A filter behind an opening bracket, up to the closing one.
    fn brackets(&mut self) -> Result<Filter, SyntaxError> {
        self.scanner.enter()?;
        let filter = self.any(Place::Brackets)?;
        if !self.scanner.eat(']') {
            return Err(self.scanner.expected("`and`, `or` or `]`"));
        }
        self.scanner.leave();
        Ok(filter)
    }

    /// What follows the values that were selected: nothing or, lenient, a comparison of one part.
    fn selected(&mut self, path: AttrPath, filter: Filter) -> Result<Filter, SyntaxError> {
        let follows = !self.strictness.is_strict() && self.scanner.eat('.');
        let filter = if follows {
            let name = self
                .scanner
                .run(|next| next.is_ascii_alphanumeric() || matches!(next, '$' | '-' | '_'));
            if !is_name(name) {
                return Err(self.scanner.expected("the name of a part, such as value"));
            }
            let part = self.comparison(AttrPath::new(name))?;
            match filter {
                Filter::And(mut parts) => {
                    parts.push(part);
                    Filter::And(parts)
                }
                other => Filter::And(vec![other, part]),
            }
        } else {
            filter
        };
        Ok(Filter::Has {
            path,
            filter: Box::new(filter),
        })
    }

    /// The operator and the value that follow a name.
    fn comparison(&mut self, path: AttrPath) -> Result<Filter, SyntaxError> {
        const EXPECTED: &str = "an operator: eq, ne, co, sw, ew, gt, ge, lt, le or pr";
        let mark = self.scanner.mark();
        self.scanner.skip_spaces();
        if self.scanner.mark() == mark {
            return Err(self.scanner.expected(EXPECTED));
        }
        if self.word_is("pr") {
            return Ok(Filter::Present(path));
        }
        let operator = Operator::ALL
            .into_iter()
            .find(|operator| self.word_is(operator.as_str()))
            .ok_or_else(|| self.scanner.expected(EXPECTED))?;
        self.scanner.skip_spaces();
        let value = self.literal()?;
        Ok(Filter::Compare {
            path,
            operator,
            value,
        })
    }

    fn literal(&mut self) -> Result<Literal, SyntaxError> {
        match self.scanner.peek() {
            Some('"') => Ok(Literal::String(self.scanner.string()?)),
            Some('-' | '0'..='9') => Ok(Literal::Number(self.scanner.number()?)),
            _ if self.word_is("true") => Ok(Literal::Bool(true)),
            _ if self.word_is("false") => Ok(Literal::Bool(false)),
            _ if self.word_is("null") => Ok(Literal::Null),
            _ => Err(self
                .scanner
                .expected("a value: \"text\" in quotation marks, a number, true, false or null")),
        }
    }

    /// Goes behind a word of the language if that is the next one.
    fn word_is(&mut self, wanted: &str) -> bool {
        let mark = self.scanner.mark();
        let word = self
            .scanner
            .run(|next| next.is_ascii_graphic() && !matches!(next, '(' | ')' | '[' | ']' | '"' | ','));
        // `not` is an operator where a group follows it, and may be an attribute elsewhere.
        let is_it = word.eq_ignore_ascii_case(wanted) && (wanted != "not" || self.group_follows());
        if !is_it {
            self.scanner.back_to(mark);
        }
        is_it
    }

    fn group_follows(&mut self) -> bool {
        let mark = self.scanner.mark();
        self.scanner.skip_spaces();
        let follows = self.scanner.peek() == Some('(');
        self.scanner.back_to(mark);
        follows
    }
}

fn one_or(mut parts: Vec<Filter>, many: impl Fn(Vec<Filter>) -> Filter) -> Filter {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            many(parts)
        }
    }
}
