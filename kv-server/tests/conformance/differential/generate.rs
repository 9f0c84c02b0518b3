//! Conversations: what a client may send on one connection, sensible or not.

use std::fmt;

use super::random::Random;
use crate::scenario::Data;
use crate::wire::request;

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// Of a request as it should be, its words; the first in capitals.
    pub(crate) parts: Vec<Vec<u8>>,
    pub(crate) is_answered: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    /// Each of them, unless it says otherwise, gets one answer.
    pub(crate) requests: Vec<Request>,
    /// Nobody can say how many answers these get. They are sent when all before was answered, because Redis may forget answers
    /// that it has not sent when a connection breaks.
    pub(crate) wild: Vec<Request>,
    /// Where the bytes are cut into separate writes.
    pub(crate) cuts: Vec<usize>,
}

impl fmt::Display for Conversation {
    /// As one would type it for `printf` or Rust.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, request) in self.requests.iter().chain(&self.wild).enumerate() {
            let shown = request.bytes.escape_ascii().to_string();
            let end = shown.len().min(2_000);
            writeln!(f, "  {number}: {}{}", &shown[..end], if end < shown.len() { "..." } else { "" })?;
        }
        Ok(())
    }
}

/// Commands that read, with as many words as they want: `k` a key, `n` a number, `p` a pattern, `w` any word, `+` more of the last.
const READS: &[&str] = &[
    "GET k",
    "GET k",
    "GET k",
    "GET k",
    "MGET k+",
    "MGET k+",
    "EXISTS k+",
    "STRLEN k",
    "GETRANGE k n n",
    "SUBSTR k n n",
    "TYPE k",
    "TTL k",
    "PTTL k",
    "EXPIRETIME k",
    "PEXPIRETIME k",
    "TOUCH k+",
    "DBSIZE",
    "KEYS p",
    "RANDOMKEY",
    "SCAN n",
    "SCAN 0 COUNT n",
    "SCAN 0 MATCH p COUNT n",
    "SCAN 0 TYPE w",
    "SCAN 0 TYPE string COUNT 5000",
    "SCAN w",
    "OBJECT ENCODING k",
    "OBJECT REFCOUNT k",
    "OBJECT w k",
    "MEMORY USAGE k",
    "MEMORY USAGE k SAMPLES n",
    "MEMORY w",
];

/// About the connection and the server.
const TALK: &[&str] = &[
    "PING",
    "PING w",
    "ECHO w",
    "SELECT n",
    "SELECT 0",
    "SELECT 1",
    "SELECT 0",
    "SELECT w",
    "HELLO",
    "HELLO 2",
    "HELLO 3",
    "HELLO n",
    "HELLO 3 SETNAME w",
    "HELLO 2 AUTH w w",
    "HELLO 3 w",
    "HELLO w",
    "AUTH w",
    "AUTH w w",
    "AUTH default w",
    "RESET",
    "CLIENT ID",
    "CLIENT GETNAME",
    "CLIENT SETNAME w",
    "CLIENT SETNAME name",
    "CLIENT INFO",
    "CLIENT LIST",
    "CLIENT NO-EVICT ON",
    "CLIENT w",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
    "CLIENT REPLY x",
    "CLIENT REPLY ON",
    "COMMAND COUNT",
    "COMMAND INFO get",
    "COMMAND INFO nosuchcommand",
    "COMMAND DOCS get",
    "COMMAND GETKEYS MGET k k",
    "COMMAND GETKEYS w w",
    "COMMAND w",
    "CONFIG GET w",
    "CONFIG GET maxmemory",
    "CONFIG GET p",
    "CONFIG w",
    "CONFIG SET w w",
    "INFO",
    "INFO server",
    "INFO w",
    "TIME",
    "READONLY",
    "READWRITE",
    "ASKING",
    "CLUSTER INFO",
    "CLUSTER KEYSLOT k",
    "CLUSTER w",
    "LOLWUT w",
    "ROLE",
];

