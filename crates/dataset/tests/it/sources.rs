//! What is read from each format, and what is refused with file and row.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, LargeStringArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use dataset::build::{Build, Value};
use parquet::{
    arrow::ArrowWriter,
    basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::world::{World, plan, records, run};

fn json(path: &Path) -> Build {
    Build { value: Value::Json, ..plan(path) }
}

async fn built(build: Build) -> String {
    let world = World::new();
    let manifest = run(build, &world.repository).await.unwrap().manifest;
    let records = records(&world.repository, &manifest);
    records.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

fn parquet(world: &World, columns: Vec<(&str, ArrayRef)>, compression: Compression) -> PathBuf {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    let batch = batch.unwrap();
    let path = world.folder.path().join("rows.parquet");
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

#[tokio::test]
async fn csv_may_be_quoted_in_any_order_of_columns_and_with_a_byte_order_mark() {
    let world = World::new();
    let path = world.write("a.csv", "\u{feff}value,other,key\r\n\"a \"\"b\"\",\nc\",,k1\r\n,x,k2\r\n");
    assert_eq!(built(plan(&path)).await, "k1=a \"b\",\nc\nk2=\n");
    assert_eq!(
        built(json(&path)).await,
        "k1={\"other\":\"\",\"value\":\"a \\\"b\\\",\\nc\"}\nk2={\"other\":\"x\",\"value\":\"\"}\n"
    );
}

#[tokio::test]
async fn json_lines_keep_numbers_as_written_and_names_in_order() {
    let world = World::new();
    let line = r#"{ "z": [1, {"b": 2, "a": 1.50}], "key": "k\u00e4\n", "value": {"x": 12345678901234567890123 } }"#;
    let path = world.write("a.jsonl", format!("{line}\n\n{{\"value\":\"plain\",\"key\":7}}"));
    assert_eq!(built(plan(&path)).await, "7=plain\nkä\n={\"x\":12345678901234567890123}\n");
    let expected =
        "7={\"value\":\"plain\"}\nkä\n={\"value\":{\"x\":12345678901234567890123},\"z\":[1,{\"b\":2,\"a\":1.50}]}\n";
    assert_eq!(built(json(&path)).await, expected);
}

#[tokio::test]
async fn parquet_of_every_compression_is_read() {
    let world = World::new();
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        let keys: ArrayRef = Arc::new(LargeStringArray::from(vec!["a", "b"]));
        let values: ArrayRef = Arc::new(BinaryArray::from(vec![&b"one"[..], b"two"]));
        let path = parquet(&world, vec![("key", keys), ("value", values)], codec);
        assert_eq!(built(plan(&path)).await, "a=one\nb=two\n", "{codec:?}");
    }
}

#[tokio::test]
async fn parquet_columns_become_json() {
    let world = World::new();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(StringArray::from(vec![Some("a\"b"), None]))),
        ("key", Arc::new(Int64Array::from(vec![-5, 6]))),
        ("flag", Arc::new(BooleanArray::from(vec![true, false]))),
        ("float", Arc::new(Float64Array::from(vec![1.5, f64::NAN]))),
        ("bytes", Arc::new(BinaryArray::from(vec![&[0xde, 0xad][..], &[]]))),
        ("day", Arc::new(Date32Array::from(vec![20_779, 0]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_000_001, -1]))),
    ];
    let path = parquet(&world, columns, Compression::SNAPPY);
    let expected = concat!(
        r#"-5={"at":"2023-11-14T22:13:20.000001Z","bytes":"dead","day":"2026-11-22","flag":true,"float":1.5,"text":"a\"b"}"#,
        "\n",
        r#"6={"at":"1969-12-31T23:59:59.999999Z","bytes":"","day":"1970-01-01","flag":false,"float":null,"text":null}"#,
        "\n"
    );
    assert_eq!(built(json(&path)).await, expected);
}

#[tokio::test]
async fn a_missing_column_is_refused_with_those_there_are() {
    let world = World::new();
    let csv = world.write("a.csv", "id,name\n1,x\n");
    let told = world.refusal(plan(&csv)).await;
    assert!(told.contains("a.csv has no column \"key\"; it has id, name"), "{told}");
    let jsonl = world.write("a.jsonl", "{\"key\":\"a\",\"value\":\"\"}\n{\"key\":\"b\",\"name\":1}\n");
    let told = world.refusal(plan(&jsonl)).await;
    assert!(told.contains("a.jsonl, row 2: there is no column \"value\"; the row has key, name"), "{told}");
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let path = parquet(&world, vec![("key", Arc::clone(&ids)), ("id", ids)], Compression::SNAPPY);
    let told = world.refusal(plan(&path)).await;
    assert!(told.contains("rows.parquet has no column \"value\"; it has key, id"), "{told}");
    let twice = world.write("b.csv", "key,value,value\n1,x,y\n");
    assert!(world.refusal(plan(&twice)).await.contains("several columns \"value\""));
}

