//! The servers that every client meets: redis itself, which shows that a scenario asks for nothing but what redis gives, and ours.

use crate::kv_server::{Datasets, KvServer};
use crate::process::skip;
use crate::redis_server::Redis;
use crate::scenario::{Data, Scenario};

/// Without blanks: fred sends its `HELLO` as an inline command and does not quote.
const PASSWORD: &str = "correct-horse";

/// What a client takes when nobody tells it, and both versions.
const PROTOCOLS: [Option<u8>; 3] = [None, Some(2), Some(3)];

/// A client that is told READONLY may look for a writable node and try again some times, and then it must give up.
const MOST_ATTEMPTS: u64 = 20;

/// Runs a client through all scenarios, one after the other.
pub(crate) fn in_all_scenarios(client: impl Fn(&Scenario)) {
    let data = Data::new();
    with_redis(&data, &client);
    with_ours(&data, &client);
}

fn with_redis(data: &Data, client: &impl Fn(&Scenario)) {
    let Some(redis) = Redis::holding(data, Some(PASSWORD)) else { return skip("clients with redis", "redis-server") };
    for resp in [Some(2), Some(3)] {
        client(&alone(data, redis.port, resp, "READONLY"));
    }
    let Some(nodes) = Redis::cluster(data) else { return skip("clients with redis", "redis-server") };
    client(&Scenario { cluster: true, ..data.scenario(&[nodes[0].port, nodes[1].port]) });
}

fn with_ours(data: &Data, client: &impl Fn(&Scenario)) {
    let datasets = Datasets::of(data);
    let password_file = datasets.password_file(PASSWORD);
    for (mutation_error, refusal) in [("readonly", "READONLY"), ("noperm", "NOPERM")] {
        let server = datasets.serve(&["--password-file", &password_file, "--mutation-error", mutation_error]);
        for resp in PROTOCOLS {
            let scenario = alone(data, server.port, resp, refusal);
            counting_refusals(std::slice::from_ref(&server), &scenario, client);
        }
        let nodes = datasets.serve_as_cluster(&["--mutation-error", mutation_error]);
        for resp in PROTOCOLS {
            let scenario = data.scenario(&[nodes[0].port, nodes[1].port]);
            let scenario = Scenario { cluster: true, resp, refusal: Some(refusal), ..scenario };
            counting_refusals(&nodes, &scenario, client);
        }
    }
}

fn alone(data: &Data, port: u16, resp: Option<u8>, refusal: &'static str) -> Scenario {
    Scenario {
        resp,
        password: Some(PASSWORD.to_owned()),
        refusal: Some(refusal),
        other_db: Some(data.other_db.clone()),
        ..data.scenario(&[port])
    }
}

/// The one SET of a scenario is refused and counted, and not tried again for ever.
fn counting_refusals(servers: &[KvServer], scenario: &Scenario, client: &impl Fn(&Scenario)) {
    let refused = || servers.iter().map(KvServer::refused).sum::<u64>();
    let before = refused();
    client(scenario);
    let attempts = refused() - before;
    assert!((1..=MOST_ATTEMPTS).contains(&attempts), "{scenario}: {attempts} refused mutations");
    assert!(attempts == 1 || scenario.refusal == Some("READONLY"), "{scenario}: {attempts} attempts after NOPERM");
}
