//! Values of Arrow arrays: as plain bytes for a key or a value, or as JSON. Only the types that Parquet itself has.

use arrow_array::{Array as _, ArrayRef, BinaryArray, FixedSizeBinaryArray, StringArray, cast::AsArray as _, types};
use arrow_schema::{DataType, TimeUnit};

use super::json;

/// A column whose values are bytes, or become text.
pub(super) enum Plain<'a> {
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Fixed(&'a FixedSizeBinaryArray),
    /// Written as JSON writes it.
    Scalar(&'a ArrayRef),
}

impl<'a> Plain<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Binary => Self::Binary(array.as_binary()),
            DataType::FixedSizeBinary(_) => Self::Fixed(array.as_fixed_size_binary()),
            kind if is_scalar(kind) => Self::Scalar(array),
            _ => return None,
        })
    }

    /// The value of a row, `None` if it is null. `text` is where it is written if it has to be.
    pub(super) fn get<'b>(&'b self, row: usize, text: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        match self {
            Self::Text(array) => (!array.is_null(row)).then(|| array.value(row).as_bytes()),
            Self::Binary(array) => (!array.is_null(row)).then(|| array.value(row)),
            Self::Fixed(array) => (!array.is_null(row)).then(|| array.value(row)),
            Self::Scalar(array) => {
                if array.is_null(row) {
                    return None;
                }
                text.clear();
                json(array, row, text);
                if text.first() == Some(&b'"') {
                    text.remove(0); // a time: plain text without quotes
                    text.pop();
                }
                Some(text)
            }
        }
    }
}

pub(super) fn is_key(kind: &DataType) -> bool {
    is_bytes(kind) || kind.is_integer()
}

pub(super) fn is_plain(kind: &DataType) -> bool {
    is_bytes(kind) || is_scalar(kind)
}

pub(super) fn is_json(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => is_json(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_json(field.data_type())),
        DataType::Null => true,
        kind => is_plain(kind),
    }
}

fn is_bytes(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::Binary | DataType::FixedSizeBinary(_))
}

fn is_scalar(kind: &DataType) -> bool {
    use DataType::{Boolean, Date32, Decimal128, Float32, Float64, Timestamp};
    kind.is_integer() || matches!(kind, Boolean | Float32 | Float64 | Date32 | Decimal128(..) | Timestamp(..))
}

/// Appends a value of a type that [`is_json`] as JSON: text as a string, bytes as a string of hex digits, times as RFC 3339 in UTC, decimals as strings.
/// Floats that JSON has no number for become null.
pub(super) fn json(array: &ArrayRef, row: usize, out: &mut Vec<u8>) {
    use DataType as Kind;
    macro_rules! number {
        ($kind:ty) => {
            out.extend_from_slice(array.as_primitive::<$kind>().value(row).to_string().as_bytes())
        };
    }
    if array.is_null(row) || matches!(array.data_type(), Kind::Null) {
        return out.extend_from_slice(b"null");
    }
    match array.data_type() {
        Kind::Boolean => out.extend_from_slice(array.as_boolean().value(row).to_string().as_bytes()),
        Kind::Int8 => number!(types::Int8Type),
        Kind::Int16 => number!(types::Int16Type),
        Kind::Int32 => number!(types::Int32Type),
        Kind::Int64 => number!(types::Int64Type),
        Kind::UInt8 => number!(types::UInt8Type),
        Kind::UInt16 => number!(types::UInt16Type),
        Kind::UInt32 => number!(types::UInt32Type),
        Kind::UInt64 => number!(types::UInt64Type),
        Kind::Float32 => float(array.as_primitive::<types::Float32Type>().value(row), out),
        Kind::Float64 => float(array.as_primitive::<types::Float64Type>().value(row), out),
        Kind::Date32 => {
            let days = i64::from(array.as_primitive::<types::Date32Type>().value(row));
            json::text(date(days).as_bytes(), out);
        }
        Kind::Timestamp(unit, _) => json::text(timestamp(array, row, *unit).as_bytes(), out),
        Kind::List(_) => list(&array.as_list::<i32>().value(row), out),
        Kind::Struct(fields) => {
            let columns: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
            let mut object = Vec::new();
            let values = array.as_struct();
            json::Order::of(&columns, usize::MAX)
                .object(&mut object, |column, out| json(values.column(column), row, out));
            out.append(&mut object);
        }
        Kind::Decimal128(..) => {
            let decimal = array.as_primitive::<types::Decimal128Type>().value_as_string(row);
            json::text(decimal.as_bytes(), out);
        }
        Kind::Utf8 => json::text(array.as_string::<i32>().value(row).as_bytes(), out),
        Kind::Binary => json::text(hex::encode(array.as_binary::<i32>().value(row)).as_bytes(), out),
        Kind::FixedSizeBinary(_) => json::text(hex::encode(array.as_fixed_size_binary().value(row)).as_bytes(), out),
        other => unreachable!("{other} was refused when the file was opened"),
    }
}

fn list(items: &ArrayRef, out: &mut Vec<u8>) {
    out.push(b'[');
    for row in 0..items.len() {
        if row > 0 {
            out.push(b',');
        }
        json(items, row, out);
    }
    out.push(b']');
}

fn float(number: impl Into<f64> + serde::Serialize + Copy, out: &mut Vec<u8>) {
    match number.into().is_finite() {
        true => serde_json::to_writer(out, &number).expect("a finite number is JSON"),
        false => out.extend_from_slice(b"null"),
    }
}

fn timestamp(array: &ArrayRef, row: usize, unit: TimeUnit) -> String {
    let (ticks, per_second, digits) = match unit {
        TimeUnit::Second => (array.as_primitive::<types::TimestampSecondType>().value(row), 1, 0),
        TimeUnit::Millisecond => (array.as_primitive::<types::TimestampMillisecondType>().value(row), 1_000, 3),
        TimeUnit::Microsecond => (array.as_primitive::<types::TimestampMicrosecondType>().value(row), 1_000_000, 6),
        TimeUnit::Nanosecond => (array.as_primitive::<types::TimestampNanosecondType>().value(row), 1_000_000_000, 9),
    };
    let (seconds, fraction) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let fraction = if digits == 0 { String::new() } else { format!(".{fraction:0digits$}") };
    format!("{}T{:02}:{:02}:{:02}{fraction}Z", date(days), second / 3600, second / 60 % 60, second % 60)
}

/// The day so many days after 1970-01-01, in the proleptic Gregorian calendar.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        let cases = [(0, "1970-01-01"), (-1, "1969-12-31"), (11_016, "2000-02-29"), (20_779, "2026-11-22")];
        for (days, expected) in cases {
            assert_eq!(date(days), expected);
        }
    }
}
