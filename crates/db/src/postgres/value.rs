//! Values and rows as PostgreSQL has them.

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::error::typed;
use crate::value::kind;
use crate::{DbError, Row, Value};

pub(super) fn bound<'p>(params: &'p [Value<'p>]) -> Vec<&'p (dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// Adapts a value to the type that the statement gives the parameter.
impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        wanted: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, wanted) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(value), &Type::INT8) => value.to_sql(wanted, out),
            (Value::Int(value), &Type::INT4) => i32::try_from(*value)?.to_sql(wanted, out),
            (Value::Int(value), &Type::INT2) => i16::try_from(*value)?.to_sql(wanted, out),
            (Value::Bool(value), &Type::BOOL) => value.to_sql(wanted, out),
            (Value::Text(value), ty) if <&str as ToSql>::accepts(ty) => value.to_sql(wanted, out),
            (Value::Blob(value), &Type::BYTEA) => value.as_ref().to_sql(wanted, out),
            (value, wanted) => Err(format!(
                "{} was given, the statement wants {wanted}; if that is a guess, write CAST($n AS …)",
                kind(value)
            )
            .into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, DbError> {
    let value = |(index, column): (usize, &tokio_postgres::Column)| {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(index).map(|it| it.map(Value::Int)),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(index)
                .map(|it| it.map(|it| Value::Int(it.into()))),
            Type::INT2 => row
                .try_get::<_, Option<i16>>(index)
                .map(|it| it.map(|it| Value::Int(it.into()))),
            Type::BOOL => row
                .try_get::<_, Option<bool>>(index)
                .map(|it| it.map(Value::Bool)),
            Type::BYTEA => row
                .try_get::<_, Option<Vec<u8>>>(index)
                .map(|it| it.map(Value::from)),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => row
                .try_get::<_, Option<String>>(index)
                .map(|it| it.map(Value::from)),
            ref other => {
                let name = column.name();
                return Err(DbError::Other(format!(
                    "column {name} has the type {other}: CAST it to BIGINT or TEXT"
                )));
            }
        };
        value
            .map(|it| it.unwrap_or(Value::Null))
            .map_err(|error| typed(&error))
    };
    row.columns()
        .iter()
        .enumerate()
        .map(value)
        .collect::<Result<_, _>>()
        .map(Row::new)
}
