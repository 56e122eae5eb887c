//! What a filter may ask of attributes.

use super::{Filter, Operator};
use crate::error::{Error, ScimType};
use crate::schema::{Attribute, DataType, ResourceType};

impl Filter {
    /// Whether the filter asks only for comparisons that there are: an order needs texts, numbers or
    /// times, and `co`, `sw` and `ew` need texts. Names that mean nothing are no error, they match nothing.
    ///
    /// # Errors
    /// `invalidFilter`, with the comparison.
    pub fn check(&self, types: &ResourceType) -> Result<(), Error> {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().try_for_each(|part| part.check(types)),
            Self::Not(filter) => filter.check(types),
            Self::Present(_) => Ok(()),
            Self::Compare { path, operator, .. } => {
                let attribute = types.find(path).map(|place| place.sub.unwrap_or(place.attribute));
                self.comparable(attribute, *operator)
            }
            Self::Has { path, filter } => match types.find(path) {
                Some(place) => filter.check_value(place.attribute),
                None => Ok(()),
            },
        }
    }

    /// The same for a filter on the values of an attribute.
    fn check_value(&self, attribute: &Attribute) -> Result<(), Error> {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().try_for_each(|part| part.check_value(attribute))
            }
            Self::Not(filter) => filter.check_value(attribute),
            Self::Present(_) | Self::Has { .. } => Ok(()),
            Self::Compare { path, operator, .. } => self.comparable(attribute.sub(&path.name), *operator),
        }
    }

    fn comparable(&self, attribute: Option<&Attribute>, operator: Operator) -> Result<(), Error> {
        let Some(attribute) = attribute.and_then(Attribute::compared) else {
            return Ok(());
        };
        let is_text = matches!(operator, Operator::Co | Operator::Sw | Operator::Ew);
        let possible = match attribute.data_type {
            DataType::Boolean => !operator.is_ordering() && !is_text,
            DataType::Binary => !operator.is_ordering(),
            DataType::Integer | DataType::Decimal => !is_text,
            DataType::String | DataType::DateTime | DataType::Reference | DataType::Complex => true,
        };
        if possible {
            return Ok(());
        }
        Err(Error::of(
            ScimType::InvalidFilter,
            format!(
                "`{self}`: `{}` cannot be asked of {}",
                operator.as_str(),
                attribute.data_type.phrase()
            ),
        ))
    }
}
