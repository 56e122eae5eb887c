//! The functions of expressions.

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `lower(text)`: in small letters.
    Lower,
    /// `upper(text)`: in capital letters.
    Upper,
    /// `trim(text)`: without spaces at both ends.
    Trim,
    /// `digits(text)`: the digits alone.
    Digits,
    /// `text(value)`: as text: numbers in digits, `true`, `false`.
    Text,
    /// `number(text)`: as a whole number; nothing if it is none.
    Number,
    /// `left(text, count)`: so many characters from the beginning.
    Left,
    /// `right(text, count)`: so many characters from the end.
    Right,
    /// `before(text, mark)`: what stands before the first mark; the whole text if there is none.
    Before,
    /// `after(text, mark)`: what stands behind the first mark; nothing if there is none.
    After,
    /// `replace(text, from, to)`: with every `from` as `to`.
    Replace,
    /// `join(between, value, …)`: the texts of the values that there are, with `between` between them.
    Join,
    /// `first(value, …)`: the first value that is neither nothing nor an empty text.
    First,
    /// `present(value)`: whether the value is neither nothing nor an empty text.
    Present,
    /// `if(condition, then, else)`: `then` if it is true, `else` if it is false, nothing if it is nothing.
    /// Without `else`, that is nothing.
    If,
    /// `not(condition)`.
    Not,
    /// `and(condition, …)`.
    And,
    /// `or(condition, …)`.
    Or,
    /// `equal(a, b)`: whether both are the same, with regard to case; false if one is nothing.
    Equal,
    /// `switch(value, case, result, …, otherwise)`: the result of the case that is the same as the value;
    /// without one, `otherwise`, or nothing.
    Switch,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Lower,
        Self::Upper,
        Self::Trim,
        Self::Digits,
        Self::Text,
        Self::Number,
        Self::Left,
        Self::Right,
        Self::Before,
        Self::After,
        Self::Replace,
        Self::Join,
        Self::First,
        Self::Present,
        Self::If,
        Self::Not,
        Self::And,
        Self::Or,
        Self::Equal,
        Self::Switch,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Trim => "trim",
            Self::Digits => "digits",
            Self::Text => "text",
            Self::Number => "number",
            Self::Left => "left",
            Self::Right => "right",
            Self::Before => "before",
            Self::After => "after",
            Self::Replace => "replace",
            Self::Join => "join",
            Self::First => "first",
            Self::Present => "present",
            Self::If => "if",
            Self::Not => "not",
            Self::And => "and",
            Self::Or => "or",
            Self::Equal => "equal",
            Self::Switch => "switch",
        }
    }

    /// How many arguments it takes: the least, the most, and that for people.
    pub(super) fn takes(self) -> (usize, usize, &'static str) {
        match self {
            Self::Lower
            | Self::Upper
            | Self::Trim
            | Self::Digits
            | Self::Text
            | Self::Number
            | Self::Present
            | Self::Not => (1, 1, "one argument"),
            Self::Left | Self::Right | Self::Before | Self::After | Self::Equal => (2, 2, "two arguments"),
            Self::Replace => (3, 3, "three arguments"),
            Self::If => (2, 3, "two or three arguments"),
            Self::First | Self::And | Self::Or => (1, usize::MAX, "at least one argument"),
            Self::Join => (2, usize::MAX, "at least two arguments"),
            Self::Switch => (3, usize::MAX, "at least three arguments"),
        }
    }
}
