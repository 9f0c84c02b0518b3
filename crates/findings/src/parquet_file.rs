use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{metadata::KeyValue, properties::WriterProperties},
};

use crate::{Finding, columns, seal};

/// Key of the file's metadata that holds the format; see [`FORMAT`].
const FORMAT_KEY: &str = "dragnet.findings.format";
/// Raised when a column changes its meaning or goes. Columns may be added without raising it.
const FORMAT: &str = "1";

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The worker made a finding that cannot be printed; nothing was written.
    #[error("the metadata of rule {rule} is not a JSON array of pairs")]
    Metadata { rule: String },
    #[error("failed to write findings as Parquet")]
    Write { source: ParquetError },
    #[error("the findings object is damaged: {what}")]
    Damaged { what: &'static str },
    #[error("failed to read findings from Parquet")]
    Read { source: ParquetError },
    #[error("the findings have format {found:?}, this program reads format {FORMAT}")]
    Format { found: String },
}

impl Error {
    /// True if reading the object again may help: bytes may have been damaged on their way here.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// Writes findings as one Parquet file, rows by file, namespace and rule. The same findings give the same
/// bytes, in whatever order they come.
///
/// Errors: [`Error::Metadata`] for a finding whose metadata is not what [`Finding::metadata`] says.
/// Cost: sorts references; holds the rows once more as Arrow columns and once compressed.
pub fn encode(findings: &[Finding]) -> Result<Bytes, Error> {
    if let Some(wrong) = findings.iter().find(|finding| !is_metadata(&finding.metadata)) {
        return Err(Error::Metadata { rule: wrong.rule.clone() });
    }
    write(findings).map(seal::seal).map_err(|source| Error::Write { source })
}

/// Reads what [`encode`] wrote, in the order of its rows.
///
/// Errors: [`Error::Damaged`] if one bit is not as it was written, [`Error::Format`] for a later format.
pub fn decode(bytes: Bytes) -> Result<Vec<Finding>, Error> {
    seal::verify(&bytes).map_err(|what| Error::Damaged { what })?;
    // With a right seal the bytes are what some program wrote. Should that program have been hostile, a
    // panic inside the Parquet reader must not reach the one who only wanted to look at findings.
    catch_unwind(AssertUnwindSafe(|| read(bytes)))
        .unwrap_or(Err(Error::Damaged { what: "its structure makes the Parquet reader panic" }))
}

/// By file, namespace and rule; the rest only makes the order total.
fn sorted(findings: &[Finding]) -> Vec<&Finding> {
    let mut rows: Vec<&Finding> = findings.iter().collect();
    rows.sort_by(|a, b| {
        let place = |row: &'_ Finding| (row.segment, row.file);
        let rest = |row: &'_ Finding| (row.found_in, row.version, row.unit, row.sha256);
        place(a)
            .cmp(&place(b))
            .then_with(|| (&a.namespace, &a.rule).cmp(&(&b.namespace, &b.rule)))
            .then_with(|| rest(a).cmp(&rest(b)))
            .then_with(|| {
                (&a.ruleset, &a.corpus, &a.matches, &a.enrichment).cmp(&(
                    &b.ruleset,
                    &b.corpus,
                    &b.matches,
                    &b.enrichment,
                ))
            })
    });
    rows
}

fn write(findings: &[Finding]) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_key_value_metadata(Some(vec![KeyValue::new(FORMAT_KEY.to_owned(), FORMAT.to_owned())]))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), columns::schema(), Some(properties))?;
    writer.write(&columns::to_batch(&sorted(findings))?)?;
    writer.into_inner()
}

fn read(bytes: Bytes) -> Result<Vec<Finding>, Error> {
    let unreadable = |source| Error::Read { source };
    let file = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(unreadable)?;
    let pairs = file.metadata().file_metadata().key_value_metadata();
    let format = pairs.into_iter().flatten().find(|pair| pair.key == FORMAT_KEY).and_then(|pair| pair.value.as_deref());
    if format != Some(FORMAT) {
        return Err(Error::Format { found: format.unwrap_or("none").chars().take(80).collect() });
    }
    let mut findings = Vec::new();
    for batch in file.build().map_err(unreadable)? {
        let batch = batch.map_err(|source| unreadable(source.into()))?;
        columns::from_batch(&batch, &mut findings).map_err(|what| Error::Damaged { what })?;
    }
    Ok(findings)
}

fn is_metadata(text: &str) -> bool {
    serde_json::from_str::<Vec<(String, serde_json::Value)>>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use types::Digest;

    use super::*;

    fn finding(file: u32) -> Finding {
        Finding {
            tenant: "t".to_owned(),
            ruleset: "r".to_owned(),
            version: 1,
            corpus: "c".to_owned(),
            segment: 1,
            file,
            key: b"k".to_vec(),
            path: b"/k".to_vec(),
            size: 1,
            sha256: Digest::of(b"k"),
            namespace: "n".to_owned(),
            rule: "r".to_owned(),
            tags: vec!["tag".to_owned()],
            metadata: "[]".to_owned(),
            unit: Digest::of(b"u"),
            engine: "yara".to_owned(),
            engine_version: "4".to_owned(),
            matches: vec![crate::Match { pattern: "$a".to_owned(), offset: 1, length: 1, data: b"x".to_vec() }],
            matches_truncated: false,
            found_in: 1,
            enrichment: vec![crate::Fact {
                dataset: "d".to_owned(),
                version: "1".to_owned(),
                knowledge: crate::Knowledge::Found(b"x".to_vec()),
            }],
        }
    }

    /// What the seal keeps out in practice: every byte in turn made wrong before sealing.
    #[test]
    fn a_wrong_file_with_a_right_seal_is_no_panic() {
        let file = write(&[finding(1), finding(2)]).unwrap();
        assert_eq!(decode(seal::seal(file.clone())).unwrap().len(), 2);
        for place in 4..file.len() - 8 {
            let mut wrong = file.clone();
            wrong[place] ^= 0x55;
            let _ = decode(seal::seal(wrong));
        }
    }

    #[test]
    fn files_of_another_format_are_named_as_such() {
        let writer = ArrowWriter::try_new(Vec::new(), columns::schema(), None).unwrap();
        let foreign = seal::seal(writer.into_inner().unwrap());
        assert!(matches!(decode(foreign), Err(Error::Format { found }) if found == "none"));
    }

    #[test]
    fn parquet_without_a_seal_is_not_taken_for_ours() {
        let file = write(&[finding(1)]).unwrap();
        assert!(matches!(decode(file.into()), Err(Error::Damaged { what: "it has no seal" })));
    }
}