#[tokio::test]
async fn keys_that_cannot_be_are_refused_with_their_row() {
    let world = World::new();
    let long = "k".repeat((64 << 10) + 1);
    let cases = [
        ("a.csv", "key,value\na,1\n,2\n".to_owned(), "a.csv, row 2: the key is empty"),
        ("a.csv", format!("key,value\n{long},1\n"), "a.csv, row 1: the key has 65537 bytes, at most 65536"),
        ("a.jsonl", "{\"key\":null,\"value\":1}".to_owned(), "a.jsonl, row 1: the key is null"),
        ("a.jsonl", "{\"key\":1.5,\"value\":1}".to_owned(), "a.jsonl, row 1: the key is neither text nor an integer"),
        ("a.jsonl", "\n{\"key\":\"\",\"value\":1}".to_owned(), "a.jsonl, row 2: the key is empty"),
        ("a.jsonl", "{\"key\":\"a\",\"value\":null}".to_owned(), "a.jsonl, row 1: the value is null"),
    ];
    for (name, content, expected) in cases {
        let path = world.write(name, content);
        let told = world.refusal(plan(&path)).await;
        assert!(told.contains(expected), "{told}");
    }
    let keys: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let values: ArrayRef = Arc::new(StringArray::from(vec!["1", "2"]));
    let path = parquet(&world, vec![("key", keys), ("value", values)], Compression::SNAPPY);
    let told = world.refusal(plan(&path)).await;
    assert!(told.contains("rows.parquet, row 2: the key is null"), "{told}");
}

#[tokio::test]
async fn the_longest_key_is_taken() {
    let world = World::new();
    let long = "k".repeat(64 << 10);
    let path = world.write("a.csv", format!("key,value\n{long},1\n"));
    assert_eq!(built(plan(&path)).await, format!("{long}=1\n"));
}

#[tokio::test]
async fn a_value_over_512_mib_is_refused_with_its_row() {
    let world = World::new();
    let mut content = b"key,value\na,".to_vec();
    content.resize(content.len() + (512 << 20) + 1, b'v');
    let path = world.write("a.csv", content);
    let told = world.refusal(plan(&path)).await;
    assert!(told.contains("a.csv, row 1: the value has 536870913 bytes, at most 536870912"), "{told}");
}

#[tokio::test]
async fn broken_text_is_refused_with_its_row() {
    let world = World::new();
    let cases = [
        ("a.csv", &b"key,value\na,1\nb,\xff\n"[..], "a.csv, row 2: column \"value\" is no valid UTF-8"),
        ("a.csv", b"key,value\na,1,2\n", "a.csv, row 1: it has 3 columns, the header has 2"),
        ("a.csv", b"key,val\xffue\na,1\n", "its header is no valid UTF-8"),
        (
            "a.jsonl",
            b"{\"key\":\"a\",\"value\":\"\xff\"}\n",
            "a.jsonl, row 1: it cannot be read: it is no valid UTF-8 from byte 20",
        ),
        ("a.jsonl", b"{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"val", "a.jsonl, row 2: it is no JSON object: EOF"),
        ("a.jsonl", b"[1]\n", "a.jsonl, row 1: it is no JSON object"),
        ("a.csv", b"key,value\n", "the source has no rows"),
        ("a.csv", b"", "a.csv has no column \"key\""),
    ];
    for (name, content, expected) in cases {
        let path = world.write(name, content);
        let told = world.refusal(plan(&path)).await;
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn parquet_that_was_cut_off_or_changed_is_refused_by_name() {
    let world = World::new();
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values((0..5000).map(|number| number.to_string())));
    let path =
        parquet(&world, vec![("key", Arc::clone(&keys)), ("value", keys)], Compression::ZSTD(ZstdLevel::default()));
    let whole = std::fs::read(&path).unwrap();
    let cut = world.write("cut.parquet", &whole[..whole.len() / 2]);
    let told = world.refusal(plan(&cut)).await;
    assert!(told.contains("cut.parquet is no whole Parquet file"), "{told}");
    // The footer is whole, the data is not.
    let mut hollow = whole;
    let end = hollow.len() / 2;
    hollow[4..end].fill(0);
    let hollow = world.write("hollow.parquet", hollow);
    let told = world.refusal(plan(&hollow)).await;
    assert!(told.contains("hollow.parquet, row 1: it cannot be read"), "{told}");
    let empty = world.write("empty.parquet", "");
    assert!(world.refusal(plan(&empty)).await.contains("empty.parquet is no whole Parquet file"));
}

#[tokio::test]
async fn a_source_that_is_not_there_is_named() {
    let world = World::new();
    let told = world.refusal(plan(&world.folder.path().join("none.csv"))).await;
    assert!(told.contains("failed to read") && told.contains("none.csv"), "{told}");
}
