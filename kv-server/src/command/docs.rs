//! What COMMAND DOCS tells of each command that is served: redis-cli shows it while one types.

pub(super) struct Docs {
    pub(super) summary: &'static str,
    pub(super) since: &'static str,
    pub(super) group: &'static str,
}

impl Docs {
    /// Of a command, or of the container of a subcommand. Refused commands have one text for all.
    pub(super) fn of(name: &str) -> Self {
        let name = name.split('|').next().unwrap_or(name);
        match DOCS.iter().find(|(known, ..)| *known == name) {
            Some((_, since, group, summary)) => Self { summary, since, group },
            None => Self { summary: "Refused: this server is read-only", since: "1.0.0", group: "generic" },
        }
    }
}

/// Name, since which version of Redis, group, summary.
const DOCS: &[(&str, &str, &str, &str)] = &[
    ("asking", "3.0.0", "cluster", "Announce a request that was redirected"),
    ("auth", "1.0.0", "connection", "Say the password"),
    ("client", "2.4.0", "connection", "About connections"),
    ("cluster", "3.0.0", "cluster", "About the cluster"),
    ("command", "2.8.13", "server", "About commands"),
    ("config", "2.0.0", "server", "About the configuration"),
    ("dbsize", "1.0.0", "server", "The number of keys"),
    ("discard", "2.0.0", "transactions", "Give a transaction up"),
    ("echo", "1.0.0", "connection", "The message itself"),
    ("exec", "1.2.0", "transactions", "Run a transaction"),
    ("exists", "1.0.0", "generic", "How many of the keys exist"),
    ("expiretime", "7.0.0", "generic", "When a key expires, in seconds"),
    ("get", "1.0.0", "string", "The value of a key"),
    ("getrange", "2.4.0", "string", "A part of a value"),
    ("hello", "6.0.0", "connection", "Choose the protocol, say who you are"),
    ("info", "1.0.0", "server", "What the server tells about itself"),
    ("keys", "1.0.0", "generic", "All keys that match a pattern"),
    ("kv.datasets", "1.0.0", "generic", "The state of every dataset"),
    ("kv.version", "1.0.0", "generic", "The version that is served"),
    ("lastsave", "1.0.0", "server", "When the server started"),
    ("memory", "4.0.0", "server", "About memory"),
    ("mget", "1.0.0", "string", "The values of several keys"),
    ("multi", "1.2.0", "transactions", "Begin a transaction"),
    ("pexpiretime", "7.0.0", "generic", "When a key expires, in milliseconds"),
    ("ping", "1.0.0", "connection", "Whether the server answers"),
    ("pttl", "2.6.0", "generic", "Milliseconds until a key expires"),
    ("quit", "1.0.0", "connection", "Close the connection"),
    ("randomkey", "1.0.0", "generic", "Some key"),
    ("readonly", "3.0.0", "cluster", "Accept answers of a replica"),
    ("readwrite", "3.0.0", "cluster", "Accept answers of primaries only"),
    ("reset", "6.2.0", "connection", "Forget all the connection has said"),
    ("role", "2.8.12", "server", "The role in replication"),
    ("scan", "2.8.0", "generic", "Some keys, and where to go on"),
    ("select", "1.0.0", "connection", "Choose a database"),
    ("strlen", "2.2.0", "string", "The length of a value"),
    ("substr", "1.0.0", "string", "A part of a value"),
    ("time", "2.6.0", "server", "The time of the server"),
    ("touch", "3.2.1", "generic", "How many of the keys exist"),
    ("ttl", "1.0.0", "generic", "Seconds until a key expires"),
    ("type", "1.0.0", "generic", "The type of a value"),
    ("unwatch", "2.2.0", "transactions", "Watch no key"),
    ("wait", "3.0.0", "generic", "Wait for replicas, of which there are none"),
    ("watch", "2.2.0", "transactions", "Watch keys, which never change here"),
];
