//! Every answer that is not Redis's on purpose, with the reason.

use crate::wire::Reply;

/// How far the two answers must still agree.
enum Agree {
    /// Both are no errors, and of the same kind.
    Kind,
    /// The same elements in another order.
    AnyOrder,
    /// Ours is no error where redis's is none.
    NoError,
    /// Redis has the command and we say that we do not.
    Unknown,
    /// Redis says that it is not in a cluster.
    Emulated,
    /// We do not know the cursor that redis accepts.
    NoSuchCursor,
    /// We refuse it as a mutation.
    Refused,
}

struct Intended {
    /// The words that a request begins with.
    request: &'static str,
    agree: Agree,
    why: &'static str,
}

impl Intended {
    const fn new(request: &'static str, agree: Agree, why: &'static str) -> Self {
        Self { request, agree, why }
    }
}

const ONE_IS_A_CLUSTER: &str = "one node alone answers as a cluster that has all slots";

const OWN_HELP: &str = "names the subcommands that there are";

const OTHER_TYPES: &str = "every value is a string, and commands for other types are not there";

const BYTES_ONLY: &str = "of a string its bytes are told, and nothing is computed from them";

const INTENDED: &[Intended] = &[
    Intended::new("SCAN", Agree::Kind, "the order of keys, and so the cursors, are the server's own"),
    Intended::new("SCAN", Agree::NoSuchCursor, "a cursor that nobody was given leads nowhere"),
    Intended::new("KEYS", Agree::AnyOrder, "the order of keys is the server's own"),
    Intended::new("RANDOMKEY", Agree::Kind, "random"),
    Intended::new("MEMORY USAGE", Agree::Kind, "bytes of another data structure"),
    Intended::new("MEMORY", Agree::NoError, "reports of an allocator"),
    Intended::new("TIME", Agree::Kind, "it moves"),
    Intended::new("INFO", Agree::Kind, "another server has other things to tell"),
    Intended::new("CLIENT ID", Agree::Kind, "counted by each server"),
    Intended::new("CLIENT INFO", Agree::Kind, "ports, ages, sizes"),
    Intended::new("CLIENT LIST", Agree::Kind, "ports, ages, sizes"),
    Intended::new("HELLO", Agree::Kind, "names the version and the connection"),
    Intended::new("CONFIG SET", Agree::Refused, "settings are given at the start"),
    Intended::new("COMMAND", Agree::Kind, "we have fewer commands, and shorter texts about them"),
    Intended::new("READONLY", Agree::Emulated, ONE_IS_A_CLUSTER),
    Intended::new("READWRITE", Agree::Emulated, ONE_IS_A_CLUSTER),
    Intended::new("ASKING", Agree::Emulated, ONE_IS_A_CLUSTER),
    Intended::new("CLUSTER", Agree::Emulated, ONE_IS_A_CLUSTER),
    Intended::new("ROLE", Agree::Kind, "redis is made a replica here, so that it refuses to write"),
    Intended::new("LOLWUT", Agree::Unknown, "art"),
    Intended::new("CLIENT HELP", Agree::Kind, OWN_HELP),
    Intended::new("CONFIG HELP", Agree::Kind, OWN_HELP),
    Intended::new("OBJECT", Agree::Unknown, "about the inside of redis"),
    Intended::new("CONFIG GET", Agree::Kind, "other settings"),
    Intended::new("HGET", Agree::Unknown, OTHER_TYPES),
    Intended::new("HGETALL", Agree::Unknown, OTHER_TYPES),
    Intended::new("HLEN", Agree::Unknown, OTHER_TYPES),
    Intended::new("LLEN", Agree::Unknown, OTHER_TYPES),
    Intended::new("LRANGE", Agree::Unknown, OTHER_TYPES),
    Intended::new("SCARD", Agree::Unknown, OTHER_TYPES),
    Intended::new("SISMEMBER", Agree::Unknown, OTHER_TYPES),
    Intended::new("SMEMBERS", Agree::Unknown, OTHER_TYPES),
    Intended::new("ZCARD", Agree::Unknown, OTHER_TYPES),
    Intended::new("ZRANGE", Agree::Unknown, OTHER_TYPES),
    Intended::new("ZSCORE", Agree::Unknown, OTHER_TYPES),
    Intended::new("XLEN", Agree::Unknown, OTHER_TYPES),
    Intended::new("XRANGE", Agree::Unknown, OTHER_TYPES),
    Intended::new("GEOPOS", Agree::Unknown, OTHER_TYPES),
    Intended::new("GETBIT", Agree::Unknown, BYTES_ONLY),
    Intended::new("BITCOUNT", Agree::Unknown, BYTES_ONLY),
    Intended::new("BITPOS", Agree::Unknown, BYTES_ONLY),
    Intended::new("LCS", Agree::Unknown, BYTES_ONLY),
    Intended::new("DUMP", Agree::Unknown, BYTES_ONLY),
];

/// Why the answers to a request may differ so; `None`: they may not.
pub(crate) fn reason(request: &[Vec<u8>], redis: &Reply, ours: &Reply) -> Option<&'static str> {
    let begins_with = |words: &str| {
        let mut parts = request.iter();
        words.split(' ').all(|word| parts.next().is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes())))
    };
    let of_this = INTENDED.iter().filter(|intended| begins_with(intended.request));
    let agrees = |intended: &&Intended| match intended.agree {
        Agree::Kind => !redis.is_error() && !ours.is_error() && redis.kind() == ours.kind(),
        Agree::AnyOrder => sorted(redis) == sorted(ours) && redis.kind() == ours.kind(),
        Agree::NoError => !ours.is_error() || redis.is_error(),
        Agree::Emulated => redis.text() == "ERR This instance has cluster support disabled",
        Agree::NoSuchCursor => !redis.is_error() && ours.text() == "ERR invalid cursor",
        Agree::Refused => ours.text().starts_with("READONLY"),
        Agree::Unknown => ours.text().starts_with("ERR unknown"),
    };
    of_this.into_iter().find(agrees).map(|intended| intended.why)
}

fn sorted(reply: &Reply) -> Vec<String> {
    let mut items: Vec<String> = reply.items().iter().map(Reply::text).collect();
    items.sort();
    items
}
