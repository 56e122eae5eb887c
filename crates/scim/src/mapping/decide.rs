//! What an expression comes to.

use serde_json::{Map, Value};

use super::{Expr, Function};

/// How long a text may become, in bytes.
pub const TEXT_LIMIT: usize = 64 * 1024;

/// What expressions ask for values.
pub trait Record {
    /// What there is under a name; `None` if nothing is.
    fn value(&self, name: &str) -> Option<Value>;
}

impl Record for Map<String, Value> {
    fn value(&self, name: &str) -> Option<Value> {
        self.get(name).filter(|value| !value.is_null()).cloned()
    }
}

/// A text would become longer than [`TEXT_LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text becomes longer than {TEXT_LIMIT} bytes")]
pub struct TooLarge;

impl Expr {
    /// What the expression comes to on a record; `Null` is nothing.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn value(&self, record: &dyn Record) -> Result<Value, TooLarge> {
        Ok(match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => (*number).into(),
            Self::Bool(flag) => (*flag).into(),
            Self::Null => Value::Null,
            Self::Name(name) => record.value(name).unwrap_or(Value::Null),
            Self::Join(parts) => {
                let mut joined = String::new();
                for part in parts {
                    let Some(text) = text(&part.value(record)?) else {
                        return Ok(Value::Null);
                    };
                    push(&mut joined, &text)?;
                }
                joined.into()
            }
            Self::Call(function, arguments) => call(*function, arguments, record)?,
        })
    }
}

fn push(joined: &mut String, text: &str) -> Result<(), TooLarge> {
    if joined.len() + text.len() > TEXT_LIMIT {
        return Err(TooLarge);
    }
    joined.push_str(text);
    Ok(())
}

/// A value as text; nothing, lists and objects have none.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A condition; only true and false are one.
fn condition(value: &Value) -> Option<bool> {
    value.as_bool()
}

fn is_present(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}

fn call(function: Function, arguments: &[Expr], record: &dyn Record) -> Result<Value, TooLarge> {
    let argument = |index: usize| match arguments.get(index) {
        Some(argument) => argument.value(record),
        None => Ok(Value::Null),
    };
    let text_at = |index: usize| Ok(text(&argument(index)?));
    let made = match function {
        Function::Lower => text_at(0)?.map(|text| text.to_lowercase()),
        Function::Upper => text_at(0)?.map(|text| text.to_uppercase()),
        Function::Trim => text_at(0)?.map(|text| text.trim().to_owned()),
        Function::Digits => text_at(0)?.map(|text| text.chars().filter(char::is_ascii_digit).collect()),
        Function::Text => text_at(0)?,
        Function::Number => {
            let number = text_at(0)?.and_then(|text| text.trim().parse::<i64>().ok());
            return Ok(number.map_or(Value::Null, Value::from));
        }
        Function::Left | Function::Right => {
            let count = argument(1)?
                .as_i64()
                .map(|count| usize::try_from(count).unwrap_or(0));
            text_at(0)?.zip(count).map(|(text, count)| {
                let skipped = match function {
                    Function::Right => text.chars().count().saturating_sub(count),
                    _ => 0,
                };
                text.chars().skip(skipped).take(count).collect()
            })
        }
        Function::Before => text_at(0)?
            .zip(text_at(1)?)
            .map(|(text, mark)| match text.split_once(&mark) {
                Some((before, _)) => before.to_owned(),
                None => text,
            }),
        Function::After => text_at(0)?
            .zip(text_at(1)?)
            .and_then(|(text, mark)| text.split_once(&mark).map(|(_, after)| after.to_owned())),
        Function::Replace => match (text_at(0)?, text_at(1)?, text_at(2)?) {
            (Some(text), Some(from), Some(to)) => Some(replaced(&text, &from, &to)?),
            _ => None,
        },
        Function::Join => joined(arguments, record)?,
        Function::First => {
            for argument in arguments {
                let value = argument.value(record)?;
                if is_present(&value) {
                    return Ok(value);
                }
            }
            None
        }
        Function::Present => return Ok(is_present(&argument(0)?).into()),
        Function::If => {
            return match condition(&argument(0)?) {
                Some(true) => argument(1),
                Some(false) => argument(2),
                None => Ok(Value::Null),
            };
        }
        Function::Not => return Ok(condition(&argument(0)?).map_or(Value::Null, |met| (!met).into())),
        Function::And => return all(arguments, record, true),
        Function::Or => return all(arguments, record, false),
        Function::Equal => {
            let (one, other) = (argument(0)?, argument(1)?);
            return Ok((!one.is_null() && one == other).into());
        }
        Function::Switch => return switch(arguments, record),
    };
    match made {
        Some(text) if text.len() > TEXT_LIMIT => Err(TooLarge),
        Some(text) => Ok(text.into()),
        None => Ok(Value::Null),
    }
}

fn replaced(text: &str, from: &str, to: &str) -> Result<String, TooLarge> {
    if from.is_empty() {
        return Ok(text.to_owned());
    }
    let mut replaced = String::new();
    for (index, part) in text.split(from).enumerate() {
        if index > 0 {
            push(&mut replaced, to)?;
        }
        push(&mut replaced, part)?;
    }
    Ok(replaced)
}

fn joined(arguments: &[Expr], record: &dyn Record) -> Result<Option<String>, TooLarge> {
    let Some((between, values)) = arguments.split_first() else {
        return Ok(None);
    };
    let Some(between) = text(&between.value(record)?) else {
        return Ok(None);
    };
    let mut joined: Option<String> = None;
    for value in values {
        let Some(text) = text(&value.value(record)?).filter(|text| !text.is_empty()) else {
            continue;
        };
        match &mut joined {
            None => joined = Some(text),
            Some(joined) => {
                push(joined, &between)?;
                push(joined, &text)?;
            }
        }
    }
    Ok(joined)
}

/// `and` if the neutral condition is true, `or` if it is false: one that is not neutral decides, else
/// nothing is nothing.
fn all(arguments: &[Expr], record: &dyn Record, neutral: bool) -> Result<Value, TooLarge> {
    let mut outcome = Value::Bool(neutral);
    for argument in arguments {
        match condition(&argument.value(record)?) {
            Some(met) if met == neutral => {}
            Some(met) => return Ok(met.into()),
            None => outcome = Value::Null,
        }
    }
    Ok(outcome)
}

fn switch(arguments: &[Expr], record: &dyn Record) -> Result<Value, TooLarge> {
    let Some((value, cases)) = arguments.split_first() else {
        return Ok(Value::Null);
    };
    let value = value.value(record)?;
    let mut pairs = cases.chunks_exact(2);
    for pair in &mut pairs {
        if let [case, result] = pair
            && !value.is_null()
            && case.value(record)? == value
        {
            return result.value(record);
        }
    }
    match pairs.remainder() {
        [otherwise] => otherwise.value(record),
        _ => Ok(Value::Null),
    }
}
