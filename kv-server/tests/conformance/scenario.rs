//! What every client is put through, and the data it finds: written as JSON for clients in other languages.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// Keys beside those that a scenario names, so that SCAN takes several pages and both nodes of a cluster have plenty.
const FILLER_KEYS: usize = 1_500;

/// Bytes in JSON: as base64, which every language can read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl fmt::Debug for Blob {
    /// The beginning is enough to know it by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0[..self.0.len().min(20)].escape_ascii())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64(&self.0))
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pair {
    pub(crate) key: Blob,
    pub(crate) value: Blob,
}

impl Pair {
    fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: Blob(key.into()), value: Blob(value.into()) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct OtherDb {
    pub(crate) db: u32,
    #[serde(flatten)]
    pub(crate) pair: Pair,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// One run of one client.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Scenario {
    pub(crate) nodes: Vec<Node>,
    pub(crate) cluster: bool,
    /// 2, 3, or whatever the client takes when nobody tells it.
    pub(crate) resp: Option<u8>,
    pub(crate) password: Option<String>,
    /// Keys with their values; the first value is at least 3 bytes long.
    pub(crate) pairs: Vec<Pair>,
    /// Keys that are not there.
    pub(crate) misses: Vec<Blob>,
    /// Keys of one hash tag. A key made of the first one and `-absent` is not there.
    pub(crate) same_slot: Vec<Pair>,
    /// How many keys a SCAN to its end finds.
    pub(crate) total: usize,
    /// The code that a SET is refused with; none where it would be accepted.
    pub(crate) refusal: Option<&'static str>,
    /// A key of another database, which is not in the first.
    pub(crate) other_db: Option<OtherDb>,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.cluster { "a cluster" } else { "one server" };
        write!(f, "{kind}, RESP {:?}, refusal {:?}", self.resp, self.refusal)
    }
}

impl Scenario {
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join("scenario.json");
        fs::write(&file, serde_json::to_vec(self).unwrap()).unwrap();
        file
    }
}

/// All that the servers hold.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) same_slot: Vec<Pair>,
    pub(crate) fillers: Vec<Pair>,
    pub(crate) misses: Vec<Blob>,
    pub(crate) other_db: OtherDb,
}

impl Data {
    pub(crate) fn new() -> Self {
        let every_byte: Vec<u8> = (0..=255).collect();
        let pairs = vec![
            Pair::new("plain", "a plain value"),
            Pair::new(every_byte.clone(), every_byte.repeat(3)),
            Pair::new("two\r\nlines", "+OK\r\n$3\r\nabc\r\n"),
            Pair::new("clé:ключ:鍵", "välue"),
            Pair::new("empty", ""),
            Pair::new("large", every_byte.repeat(4_096)),
        ];
        let same_slot = (0..8).map(|number| Pair::new(format!("{{tag}}:{number}"), format!("tagged {number}")));
        let fillers =
            (0..FILLER_KEYS).map(|number| Pair::new(format!("filler:{number:05}"), format!("value {number}")));
        Self {
            pairs,
            same_slot: same_slot.collect(),
            fillers: fillers.collect(),
            misses: vec![Blob(b"nowhere".to_vec()), Blob(every_byte[1..].to_vec())],
            other_db: OtherDb { db: 1, pair: Pair::new("only-in-the-other", "another database's value") },
        }
    }

    /// Of database 0.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().chain(&self.same_slot).chain(&self.fillers)
    }

    pub(crate) fn scenario(&self, ports: &[u16]) -> Scenario {
        Scenario {
            nodes: ports.iter().map(|port| Node { host: "127.0.0.1".to_owned(), port: *port }).collect(),
            cluster: false,
            resp: None,
            password: None,
            pairs: self.pairs.clone(),
            misses: self.misses.clone(),
            same_slot: self.same_slot.clone(),
            total: self.all().count(),
            refusal: None,
            other_db: None,
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for letter in 0..4 {
            let is_padding = letter > group.len();
            let index = usize::try_from(bits >> (18 - 6 * letter) & 63).unwrap();
            text.push(if is_padding { '=' } else { char::from(LETTERS[index]) });
        }
    }
    text
}

#[test]
fn base64_is_as_others_read_it() {
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}
