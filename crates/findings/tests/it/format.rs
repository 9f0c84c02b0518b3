use bytes::Bytes;
use findings::{Error, Finding, decode, encode};

use crate::sample::{bare, enriched, finding, some};

#[test]
fn findings_survive() {
    assert_eq!(decode(encode(&some()).unwrap()).unwrap(), some());
}

#[test]
fn what_datasets_knew_survives() {
    let findings = [some(), vec![enriched()]].concat();
    assert_eq!(decode(encode(&findings).unwrap()).unwrap(), findings);
}

#[test]
fn no_findings_are_a_file_as_well() {
    assert_eq!(decode(encode(&[]).unwrap()).unwrap(), []);
}

#[test]
fn many_findings_survive() {
    let many: Vec<_> = (0..5_000).map(|file| finding(file, "n", "r")).collect();
    assert_eq!(decode(encode(&many).unwrap()).unwrap(), many);
}

#[test]
fn rows_are_sorted_and_the_bytes_do_not_depend_on_the_order_given() {
    let twice = Finding { found_in: 1, ..finding(1, "a", "r1") };
    let mut findings = [some(), vec![twice]].concat();
    let bytes = encode(&findings).unwrap();
    findings.reverse();
    assert_eq!(encode(&findings).unwrap(), bytes);
    findings.swap(0, 2);
    assert_eq!(encode(&findings).unwrap(), bytes);
    assert_eq!(decode(bytes).unwrap()[1..], some());
}

#[test]
fn metadata_that_cannot_be_printed_is_refused() {
    for wrong in ["", "{}", "[1]", r#"[["only a name"]]"#, r#"[["a",1],]"#] {
        let finding = Finding { metadata: wrong.to_owned(), ..bare(1) };
        assert!(matches!(encode(&[finding]), Err(Error::Metadata { rule }) if rule == "always"), "{wrong}");
    }
}

#[test]
fn every_truncation_and_every_bit_flip_is_an_error() {
    let bytes = encode(&some()).unwrap();
    for len in 0..bytes.len() {
        let error = decode(bytes.slice(..len)).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "cut to {len} bytes: {error:?}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = decode(Bytes::from(flipped)).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "bit {bit}: {error:?}");
    }
    assert!(decode([&bytes[..], b"more"].concat().into()).is_err());
}

/// Written by the first build of format 1: later builds must still read it.
#[test]
fn the_first_file_of_the_format_still_opens() {
    let file = Bytes::from_static(include_bytes!("../../testdata/findings-v1.parquet"));
    assert_eq!(decode(file).unwrap(), some());
}