/// What must be refused.
const WRITES: &[&str] = &[
    "SET k w",
    "SET k w EX n",
    "SET k w NX GET",
    "SETNX k w",
    "SETEX k n w",
    "PSETEX k n w",
    "GETSET k w",
    "GETDEL k",
    "GETEX k",
    "MSET k w",
    "MSETNX k w",
    "APPEND k w",
    "SETRANGE k n w",
    "INCR k",
    "INCRBY k n",
    "INCRBYFLOAT k n",
    "DECR k",
    "DECRBY k n",
    "DEL k+",
    "UNLINK k+",
    "EXPIRE k n",
    "PEXPIRE k n",
    "EXPIREAT k n",
    "PERSIST k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k",
    "MOVE k n",
    "RESTORE k n w",
    "LPUSH k w+",
    "RPUSH k w",
    "LPOP k",
    "SADD k w+",
    "SREM k w",
    "ZADD k n w",
    "HSET k w w",
    "HINCRBY k w n",
    "SETBIT k n 1",
    "PFADD k w",
    "XADD k n w w",
    "FLUSHALL",
    "FLUSHDB",
    "FLUSHALL ASYNC",
    "SWAPDB 0 1",
    "SORT k STORE k",
    "BITOP AND k k k",
    "GEOADD k n n w",
    "RPOPLPUSH k k",
];

/// Commands that read what no value here is, or ask for more of a string than its bytes.
const READS_OF_OTHERS: &[&str] = &[
    "HGET k w",
    "HGETALL k",
    "HLEN k",
    "LLEN k",
    "LRANGE k n n",
    "SCARD k",
    "SISMEMBER k w",
    "SMEMBERS k",
    "ZCARD k",
    "ZRANGE k n n",
    "ZSCORE k w",
    "XLEN k",
    "XRANGE k n n",
    "GEOPOS k w",
    "GETBIT k n",
    "BITCOUNT k",
    "BITPOS k n",
    "LCS k k",
    "DUMP k",
];

const IN_TRANSACTIONS: &[&str] =
    &["GET k", "MGET k+", "STRLEN k", "EXISTS k+", "GETRANGE k n n", "TTL k", "PING", "ECHO w"];

/// What is no command at all, or breaks the protocol. More than 1,048,576 arguments are not in it: Redis 7 waits for them, up to
/// 2,147,483,647, and we refuse. Nothing here may make a server do something: Redis runs what it understands.
const BROKEN: &[&[u8]] = &[
    b"*abc\r\n",
    b"*1 \r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"*2147483648\r\n",
    b"*99999999999999999999\r\n",
    b"*-2\r\n",
    b"*\r\n",
    b"*1\r\n\r\n",
    b"*1\r\n:4\r\nPING\r\n",
    b"*1\r\n+PING\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$abc\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$-5\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$1073741824\r\nx",
    b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n$+4\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n$ 4\r\nPING\r\n",
    b"*1\r\n$4 \r\nPING\r\n",
    b"*2\r\n$3\r\nGET\r\n",
    b"*2\r\n$3\r\nGET\r\n$5\r\npla",
    b"*2\r\n$3\r\nGE",
    b"*1048576\r\n",
    b"*1\r\n$4\r\nPINGxx",
    b"*1\r\n$5\r\nPING\r\n",
    b"*1\n$4\nPING\n",
    b"*1\rx$4\rxPING\rx",
    b"GET \"plain\r\n",
    b"GET 'plain\r\n",
    b"GET \"plain\"x\r\n",
    b"GET \"\\x41\\x4\"\r\n",
    b"\x00\x01\x02\r\n",
    b"\xff\xfe\r\n",
    b"$4\r\nPING\r\n",
    b"+OK\r\n",
    b"-ERR\r\n",
    b":1\r\n",
    b"%1\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"PING",
    b"PING\r",
    b"GET plain\rPING\r\n",
    b"POST / HTTP/1.1\r\n",
    b"Host: there\r\n",
    b"*1\r\n$4\r\nPOST\r\n",
    b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*3\r\n$3\r\nGET\r\n$-1\r\n$1\r\nx\r\n",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "100",
    "1000",
    "-1",
    "-2",
    "-3",
    "-100",
    "15",
    "16",
    "17",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "2147483647",
    "2147483648",
    "4294967296",
    "+1",
    "01",
    " 1",
    "1 ",
    "1.0",
    "1e3",
    "0x10",
    "",
    "abc",
    "-0",
    "--1",
];

const PATTERNS: &[&str] = &[
    "filler:0000*",
    "filler:0001?",
    "filler:001[0-5]?",
    "filler:00[^0]00",
    "{tag}:*",
    "[a-",
    "\\",
    "plain\\*",
    "pl?in",
    "p*n",
    "***n",
    "",
    "[^]x",
    "[z-a]*",
    "nothing*",
    "*:00[1-",
    "f*r:*[\\]9]",
];

