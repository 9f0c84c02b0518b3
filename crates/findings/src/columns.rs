//! Findings as Arrow columns and back.
//!
//! Digests are hex text and names are text, so that a query can be typed; keys, paths and matched data
//! are binary, because they need not be text. No column is ever null.

use std::sync::{Arc, LazyLock};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, ListArray, RecordBatch, StringArray, StructArray, UInt32Array,
    UInt64Array,
    builder::{BinaryBuilder, ListBuilder, StringBuilder, StructBuilder, UInt64Builder},
};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use types::Digest;

use crate::{Fact, Finding, Knowledge, Match};

static MATCH_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        required("pattern", DataType::Utf8),
        required("offset", DataType::UInt64),
        required("length", DataType::UInt64),
        required("data", DataType::Binary),
    ])
});

static FACT_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        required("dataset", DataType::Utf8),
        required("version", DataType::Utf8),
        // `found`, `missing` or `unavailable`.
        required("state", DataType::Utf8),
        required("value", DataType::Binary),
        required("reason", DataType::Utf8),
    ])
});

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        required("tenant", DataType::Utf8),
        required("ruleset", DataType::Utf8),
        required("version", DataType::UInt32),
        required("corpus", DataType::Utf8),
        required("segment", DataType::UInt32),
        required("file", DataType::UInt32),
        required("key", DataType::Binary),
        required("path", DataType::Binary),
        required("size", DataType::UInt64),
        required("sha256", DataType::Utf8),
        required("namespace", DataType::Utf8),
        required("rule", DataType::Utf8),
        required("tags", DataType::List(Arc::new(tag_field()))),
        required("metadata", DataType::Utf8),
        required("unit", DataType::Utf8),
        required("engine", DataType::Utf8),
        required("engine_version", DataType::Utf8),
        required("matches", DataType::List(Arc::new(match_field()))),
        required("matches_truncated", DataType::Boolean),
        required("found_in", DataType::UInt32),
        // Not in files of the first builds.
        required("enrichment", DataType::List(Arc::new(fact_field()))),
    ]))
});

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn tag_field() -> Field {
    required("element", DataType::Utf8)
}

fn match_field() -> Field {
    required("element", DataType::Struct(MATCH_FIELDS.clone()))
}

fn fact_field() -> Field {
    required("element", DataType::Struct(FACT_FIELDS.clone()))
}

pub(crate) fn schema() -> SchemaRef {
    SCHEMA.clone()
}

pub(crate) fn to_batch(rows: &[&Finding]) -> Result<RecordBatch, ArrowError> {
    let text = |of: fn(&Finding) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| of(row))))
    };
    let hex = |of: fn(&Finding) -> &Digest| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| of(row).to_string())))
    };
    let binary = |of: fn(&Finding) -> &[u8]| -> ArrayRef {
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| of(row))))
    };
    let number = |of: fn(&Finding) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| of(row))))
    };
    RecordBatch::try_new(
        schema(),
        vec![
            text(|row| &row.tenant),
            text(|row| &row.ruleset),
            number(|row| row.version),
            text(|row| &row.corpus),
            number(|row| row.segment),
            number(|row| row.file),
            binary(|row| &row.key),
            binary(|row| &row.path),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.size))),
            hex(|row| &row.sha256),
            text(|row| &row.namespace),
            text(|row| &row.rule),
            tags(rows),
            text(|row| &row.metadata),
            hex(|row| &row.unit),
            text(|row| &row.engine),
            text(|row| &row.engine_version),
            matches(rows)?,
            Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.matches_truncated)))),
            number(|row| row.found_in),
            facts(rows)?,
        ],
    )
}

