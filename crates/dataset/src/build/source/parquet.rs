//! Parquet, whatever its compression. Only the columns that are needed are read.

use std::fs::File;

use arrow_array::RecordBatch;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
};

use super::{Reading, Sink, arrow, json};
use crate::build::{Error, Format, Problem, Value};

/// Rows decoded at a time: enough to amortize a call, few enough that long values fit in memory.
const ROWS: usize = 1024;

pub(super) fn read(reading: &mut Reading<'_>, sink: Sink<'_>) -> Result<(), Error> {
    let file = reading.open()?;
    let size = file.metadata().map_err(|source| Error::Read { file: reading.file.to_owned(), source })?.len();
    // An Arrow schema that some writers embed would only add types that mean the same: dictionaries, views.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(|error| broken(reading, error))?;
    let columns: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let key = reading.column(reading.key, &columns)?;
    let value = match reading.value {
        Value::Column(column) => Some(reading.column(column, &columns)?),
        Value::Json => None,
    };
    let wanted: Vec<usize> = match value {
        Some(value) => vec![key, value],
        None => (0..columns.len()).collect(),
    };
    check_types(reading, &builder, &wanted, key, value)?;
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default().max(1);
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
    let batches = builder.with_projection(mask).with_batch_size(ROWS).build();
    let mut row = 0;
    for batch in batches.map_err(|error| broken(reading, error))? {
        let batch = batch.map_err(|error| {
            let problem = format!("{error} (the file is cut off or changed)");
            reading.row(row + 1, Problem::Other(problem))
        })?;
        row = give_all(reading, sink, &batch, row)?;
        // Rows say how far it is: the reader jumps between columns.
        (reading.progress)(
            u64::try_from(u128::from(size) * u128::from(row.min(rows)) / u128::from(rows)).unwrap_or(size),
        );
    }
    Ok(())
}

/// Hands out the rows of a batch; `row` of them came before.
fn give_all(reading: &Reading<'_>, sink: Sink<'_>, batch: &RecordBatch, mut row: u64) -> Result<u64, Error> {
    let schema = batch.schema();
    let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let key = reading.column(reading.key, &columns)?;
    let keys = arrow::Plain::of(batch.column(key)).expect("its type was checked");
    let (mut key_text, mut value) = (Vec::new(), Vec::new());
    let plain = match reading.value {
        Value::Column(column) => Some(arrow::Plain::of(batch.column(reading.column(column, &columns)?))),
        Value::Json => None,
    };
    let order = json::Order::of(&columns, key);
    for index in 0..batch.num_rows() {
        row += 1;
        let key = keys.get(index, &mut key_text).ok_or_else(|| reading.row(row, Problem::NullKey))?;
        match &plain {
            Some(values) => {
                let values = values.as_ref().expect("its type was checked");
                let value = values.get(index, &mut value).ok_or_else(|| reading.row(row, Problem::NullValue))?;
                reading.give(sink, row, key, value)?;
            }
            None => {
                order.object(&mut value, |column, out| arrow::json(batch.column(column), index, out));
                reading.give(sink, row, key, &value)?;
            }
        }
    }
    Ok(row)
}

fn check_types(
    reading: &Reading<'_>,
    builder: &ParquetRecordBatchReaderBuilder<File>,
    wanted: &[usize],
    key: usize,
    value: Option<usize>,
) -> Result<(), Error> {
    for index in wanted {
        let field = builder.schema().field(*index);
        let kind = field.data_type();
        let (is_fine, role) = match () {
            () if *index == key => (arrow::is_key(kind), "a key"),
            () if Some(*index) == value => (arrow::is_plain(kind), "a value; --value-json may"),
            () => (arrow::is_json(kind), "part of a JSON value"),
        };
        if !is_fine {
            let (file, column) = (reading.file.to_owned(), field.name().clone());
            return Err(Error::Type { file, column, kind: kind.to_string(), role });
        }
    }
    Ok(())
}

fn broken(reading: &Reading<'_>, error: parquet::errors::ParquetError) -> Error {
    Error::Broken { file: reading.file.to_owned(), format: Format::Parquet, source: error.into() }
}
