//! CONFIG GET: the few settings that clients look at. Nothing can be set.

use resp::{Request, glob_matches};

use super::{Flow, executor::Context};

pub(super) fn get(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let patterns = request.from(2);
    let settings = settings(context);
    let asked = |name: &str| patterns.iter().any(|pattern| glob_matches(pattern, name.as_bytes(), true));
    let found: Vec<_> = settings.iter().filter(|(name, _)| asked(name)).collect();
    let mut reply = context.reply();
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Flow::Done
}

fn settings(context: &Context<'_>) -> Vec<(&'static str, String)> {
    let settings = &context.shared.settings;
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    vec![
        ("appendonly", "no".to_owned()),
        ("bind", context.session.local.ip().to_string()),
        ("cluster-enabled", yes_no(context.topology.is_some())),
        ("databases", settings.databases.to_string()),
        ("io-threads", settings.threads.to_string()),
        ("list-max-listpack-size", "-2".to_owned()),
        ("maxclients", settings.max_connections.to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("notify-keyspace-events", String::new()),
        ("port", context.session.local.port().to_string()),
        ("proto-max-bulk-len", settings.max_bulk.to_string()),
        ("replica-read-only", "yes".to_owned()),
        ("requirepass", String::new()),
        ("save", String::new()),
        ("slave-read-only", "yes".to_owned()),
        ("timeout", settings.idle_timeout.map_or(0, |timeout| timeout.as_secs()).to_string()),
    ]
}
