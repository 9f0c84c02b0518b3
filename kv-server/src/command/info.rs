//! INFO: what clients look for in it, and what people want to see.

use std::fmt::Write as _;

use resp::Request;

use super::{Flow, executor::Context};
use crate::shared::REDIS_VERSION;

type Section = fn(&Context<'_>, &mut String);

/// Name, whether it is told without being asked for, and what it tells.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Commandstats", false, command_stats),
    ("Errorstats", true, error_stats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
    ("Datasets", true, datasets),
];

pub(super) fn info(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let asked = request.from(1);
    let names = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let everything = asked.iter().any(|word| names(word, "all") || names(word, "everything"));
    let by_default = asked.len() == 0 || asked.iter().any(|word| names(word, "default"));
    let mut text = String::new();
    for (name, is_default, section) in SECTIONS {
        if everything || (by_default && *is_default) || asked.iter().any(|word| names(word, name)) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {name}\r\n");
            section(context, &mut text);
        }
    }
    context.reply().text(&text);
    Flow::Done
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

fn server(context: &Context<'_>, text: &mut String) {
    let shared = context.shared;
    line(text, "redis_version", REDIS_VERSION);
    line(text, "dragnet_version", telemetry::build_info());
    line(text, "redis_mode", if context.topology.is_some() { "cluster" } else { "standalone" });
    line(text, "os", std::env::consts::OS);
    line(text, "arch_bits", usize::BITS);
    line(text, "multiplexing_api", "epoll");
    line(text, "process_id", std::process::id());
    line(text, "run_id", &shared.run_id);
    line(text, "tcp_port", context.session.local.port());
    let up = shared.started_at.elapsed().unwrap_or_default().as_secs();
    line(text, "uptime_in_seconds", up);
    line(text, "uptime_in_days", up / 86_400);
    line(text, "io_threads_active", u8::from(shared.settings.threads > 1));
}

fn clients(context: &Context<'_>, text: &mut String) {
    line(text, "connected_clients", context.shared.clients.count());
    line(text, "cluster_connections", 0);
    line(text, "maxclients", context.shared.settings.max_connections);
    line(text, "blocked_clients", 0);
}

fn memory(context: &Context<'_>, text: &mut String) {
    let serving = context.serving.slots().iter().filter_map(|slot| slot.current.as_ref());
    let (mut tables, mut cache) = (0, 0);
    for shard in serving.clone().flat_map(|version| version.shards()) {
        let memory = shard.memory();
        tables += memory.tables + memory.locators;
        cache = memory.block_cache.max(cache); // one cache for all
    }
    line(text, "used_memory", tables + cache);
    line(text, "used_memory_rss", crate::metrics::resident_bytes().unwrap_or(0));
    line(text, "used_memory_dataset", serving.map(|version| version.bytes()).sum::<u64>());
    line(text, "maxmemory", 0);
    line(text, "maxmemory_policy", "noeviction");
}

fn persistence(context: &Context<'_>, text: &mut String) {
    let loading = context.serving.slots().iter().any(|slot| slot.current.is_none());
    line(text, "loading", u8::from(loading));
    line(text, "async_loading", 0);
    line(text, "rdb_changes_since_last_save", 0);
    line(text, "rdb_bgsave_in_progress", 0);
    line(text, "rdb_last_bgsave_status", "ok");
    line(text, "aof_enabled", 0);
}

fn stats(context: &Context<'_>, text: &mut String) {
    let totals = context.shared.metrics.totals();
    line(text, "total_connections_received", totals.connections);
    line(text, "total_commands_processed", totals.requests);
    line(text, "total_net_input_bytes", totals.bytes_in);
    line(text, "total_net_output_bytes", totals.bytes_out);
    line(text, "rejected_connections", totals.rejected);
    line(text, "expired_keys", 0);
    line(text, "evicted_keys", 0);
    line(text, "keyspace_hits", totals.hits);
    line(text, "keyspace_misses", totals.misses);
    line(text, "refused_mutations", totals.refused);
    line(text, "total_error_replies", totals.errors);
}

/// A read-only server that is told `slave` by an unconfigured client would be left alone; as a master it is asked.
fn replication(context: &Context<'_>, text: &mut String) {
    let replica = context.topology.is_some_and(|topology| topology.is_replica());
    line(text, "role", if replica { "slave" } else { "master" });
    line(text, "connected_slaves", 0);
    line(text, "master_replid", &context.shared.run_id);
    line(text, "master_repl_offset", 0);
}

fn cpu(_context: &Context<'_>, text: &mut String) {
    let (user, system) = crate::metrics::cpu_seconds().unwrap_or((0.0, 0.0));
    line(text, "used_cpu_sys", format_args!("{system:.6}"));
    line(text, "used_cpu_user", format_args!("{user:.6}"));
}

fn command_stats(context: &Context<'_>, text: &mut String) {
    for (name, calls, seconds) in context.shared.metrics.by_command() {
        let micros = seconds * 1e6;
        let each = if calls == 0 { 0.0 } else { micros / calls as f64 };
        let _ = write!(
            text,
            "cmdstat_{name}:calls={calls},usec={micros:.0},usec_per_call={each:.2},rejected_calls=0,failed_calls=0\r\n"
        );
    }
}

fn error_stats(_context: &Context<'_>, _text: &mut String) {}

fn cluster(context: &Context<'_>, text: &mut String) {
    line(text, "cluster_enabled", u8::from(context.topology.is_some()));
}

fn keyspace(context: &Context<'_>, text: &mut String) {
    for db in 0..context.serving.databases() {
        let versions = context.serving.in_database(db).filter_map(|(_, _, slot)| slot.current.as_ref());
        let keys: u64 = versions.map(|version| version.keys()).sum();
        if keys > 0 {
            line(text, &format!("db{db}"), format_args!("keys={keys},expires=0,avg_ttl=0"));
        }
    }
}

fn datasets(context: &Context<'_>, text: &mut String) {
    for (spec, slot) in context.shared.catalog.specs().iter().zip(context.serving.slots()) {
        let version = slot.current.as_ref().map_or_else(|| "none".to_owned(), |version| version.label());
        line(text, &format!("dataset_{}", spec.name), format_args!("version={version},db={}", spec.db));
    }
}