const WORDS: &[&str] = &[
    "plain",
    "x",
    "",
    "ON",
    "OFF",
    "string",
    "hash",
    "STRING",
    "default",
    "maxmemory",
    "help",
    "HELP",
    "count",
    "two words",
    "line\r\nend",
    "\u{0}\u{1}",
    "ünï",
    "'quoted'",
    "\"double\"",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

pub(crate) struct Generator {
    keys: Vec<Vec<u8>>,
    /// One of them is enough for a conversation: their answers are long.
    large: Vec<Vec<u8>>,
}

impl Generator {
    pub(crate) fn new(data: &Data) -> Self {
        let (large, mut keys): (Vec<_>, Vec<_>) = data.all().cloned().partition(|pair| pair.value.0.len() > 65_536);
        keys.push(data.other_db.pair.clone());
        Self {
            keys: keys.into_iter().map(|pair| pair.key.0).chain(data.misses.iter().map(|key| key.0.clone())).collect(),
            large: large.into_iter().map(|pair| pair.key.0).collect(),
        }
    }

    pub(crate) fn conversation(&self, random: &mut Random) -> Conversation {
        let mut requests = Vec::new();
        for _ in 0..random.below(80) {
            match random.below(100) {
                0..56 => requests.push(self.command(random, READS)),
                56..60 => requests.push(self.command(random, READS_OF_OTHERS)),
                60..78 => requests.push(self.command(random, TALK)),
                78..91 => requests.push(self.command(random, WRITES)),
                91..94 => requests.push(self.inline(random)),
                94 | 95 => self.transaction(random, &mut requests),
                96 => requests.push(self.without_replies(random)),
                97 | 98 => requests.push(unknown(random)),
                _ => requests.push(nothing(random)),
            }
            if random.one_in(400) {
                requests.push(whole(vec![b"GET".to_vec(), random.pick(&self.large).clone()]));
            }
        }
        let kind = random.below(6);
        let is_endless = kind == 1;
        let mut wild = match kind {
            0 => vec![wild(random.pick(BROKEN).to_vec())],
            1 => vec![wild(endless_line(random))],
            2 => vec![wild((0..random.below(300)).map(|_| random.byte()).collect())],
            3 => vec![whole(vec![b"QUIT".to_vec()])],
            4 => (0..1 + random.below(3)).map(|_| self.mutated(random)).collect(),
            _ => Vec::new(),
        };
        if !is_endless && random.one_in(2) {
            // Swallowed, answered or, after the end, ignored.
            wild.push(whole(vec![b"PING".to_vec(), b"after".to_vec()]));
        }
        let length: usize = requests.iter().map(|request| request.bytes.len()).sum();
        let mut cuts: Vec<usize> = (0..random.below(6)).map(|_| random.below(length + 1)).collect();
        cuts.sort_unstable();
        Conversation { requests, wild, cuts }
    }

    fn command(&self, random: &mut Random, from: &[&str]) -> Request {
        let mut parts = self.words(random, from);
        if random.one_in(25) {
            // Too few, or too many.
            if random.one_in(2) { parts.truncate(1 + random.below(parts.len())) } else { parts.push(b"extra".to_vec()) }
        }
        let mut request = whole(parts);
        if random.one_in(3) {
            // Upper and lower case are the same; `parts` keeps what is in the template.
            let mut spelled = request.parts.clone();
            for letter in &mut spelled[0] {
                if random.one_in(2) {
                    letter.make_ascii_lowercase();
                }
            }
            request.bytes = wire(&spelled);
        }
        request
    }

    /// One of the templates, filled in.
    fn words(&self, random: &mut Random, templates: &[&str]) -> Vec<Vec<u8>> {
        let template = *random.pick(templates);
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for word in template.split(' ') {
            let (kind, repeated) = word.strip_suffix('+').map_or((word, false), |kind| (kind, true));
            for _ in 0..if repeated { 1 + random.below(12) } else { 1 } {
                parts.push(match kind {
                    "k" => random.pick(&self.keys).clone(),
                    "n" => random.pick(NUMBERS).as_bytes().to_vec(),
                    "p" => random.pick(PATTERNS).as_bytes().to_vec(),
                    "w" => random.pick(WORDS).as_bytes().to_vec(),
                    itself => itself.as_bytes().to_vec(),
                });
            }
        }
        parts
    }

    /// The same commands as a person types them.
    fn inline(&self, random: &mut Random) -> Request {
        let parts = self.words(random, READS);
        let mut bytes = Vec::new();
        for part in &parts {
            bytes.extend(b" ".repeat(random.below(3).max(usize::from(!bytes.is_empty()))));
            let is_plain = part.iter().all(|byte| byte.is_ascii_alphanumeric() || b":*{}".contains(byte));
            match random.below(3) {
                0 if is_plain && !part.is_empty() => bytes.extend(part),
                1 if is_plain => bytes.extend([b"'", part.as_slice(), b"'"].concat()),
                _ => {
                    bytes.push(b'"');
                    bytes.extend(part.iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()));
                    bytes.push(b'"');
                }
            }
        }
        bytes.extend(if random.one_in(3) { b"\n".as_slice() } else { b"\r\n" });
        Request { bytes, parts, is_answered: true }
    }

    /// Commands whose answers differ on purpose are not in it: their answers come inside of another.
    fn transaction(&self, random: &mut Random, requests: &mut Vec<Request>) {
        let words = |text: &str| whole(text.split(' ').map(|word| word.as_bytes().to_vec()).collect());
        if random.one_in(3) {
            requests.push(words("WATCH plain"));
        }
        requests.push(words("MULTI"));
        for _ in 0..random.below(6) {
            requests.push(whole(self.words(random, IN_TRANSACTIONS)));
        }
        match random.below(12) {
            0 => requests.push(words("MULTI")),
            1 => requests.push(words("GET")),
            2 => requests.push(words("SET plain x")),
            3 => requests.push(unknown(random)),
            4 => requests.push(words("WATCH plain")),
            _ => {}
        }
        requests.push(words(random.pick::<&str>(&["EXEC", "EXEC", "EXEC", "EXEC", "DISCARD", "EXEC extra"])));
        requests.push(words(random.pick::<&str>(&["EXEC", "DISCARD", "UNWATCH", "PING"])));
        requests.push(words("RESET")); // whatever was left open
    }

    /// Requests that ask for no reply; in one piece, because what is answered depends on the first of them.
    fn without_replies(&self, random: &mut Random) -> Request {
        let words = |words: &[&str]| request(words);
        let is_all = random.one_in(2);
        let mut bytes = words(&["CLIENT", "REPLY", if is_all { "OFF" } else { "SKIP" }]);
        for _ in 0..if is_all { random.below(4) } else { 1 } {
            bytes.extend(self.command(random, READS).bytes);
        }
        if is_all {
            bytes.extend(words(&["CLIENT", "REPLY", "ON"]));
        }
        Request { bytes, parts: Vec::new(), is_answered: is_all }
    }

    /// Something sensible with a byte changed, lost or added.
    fn mutated(&self, random: &mut Random) -> Request {
        let mut request = self.command(random, &READS[..6]);
        for _ in 0..1 + random.below(2) {
            let at = random.below(request.bytes.len());
            match random.below(3) {
                0 => request.bytes[at] = random.byte(),
                1 => request.bytes.insert(at, random.byte()),
                _ => _ = request.bytes.remove(at),
            }
        }
        request
    }
}

