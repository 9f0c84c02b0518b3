//! Parquet, whatever its compression. Only the columns that are needed are read.

use std::fs::File;

use arrow_array::RecordBatch;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    file::metadata::RowGroupMetaData,
};

use super::{Reading, Sink, arrow, json};
use crate::build::{Error, Format, Problem, Value};

/// Most rows that are decoded at a time: enough to amortize a call.
const MOST_ROWS: usize = 1024;
/// Most bytes of them, whatever the memory: more would not be faster.
const MOST_BYTES: u64 = 16 << 20;

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
    let limit = u64::try_from(reading.memory).unwrap_or(u64::MAX).min(MOST_BYTES);
    let batch_rows = batch_rows(builder.metadata().row_groups().iter().map(|group| Group::of(group, &mask)), limit);
    let batches = builder.with_projection(mask).with_batch_size(batch_rows).build();
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

/// What a row group says of itself.
struct Group {
    rows: u64,
    /// Of the wanted columns, decoded.
    bytes: u64,
}

impl Group {
    fn of(group: &RowGroupMetaData, wanted: &ProjectionMask) -> Self {
        let number = |number: i64| u64::try_from(number).unwrap_or_default(); // below 0 is a lie, which reading will find
        let columns = group.columns().iter().enumerate().filter(|(leaf, _)| wanted.leaf_included(*leaf));
        let bytes = columns.map(|(_, column)| {
            // Of values in a dictionary the size has each once; newer writers say what they take in all rows.
            let decoded = column.unencoded_byte_array_data_bytes().unwrap_or_default();
            number(column.uncompressed_size().max(decoded))
        });
        Self { rows: number(group.num_rows()), bytes: bytes.fold(0, u64::saturating_add) }
    }
}

/// How many rows to decode at a time: as many as take `limit` bytes in the group whose rows are longest on average, at most
/// [`MOST_ROWS`].
fn batch_rows(groups: impl Iterator<Item = Group>, limit: u64) -> usize {
    let row_bytes = groups.map(|Group { rows, bytes }| bytes.div_ceil(rows.max(1))).max().unwrap_or_default();
    usize::try_from(limit / row_bytes.max(1)).map_or(MOST_ROWS, |rows| rows.clamp(1, MOST_ROWS))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_batch_has_fewer_rows_where_they_are_long() {
        let rows = |groups: &[(u64, u64)]| {
            batch_rows(groups.iter().map(|(rows, bytes)| Group { rows: *rows, bytes: *bytes }), 16 << 20)
        };
        assert_eq!(rows(&[(1_000_000, 200_000_000)]), MOST_ROWS);
        assert_eq!(rows(&[(100, 100 << 20)]), 16);
        assert_eq!(rows(&[(1_000_000, 200_000_000), (100, 100 << 20), (0, 0)]), 16, "the longest rows decide");
        assert_eq!(rows(&[(2, 1 << 30)]), 1, "one row is always read");
        assert_eq!(rows(&[(0, u64::MAX)]), 1);
        assert_eq!(rows(&[]), MOST_ROWS);
    }

    #[test]
    fn a_value_that_a_dictionary_has_once_is_counted_for_each_row() {
        const ROWS: usize = 100;
        let value = "v".repeat(10_000);
        let long: ArrayRef = Arc::new(StringArray::from(vec![value.as_str(); ROWS]));
        let short: ArrayRef = Arc::new(StringArray::from(vec!["v"; ROWS]));
        let batch = RecordBatch::try_from_iter([("long", long), ("short", short)]).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let of = |columns: [usize; 1]| {
            let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
            Group::of(builder.metadata().row_group(0), &mask)
        };
        let (long, short) = (of([0]), of([1]));
        assert_eq!((long.rows, short.rows), (100, 100));
        assert!(long.bytes >= 1_000_000 && short.bytes < 10_000, "{} {}", long.bytes, short.bytes);
    }
}
