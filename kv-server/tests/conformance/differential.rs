//! The same bytes to Redis and to our server; the same bytes must come back, but for what is listed in `differential/intended.rs`.
//!
//! ```text
//! seed ──► conversations (random, pipelined, also malformed) ──► redis-server (a replica without master: it refuses writes too)
//!                          │                                └──► kv-server
//!                          └── shrunk to the fewest requests that still differ ◄── replies compared one by one
//! ```
//!
//! `DIFFERENTIAL_SEED` and `DIFFERENTIAL_REQUESTS` choose other conversations than CI's.

mod exchange;
mod generate;
mod intended;
mod random;

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, SystemTime};

use exchange::{Difference, exchange};
use generate::{Conversation, Generator, Request};
use random::Random;

use crate::kv_server::Datasets;
use crate::process::skip;
use crate::redis_server::Redis;
use crate::scenario::Data;
use crate::wire::{Connection, Reply};

/// Those of CI. Each takes a few seconds.
const REQUESTS: u64 = 120_000;
const SEED: u64 = 20_240_229;

/// How many conversations may differ before the rest is left for the next run.
const ENOUGH: usize = 30;

/// How long to look for a smaller failure. One that is a time-out takes its time again and again.
const SHRINKING: Duration = Duration::from_secs(30);

#[test]
fn redis_and_we_answer_the_same_bytes() {
    let data = Data::new();
    let Some(redis) = Redis::holding(&data, None) else { return skip("the differential test", "redis-server") };
    let ours = Datasets::of(&data).serve(&[]);
    let (seed, requests) = (number("DIFFERENTIAL_SEED", SEED), number("DIFFERENTIAL_REQUESTS", REQUESTS));

    let generator = Generator::new(&data);
    let (mut sent, mut intended, mut tries) = (0, 0, 0);
    // By command, so that one mistake that shows everywhere does not hide the others.
    let mut failures = BTreeMap::new();
    for conversation_number in 0.. {
        if sent >= requests || tries >= ENOUGH {
            break;
        }
        // Each conversation has a seed of its own, so that one that differs can be had again alone.
        let conversation_seed = seed.wrapping_add(conversation_number);
        let conversation = generator.conversation(&mut Random::new(conversation_seed));
        sent += (conversation.requests.len() + conversation.wild.len()) as u64;
        match exchange(&conversation, redis.port, ours.port) {
            Ok(differences) => intended += differences,
            Err(difference) => {
                tries += 1;
                let (smallest, difference) = shrink(conversation, difference, redis.port, ours.port);
                let report = format!("{smallest}{difference}");
                failures.insert(difference.command(&smallest), (conversation_seed, report));
            }
        }
    }
    let reports = failures
        .into_values()
        .map(|(seed, report)| format!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_REQUESTS=1\n{report}"));
    let reports: Vec<String> = reports.collect();
    assert!(reports.is_empty(), "after {sent} requests:\n\n{}", reports.join("\n"));
    println!("{sent} requests, {intended} intended differences");
    assert!(intended < sent / 2, "most requests should not be of the kinds that differ");
}

#[test]
fn what_writes_in_redis_is_refused_here_and_counted() {
    let data = Data::new();
    let Some(redis) = Redis::holding(&data, None) else { return skip("the list of writes", "redis-server") };
    let ours = Datasets::of(&data).serve(&[]);
    let mut theirs = Connection::open(redis.port).unwrap();
    let writes = theirs.ask(&["COMMAND", "LIST", "FILTERBY", "ACLCAT", "write"]).unwrap();
    let infos = theirs.ask(&["COMMAND"]).unwrap();
    let arity = |name: &str| {
        let info = infos.items().iter().find(|info| info.items().first().is_some_and(|it| it.text() == name));
        info.map_or(2, |info| info.items()[1].text().parse::<i64>().unwrap().unsigned_abs())
    };
    let mut client = Connection::open(ours.port).unwrap();
    let mut refused = 0_u64;
    for write in writes.items().iter().map(Reply::text) {
        let words: Vec<&str> = write.split('|').collect();
        let arguments = arity(words[0]).max(2).try_into().unwrap_or(2);
        let mut request = words.clone();
        request.resize(request.len().max(arguments), "1");
        let reply = client.ask(&request).unwrap();
        assert!(reply.is_error() && reply.text().starts_with("READONLY"), "{write}: {reply}");
        refused += 1;
    }
    assert!(refused > 100, "Redis named {refused} commands that write");
    assert_eq!(ours.refused(), refused, "each is counted");
}

/// The fewest requests that still differ: parts are left out, then single requests, for as long as that makes it smaller.
fn shrink(mut failing: Conversation, mut difference: Difference, redis: u16, ours: u16) -> (Conversation, Difference) {
    failing.cuts.clear();
    let started = SystemTime::now();
    let lists: [fn(&mut Conversation) -> &mut Vec<Request>; 2] = [|all| &mut all.requests, |all| &mut all.wild];
    for list in lists {
        let mut part = list(&mut failing).len().div_ceil(2);
        while part > 0 {
            let mut at = 0;
            while at < list(&mut failing).len() {
                if started.elapsed().unwrap_or_default() > SHRINKING {
                    return (failing, difference);
                }
                let mut smaller = failing.clone();
                let requests = list(&mut smaller);
                requests.drain(at..(at + part).min(requests.len()));
                match exchange(&smaller, redis, ours) {
                    Err(still) => (failing, difference) = (smaller, still),
                    Ok(_same) => at += part,
                }
            }
            part /= 2;
        }
    }
    (failing, difference)
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}
