//! Writing JSON: compact, names in ascending order, so that equal rows become equal bytes.

/// The columns of a JSON value: all but the key, by name.
pub(super) struct Order {
    /// Index of the column, and its name as a JSON string with a colon behind.
    columns: Vec<(usize, Vec<u8>)>,
}

impl Order {
    pub(super) fn of(columns: &[String], key: usize) -> Self {
        let mut order: Vec<usize> = (0..columns.len()).filter(|index| *index != key).collect();
        order.sort_by_key(|index| &columns[*index]);
        let named = |index: usize| {
            let mut name = Vec::new();
            text(columns[index].as_bytes(), &mut name);
            name.push(b':');
            (index, name)
        };
        Self { columns: order.into_iter().map(named).collect() }
    }

    /// Replaces `out` by an object, whose values `write` appends by the index of the column.
    pub(super) fn object(&self, out: &mut Vec<u8>, mut write: impl FnMut(usize, &mut Vec<u8>)) {
        out.clear();
        out.push(b'{');
        for (position, (index, name)) in self.columns.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            write(*index, out);
        }
        out.push(b'}');
    }
}

/// Appends UTF-8 text as a JSON string.
pub(super) fn text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte if byte < 0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            byte => out.extend_from_slice(&[b'\\', byte]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends valid JSON without the white space between its tokens. Numbers stay as they were written.
pub(super) fn compact(json: &str, out: &mut Vec<u8>) {
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_text = byte == b'"';
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_reads_back(original in any::<String>()) {
            let mut json = Vec::new();
            text(original.as_bytes(), &mut json);
            prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), original);
        }

        #[test]
        fn compacting_changes_no_value(texts in prop::collection::vec(any::<String>(), 0..5)) {
            let value = serde_json::json!({ "a": texts, "b": { "c": [1, 2.5, null] } });
            let mut compacted = Vec::new();
            compact(&serde_json::to_string_pretty(&value).unwrap(), &mut compacted);
            prop_assert_eq!(String::from_utf8(compacted).unwrap(), value.to_string());
        }
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        let mut compacted = Vec::new();
        compact(r#"[ 1.50, 123456789012345678901234567890 , "\" " ]"#, &mut compacted);
        assert_eq!(compacted, br#"[1.50,123456789012345678901234567890,"\" "]"#);
    }
}