fn tags(rows: &[&Finding]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(tag_field());
    for row in rows {
        row.tags.iter().for_each(|tag| lists.values().append_value(tag));
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn matches(rows: &[&Finding]) -> Result<ArrayRef, ArrowError> {
    let wrong_builder = || ArrowError::SchemaError("the builder of matches does not fit MATCH_FIELDS".to_owned());
    let structs = StructBuilder::from_fields(MATCH_FIELDS.clone(), 0);
    let mut lists = ListBuilder::new(structs).with_field(match_field());
    for row in rows {
        let structs = lists.values();
        for Match { pattern, offset, length, data } in &row.matches {
            structs.field_builder::<StringBuilder>(0).ok_or_else(wrong_builder)?.append_value(pattern);
            structs.field_builder::<UInt64Builder>(1).ok_or_else(wrong_builder)?.append_value(*offset);
            structs.field_builder::<UInt64Builder>(2).ok_or_else(wrong_builder)?.append_value(*length);
            structs.field_builder::<BinaryBuilder>(3).ok_or_else(wrong_builder)?.append_value(data);
            structs.append(true);
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn facts(rows: &[&Finding]) -> Result<ArrayRef, ArrowError> {
    let wrong_builder = || ArrowError::SchemaError("the builder of enrichment does not fit FACT_FIELDS".to_owned());
    let structs = StructBuilder::from_fields(FACT_FIELDS.clone(), 0);
    let mut lists = ListBuilder::new(structs).with_field(fact_field());
    for row in rows {
        let structs = lists.values();
        for Fact { dataset, version, knowledge } in &row.enrichment {
            let (value, reason) = match knowledge {
                Knowledge::Found(value) => (value.as_slice(), ""),
                Knowledge::Missing => (&[][..], ""),
                Knowledge::Unavailable(reason) => (&[][..], reason.as_str()),
            };
            for (field, text) in [(0, dataset.as_str()), (1, version), (2, knowledge.state()), (4, reason)] {
                structs.field_builder::<StringBuilder>(field).ok_or_else(wrong_builder)?.append_value(text);
            }
            structs.field_builder::<BinaryBuilder>(3).ok_or_else(wrong_builder)?.append_value(value);
            structs.append(true);
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

/// Appends the rows of a batch. `Err` says what does not fit.
pub(crate) fn from_batch(batch: &RecordBatch, findings: &mut Vec<Finding>) -> Result<(), &'static str> {
    let columns = Columns::of(batch).ok_or("a column is missing or of another type")?;
    for row in 0..batch.num_rows() {
        findings.push(columns.row(row).ok_or("a row cannot be read")?);
    }
    Ok(())
}

struct Columns<'a> {
    tenant: &'a StringArray,
    ruleset: &'a StringArray,
    version: &'a UInt32Array,
    corpus: &'a StringArray,
    segment: &'a UInt32Array,
    file: &'a UInt32Array,
    key: &'a BinaryArray,
    path: &'a BinaryArray,
    size: &'a UInt64Array,
    sha256: &'a StringArray,
    namespace: &'a StringArray,
    rule: &'a StringArray,
    tags: &'a ListArray,
    metadata: &'a StringArray,
    unit: &'a StringArray,
    engine: &'a StringArray,
    engine_version: &'a StringArray,
    matches: &'a ListArray,
    matches_truncated: &'a BooleanArray,
    found_in: &'a UInt32Array,
    /// None in files of the first builds.
    enrichment: Option<&'a ListArray>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Option<&'a T> {
            let column = batch.column_by_name(name)?;
            if column.null_count() > 0 { None } else { column.as_any().downcast_ref() }
        }
        Some(Self {
            tenant: column(batch, "tenant")?,
            ruleset: column(batch, "ruleset")?,
            version: column(batch, "version")?,
            corpus: column(batch, "corpus")?,
            segment: column(batch, "segment")?,
            file: column(batch, "file")?,
            key: column(batch, "key")?,
            path: column(batch, "path")?,
            size: column(batch, "size")?,
            sha256: column(batch, "sha256")?,
            namespace: column(batch, "namespace")?,
            rule: column(batch, "rule")?,
            tags: column(batch, "tags")?,
            metadata: column(batch, "metadata")?,
            unit: column(batch, "unit")?,
            engine: column(batch, "engine")?,
            engine_version: column(batch, "engine_version")?,
            matches: column(batch, "matches")?,
            matches_truncated: column(batch, "matches_truncated")?,
            found_in: column(batch, "found_in")?,
            enrichment: match batch.column_by_name("enrichment") {
                Some(_) => Some(column(batch, "enrichment")?),
                None => None,
            },
        })
    }

    fn row(&self, row: usize) -> Option<Finding> {
        let text = |column: &StringArray| column.value(row).to_owned();
        Some(Finding {
            tenant: text(self.tenant),
            ruleset: text(self.ruleset),
            version: self.version.value(row),
            corpus: text(self.corpus),
            segment: self.segment.value(row),
            file: self.file.value(row),
            key: self.key.value(row).to_vec(),
            path: self.path.value(row).to_vec(),
            size: self.size.value(row),
            sha256: self.sha256.value(row).parse().ok()?,
            namespace: text(self.namespace),
            rule: text(self.rule),
            tags: tags_of(&self.tags.value(row))?,
            metadata: text(self.metadata),
            unit: self.unit.value(row).parse().ok()?,
            engine: text(self.engine),
            engine_version: text(self.engine_version),
            matches: matches_of(&self.matches.value(row))?,
            matches_truncated: self.matches_truncated.value(row),
            found_in: self.found_in.value(row),
            enrichment: self.enrichment.map_or(Some(Vec::new()), |facts| facts_of(&facts.value(row)))?,
        })
    }
}

fn tags_of(tags: &ArrayRef) -> Option<Vec<String>> {
    let tags: &StringArray = tags.as_any().downcast_ref()?;
    tags.iter().map(|tag| tag.map(str::to_owned)).collect()
}

fn matches_of(matches: &ArrayRef) -> Option<Vec<Match>> {
    let matches: &StructArray = matches.as_any().downcast_ref()?;
    let pattern: &StringArray = matches.column_by_name("pattern")?.as_any().downcast_ref()?;
    let offset: &UInt64Array = matches.column_by_name("offset")?.as_any().downcast_ref()?;
    let length: &UInt64Array = matches.column_by_name("length")?.as_any().downcast_ref()?;
    let data: &BinaryArray = matches.column_by_name("data")?.as_any().downcast_ref()?;
    let row = |row| Match {
        pattern: pattern.value(row).to_owned(),
        offset: offset.value(row),
        length: length.value(row),
        data: data.value(row).to_vec(),
    };
    Some((0..matches.len()).map(row).collect())
}

fn facts_of(facts: &ArrayRef) -> Option<Vec<Fact>> {
    let facts: &StructArray = facts.as_any().downcast_ref()?;
    let text = |name| -> Option<&StringArray> { facts.column_by_name(name)?.as_any().downcast_ref() };
    let (dataset, version, state, reason) = (text("dataset")?, text("version")?, text("state")?, text("reason")?);
    let value: &BinaryArray = facts.column_by_name("value")?.as_any().downcast_ref()?;
    let fact = |row| {
        let knowledge = match state.value(row) {
            "found" => Knowledge::Found(value.value(row).to_vec()),
            "missing" => Knowledge::Missing,
            "unavailable" => Knowledge::Unavailable(reason.value(row).to_owned()),
            _ => return None,
        };
        let owned = |column: &StringArray| column.value(row).to_owned();
        Some(Fact { dataset: owned(dataset), version: owned(version), knowledge })
    };
    (0..facts.len()).map(fact).collect()
}
