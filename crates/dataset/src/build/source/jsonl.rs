//! JSON lines: one object a line. Lines without anything are passed over.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
};

use serde_json::value::RawValue;

use super::{Counted, Reading, Sink, json};
use crate::build::{Error, MAX_VALUE_BYTES, Problem, Value};

const BUFFER: usize = 1 << 20;
/// Room for the largest value, however it is escaped, and its key.
const MAX_LINE_BYTES: u64 = 6 * MAX_VALUE_BYTES as u64 + (1 << 20);
/// Rows between two reports of progress.
const ROWS_PER_STEP: u64 = 16_384;

/// One line: its values as they are written, by name.
type Object<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

pub(super) fn read(reading: &mut Reading<'_>, sink: Sink<'_>) -> Result<(), Error> {
    let file = Counted { inner: reading.open()?, bytes: 0 };
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let (mut line, mut key, mut value) = (Vec::new(), Vec::new(), Vec::new());
    for row in 1_u64.. {
        line.clear();
        let read = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if read.map_err(|source| Error::Read { file: reading.file.to_owned(), source })? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let text = std::str::from_utf8(&line).map_err(|error| {
            let problem = format!("it is no valid UTF-8 from byte {} of the line", error.valid_up_to());
            reading.row(row, Problem::Other(problem))
        })?;
        let object: Object<'_> =
            serde_json::from_str(text).map_err(|error| reading.row(row, Problem::Json(error.to_string())))?;
        plain(reading, row, &object, reading.key, true, &mut key)?;
        value.clear();
        match reading.value {
            Value::Column(column) => plain(reading, row, &object, column, false, &mut value)?,
            Value::Json => rest(&object, reading.key, &mut value),
        }
        reading.give(sink, row, &key, &value)?;
        if row.is_multiple_of(ROWS_PER_STEP) {
            (reading.progress)(reader.get_ref().bytes);
        }
    }
    Ok(())
}

/// One column on its own: text without its quotes, anything else as JSON. Keys are text or integers.
fn plain(
    reading: &Reading<'_>,
    row: u64,
    object: &Object<'_>,
    column: &str,
    is_key: bool,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.clear();
    let refused = |problem| Err(reading.row(row, problem));
    let Some(raw) = object.get(column).map(|raw| raw.get()) else {
        let columns = object.keys().map(|name| name.clone().into_owned()).collect();
        return refused(Problem::NoColumn { column: column.to_owned(), columns });
    };
    match raw.as_bytes()[0] {
        b'"' => match serde_json::from_str::<Cow<'_, str>>(raw) {
            Ok(text) => out.extend_from_slice(text.as_bytes()),
            Err(error) => return refused(Problem::Json(error.to_string())),
        },
        b'n' if is_key => return refused(Problem::NullKey),
        b'n' => return refused(Problem::NullValue),
        _ if is_key && !raw.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) => {
            return refused(Problem::KeyType);
        }
        _ => json::compact(raw, out),
    }
    Ok(())
}

fn rest(object: &Object<'_>, key: &str, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut is_first = true;
    for (name, value) in object.iter().filter(|(name, _)| *name != key) {
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        json::text(name.as_bytes(), out);
        out.push(b':');
        json::compact(value.get(), out);
    }
    out.push(b'}');
}
