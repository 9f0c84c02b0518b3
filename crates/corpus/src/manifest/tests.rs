use proptest::prelude::*;

use super::*;

fn file(key: &[u8], size: u64) -> FileEntry {
    FileEntry { key: key.to_vec(), size, etag: format!("1-{size:x}-2") }
}

fn sample() -> Manifest {
    Manifest { files: vec![file(b"bin/ls", 140_000), file(b"odd \xff\xfe\n\\name", 0), file(b"z", u64::MAX)] }
}

#[test]
fn files_survive_with_names_that_are_not_text() {
    let (digest, bytes) = sample().encode();
    assert_eq!(Manifest::decode(&digest, &bytes).unwrap(), sample());
}

#[test]
fn the_digest_is_of_the_content_and_stays_what_it_is() {
    let (digest, _) = sample().encode();
    assert_eq!(digest, sample().descriptor().manifest);
    // Written down when format 1 was: a change of it is a change of the format.
    assert_eq!(digest.to_string(), "08d6cafcd02277d9919bbb7bb546b4b3bbabe313bca5c889e012b4521b0b1bfd");

    let mut other = sample();
    other.files[1].etag.push('0');
    assert_ne!(digest, other.encode().0);
}

#[test]
fn the_descriptor_counts_and_sums_without_overflow() {
    let descriptor = sample().descriptor();
    assert_eq!((descriptor.files, descriptor.bytes), (3, u64::MAX));
}

#[test]
fn another_manifest_is_not_taken_for_the_expected_one() {
    let (_, bytes) = sample().encode();
    let other = Digest::of(b"other");
    assert!(matches!(Manifest::decode(&other, &bytes), Err(Error::Digest { expected, .. }) if expected == other));
}

#[test]
fn every_truncation_and_every_bit_flip_is_an_error() {
    let (digest, bytes) = sample().encode();
    for len in 0..bytes.len() {
        assert!(Manifest::decode(&digest, &bytes[..len]).is_err(), "cut to {len} bytes");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A flip in zstd's own header may leave the content as it was: then it must be the same content.
        if let Ok(manifest) = Manifest::decode(&digest, &flipped) {
            assert_eq!(manifest, sample(), "bit {bit}");
        }
    }
}

#[test]
fn objects_of_another_kind_or_a_later_format_are_named_as_such() {
    let (_, bytes) = frame::pack(Kind { tag: b'H', ..KIND }, b"");
    assert!(matches!(Manifest::decode(&Digest::of(b""), &bytes), Err(Error::Format { expected: "a manifest" })));
    let (_, bytes) = frame::pack(Kind { format: 2, ..KIND }, b"");
    assert!(matches!(Manifest::decode(&Digest::of(b""), &bytes), Err(Error::Format { .. })));
}

/// Content with a right digest that no encoder of ours writes.
fn decode_payload(payload: &[u8]) -> Result<Manifest, Error> {
    let (digest, bytes) = frame::pack(KIND, payload);
    Manifest::decode(&digest, &bytes)
}

#[test]
fn hostile_content_is_refused_whatever_it_claims() {
    let one_file = |count: u32, key_len: u16| {
        let mut payload = count.to_le_bytes().to_vec();
        payload.extend_from_slice(&key_len.to_le_bytes());
        payload.extend_from_slice(b"k");
        payload.extend_from_slice(&[0; 10]);
        payload
    };
    assert!(decode_payload(&one_file(1, 1)).is_ok());

    let damaged = |payload: &[u8]| assert!(matches!(decode_payload(payload), Err(Error::Damaged { .. })));
    damaged(&one_file(0, 1));
    damaged(&one_file(2, 1));
    damaged(&one_file(u32::MAX, 1));
    damaged(&one_file(1, 2));
    damaged(&one_file(1, u16::MAX));
    damaged(&[&one_file(1, 1)[..], b"more"].concat());
    damaged(&vec![0; MAX_PAYLOAD_BYTES + 1]); // a small object that unpacks to a large one
}

proptest! {
    #[test]
    fn random_content_never_panics(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_payload(&payload);
        let _ = Manifest::decode(&Digest::of(b""), &payload);
    }

    #[test]
    fn any_files_survive(keys in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), any::<u64>()), 1..50)) {
        let manifest = Manifest { files: keys.iter().map(|(key, size)| file(key, *size)).collect() };
        let (digest, bytes) = manifest.encode();
        prop_assert_eq!(Manifest::decode(&digest, &bytes).unwrap(), manifest);
    }
}
