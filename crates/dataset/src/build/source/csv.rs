//! CSV as RFC 4180 says, with a header. Every value is text.

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::{Counted, Reading, Sink, json};
use crate::build::{Error, Format, Problem, Value};

const BUFFER: usize = 1 << 20;
/// Rows between two reports of progress.
const ROWS_PER_STEP: u64 = 16_384;

pub(super) fn read(reading: &mut Reading<'_>, sink: Sink<'_>) -> Result<(), Error> {
    let file = Counted { inner: reading.open()?, bytes: 0 };
    let mut reader = ReaderBuilder::new().buffer_capacity(BUFFER).from_reader(file);
    let header = reader.byte_headers().map_err(|error| failed(reading, 0, error))?.clone();
    let columns = header.iter().map(|name| String::from_utf8(name.to_vec()));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| Error::Broken {
        file: reading.file.to_owned(),
        format: Format::Csv,
        source: format!("its header is no valid UTF-8: {error}").into(),
    })?;
    let key = reading.column(reading.key, &columns)?;
    let value = match reading.value {
        Value::Column(column) => Some(reading.column(column, &columns)?),
        Value::Json => None,
    };
    let order = json::Order::of(&columns, key);
    if value.is_none() {
        for column in &columns {
            reading.column(column, &columns)?; // two of one name would make an object with one name twice
        }
    }
    let mut record = ByteRecord::new();
    let mut object = Vec::new();
    for row in 1_u64.. {
        if !reader.read_byte_record(&mut record).map_err(|error| failed(reading, row, error))? {
            break;
        }
        // Bytes are checked, not converted: Redis has bytes, yet text in another encoding is a mistake.
        let broken = record.iter().position(|field| std::str::from_utf8(field).is_err());
        if let Some(column) = broken {
            return Err(reading.row(row, Problem::Utf8 { column: columns[column].clone() }));
        }
        match value {
            Some(value) => reading.give(sink, row, &record[key], &record[value])?,
            None => {
                order.object(&mut object, |column, out| json::text(&record[column], out));
                reading.give(sink, row, &record[key], &object)?;
            }
        }
        if row.is_multiple_of(ROWS_PER_STEP) {
            (reading.progress)(reader.get_ref().bytes);
        }
    }
    Ok(())
}

fn failed(reading: &Reading<'_>, row: u64, error: csv::Error) -> Error {
    match error.into_kind() {
        ErrorKind::Io(source) => Error::Read { file: reading.file.to_owned(), source },
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            reading.row(row, Problem::Columns { found: len, expected: expected_len })
        }
        other => reading.row(row, Problem::Other(format!("{other:?}"))),
    }
}