fn whole(parts: Vec<Vec<u8>>) -> Request {
    Request { bytes: wire(&parts), parts, is_answered: true }
}

fn wire(parts: &[Vec<u8>]) -> Vec<u8> {
    request(parts)
}

fn wild(bytes: Vec<u8>) -> Request {
    Request { bytes, parts: Vec::new(), is_answered: false }
}

fn unknown(random: &mut Random) -> Request {
    let name = *random.pick(&["FROBNICATE", "GETT", "GE", "get plain", "ÄÖ", "\u{0}", "x\r\ny", ""]);
    let arguments = (0..random.below(20)).map(|_| random.pick(WORDS).as_bytes().to_vec());
    whole([name.as_bytes().to_vec()].into_iter().chain(arguments).collect())
}

fn nothing(random: &mut Random) -> Request {
    let bytes = random.pick::<&str>(&["\r\n", "*0\r\n", "*-1\r\n", "\n", "  \r\n"]).as_bytes().to_vec();
    Request { bytes, parts: Vec::new(), is_answered: false }
}

/// Longer than anybody's line. It has no end: with one, the answer would depend on how much of it a single read returned.
fn endless_line(random: &mut Random) -> Vec<u8> {
    let begin = random.pick::<&str>(&["*", "*1\r\n$", "GET ", ""]).as_bytes();
    let middle = random.pick::<&str>(&["1", "x", " "]).as_bytes().repeat(70_000 + random.below(70_000));
    [begin, &middle].concat()
}
