//! Facts about files from a real `redis-server`, and what becomes of a scan when it is not there.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use findings::{Fact, Knowledge};
use protocol::v1;

use crate::{
    fake_leader::until,
    world::{Results, Segment, World, delta, digest_of, kill, target},
};

const GOOD: &str = r#"{"package":"coreutils","version":"9.1-1","known_good":true,"prevalence":7}"#;

struct Kv {
    process: Child,
    port: u16,
}

impl Kv {
    async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let kv = Self { process, port };
        until("redis-server", || (kv.ask(&["PING"]).trim() == "PONG").then_some(())).await;
        kv
    }

    fn ask(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Says what is known of a content.
    fn tell(&self, content: &[u8], value: &str) {
        assert_eq!(self.ask(&["SET", &digest_of(content).to_string(), value]).trim(), "OK");
    }

    /// Keys that it was asked for.
    fn asked(&self) -> u64 {
        let stats = self.ask(&["INFO", "stats"]);
        let count = |name: &str| -> u64 {
            stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok()).unwrap()
        };
        count("keyspace_hits") + count("keyspace_misses")
    }

    /// With a deadline that only a server misses which does not answer at all.
    fn flag(&self) -> String {
        self.flag_within(20_000)
    }

    fn flag_within(&self, deadline_ms: u32) -> String {
        format!("packages=redis://127.0.0.1:{}?deadline_ms={deadline_ms}", self.port)
    }
}

impl Drop for Kv {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Scans as the corpus would that names datasets.
async fn scan(
    world: &World,
    datasets: &[&str],
    segment: &Segment,
    targets: Vec<v1::ScanTarget>,
) -> (v1::LeaseId, Results) {
    let lease = grant(world, datasets, segment, targets);
    let settle = world.leader.settled(lease).await;
    (lease, Results(settle.results))
}

fn grant(world: &World, datasets: &[&str], segment: &Segment, targets: Vec<v1::ScanTarget>) -> v1::LeaseId {
    let datasets = datasets.iter().map(ToString::to_string).collect();
    let corpus = v1::CorpusRef { datasets, ..world.corpus() };
    let job = v1::ScanJob { corpus: Some(corpus), segment: Some(segment.wire.clone()), targets };
    world.leader.grant(v1::grant::Job::Scan(job))
}

fn pair(file: &str, rule: &str) -> (String, String) {
    (file.to_owned(), rule.to_owned())
}

fn states(facts: &[Fact]) -> Vec<(&str, &str)> {
    facts.iter().map(|fact| (fact.dataset.as_str(), fact.knowledge.state())).collect()
}

const ASKING: &str = r#"
rule unknown { condition: not known_good }
rule good { condition: known_good and package == "coreutils" and package_version == "9.1-1" and prevalence == 7 }
rule evil { strings: $a = "evil" condition: $a }
"#;

#[tokio::test]
async fn rules_ask_what_is_known_and_findings_say_it() {
    let kv = Kv::start().await;
    kv.tell(b"as installed", GOOD);
    kv.tell(b"evil and odd", "seen in 1999");
    let world = World::new(&["--kv", &kv.flag()]).await;
    world.write("a", "as installed");
    world.write("b", "evil and odd");
    world.write("c", "evil and new");
    world.write("large", vec![b'x'; 300_000]);
    kv.tell(&vec![b'x'; 300_000], GOOD);
    let segment = world.segment(0).await;
    let rules = world.rules(1, ASKING).await;

    // The first scan has to hash before it can ask, the second finds the hashes in the storage.
    for _ in 0..2 {
        let (lease, results) = scan(&world, &["packages"], &segment, vec![target(1, &rules)]).await;
        assert_eq!((results.done(1).matched, results.done(1).excepted.len()), (4, 0));
        assert_eq!(results.done(1).scanned_bytes, segment.wire.bytes, "hashing is not scanning");
        let expected = [
            pair("a", "good"),
            pair("b", "evil"),
            pair("b", "unknown"),
            pair("c", "evil"),
            pair("c", "unknown"),
            pair("large", "good"),
        ];
        assert_eq!(world.found(1, 1, lease).await, expected);
        for row in world.rows(1, 1, lease).await {
            let [fact] = &row.enrichment[..] else { panic!("one dataset, one fact: {row:?}") };
            assert_eq!((fact.dataset.as_str(), fact.version.as_str()), ("packages", ""), "redis has no versions");
            let known = match row.key.as_slice() {
                b"a" | b"large" => Knowledge::Found(GOOD.as_bytes().to_vec()),
                b"b" => Knowledge::Found(b"seen in 1999".to_vec()),
                _ => Knowledge::Missing,
            };
            assert_eq!(fact.knowledge, known, "{row:?}");
        }
    }
    assert_eq!(kv.asked(), 8, "each file once a scan");
}

#[tokio::test]
async fn rules_that_do_not_ask_cost_lookups_of_what_they_find_alone() {
    let kv = Kv::start().await;
    kv.tell(b"evil 1", GOOD);
    let world = World::new(&["--kv", &kv.flag()]).await;
    (0..50).for_each(|number| world.write(&format!("f{number}"), format!("evil {number}")));
    (0..50).for_each(|number| world.write(&format!("g{number}"), format!("good {number}")));
    let segment = world.segment(0).await;
    let rules = world.rules(1, "rule evil { strings: $a = \"evil 1\" condition: $a }").await;
    let (lease, results) = scan(&world, &["packages"], &segment, vec![target(1, &rules)]).await;
    assert_eq!(results.done(1).matched, 11, "1 and 10 to 19");
    let rows = world.rows(1, 1, lease).await;
    let known: Vec<_> = rows.iter().filter(|row| row.key == b"f1").map(|row| states(&row.enrichment)).collect();
    assert_eq!(known, [[("packages", "found")]]);
    assert!(rows.iter().all(|row| row.key == b"f1" || states(&row.enrichment) == [("packages", "missing")]));
    assert_eq!(kv.asked(), 11);
    // A corpus that names no dataset asks nobody.
    let (lease, _) = scan(&world, &[], &segment, vec![target(1, &rules)]).await;
    assert!(world.rows(1, 1, lease).await.iter().all(|row| row.enrichment.is_empty()));
    assert_eq!(kv.asked(), 11);
}

#[tokio::test]
async fn a_server_killed_in_the_middle_costs_facts_and_no_answer() {
    let mut kv = Kv::start().await;
    kv.tell(b"as installed", GOOD);
    let world = World::new(&["--kv", &kv.flag()]).await;
    world.write("a", "as installed");
    world.write("b", "evil");
    let segment = world.segment(0).await;
    let rules = world.rules(1, ASKING).await;
    let (lease, _) = scan(&world, &["packages"], &segment, vec![target(1, &rules)]).await;
    assert_eq!(world.found(1, 1, lease).await, [pair("a", "good"), pair("b", "evil"), pair("b", "unknown")]);

    // As many as cannot all be done before the server is gone, however late this test is woken.
    let leases: Vec<_> = (0..64).map(|_| grant(&world, &["packages"], &segment, vec![target(1, &rules)])).collect();
    world.leader.settled(leases[0]).await;
    kv.process.kill().unwrap();
    kv.process.wait().unwrap();
    let mut without = 0;
    for lease in leases {
        let results = Results(world.leader.settled(lease).await.results);
        let done = results.done(1);
        assert_eq!((done.matched, done.excepted.len()), (2, 0), "every file has its answer");
        let rows = world.rows(1, 1, lease).await;
        assert_eq!(rows.len(), done.findings as usize);
        for row in rows.iter().filter(|row| row.key == b"a") {
            // The rules see a file of which nothing is known, and the finding says that nobody could be asked.
            match &row.enrichment[0].knowledge {
                Knowledge::Found(_) => assert_eq!(row.rule, "good"),
                Knowledge::Unavailable(reason) => {
                    assert_eq!(row.rule, "unknown");
                    assert!(reason.contains("127.0.0.1"), "{reason}");
                    without += 1;
                }
                Knowledge::Missing => panic!("nobody said that it is missing: {row:?}"),
            }
        }
    }
    assert!(without > 0, "the server was away for none of the jobs");
}

#[tokio::test]
async fn a_server_that_hangs_holds_no_job_up_for_long() {
    let kv = Kv::start().await;
    let world = World::new(&["--kv", &kv.flag_within(1_000)]).await;
    world.write("a", "evil");
    let segment = world.segment(0).await;
    let rules = world.rules(1, ASKING).await;
    kill("-STOP", kv.process.id());
    for _ in 0..5 {
        let (lease, results) = scan(&world, &["packages"], &segment, vec![target(1, &rules)]).await;
        assert_eq!(results.done(1).matched, 1);
        let rows = world.rows(1, 1, lease).await;
        assert!(rows.iter().all(|row| states(&row.enrichment) == [("packages", "unavailable")]), "{rows:?}");
    }
    kill("-CONT", kv.process.id());
}

#[tokio::test]
async fn a_dataset_that_the_worker_was_not_told_of_is_unavailable() {
    let kv = Kv::start().await;
    kv.tell(b"evil", GOOD);
    let world = World::new(&["--kv", &kv.flag()]).await;
    world.write("a", "evil");
    let segment = world.segment(0).await;
    let rules = world.rules(1, "rule evil { strings: $a = \"evil\" condition: $a }").await;
    let (lease, _) = scan(&world, &["senders", "packages"], &segment, vec![target(1, &rules)]).await;
    let rows = world.rows(1, 1, lease).await;
    assert_eq!(states(&rows[0].enrichment), [("senders", "unavailable"), ("packages", "found")]);
    let Knowledge::Unavailable(reason) = &rows[0].enrichment[0].knowledge else { panic!("{rows:?}") };
    assert!(reason.contains("not told where"), "{reason}");
}

#[tokio::test]
async fn what_was_known_travels_with_a_finding_that_is_carried_over() {
    let kv = Kv::start().await;
    kv.tell(b"evil", GOOD);
    let world = World::new(&["--kv", &kv.flag()]).await;
    world.write("a", "evil");
    let segment = world.segment(0).await;
    let evil = "rule evil { strings: $a = \"evil\" condition: $a }";
    let first = world.rules(1, evil).await;
    let (lease, _) = scan(&world, &["packages"], &segment, vec![target(1, &first)]).await;
    kv.tell(b"evil", "changed since");
    let second = world.rules(2, &format!("{evil}\nrule more {{ condition: true }}")).await;
    let (lease, _) = scan(&world, &["packages"], &segment, vec![delta(1, &first, &second, Some(lease))]).await;
    let rows = world.rows(1, 2, lease).await;
    let known = |rule: &str| {
        let row = rows.iter().find(|row| row.rule == rule).unwrap();
        row.enrichment[0].words()
    };
    assert_eq!((known("evil").as_str(), known("more").as_str()), ("coreutils 9.1-1", "changed since"));
}

#[tokio::test]
async fn a_file_that_kills_scanners_while_it_is_hashed_or_scanned_costs_itself_alone() {
    let kv = Kv::start().await;
    kv.tell(b"as installed", GOOD);
    let world = World::new(&["--kv", &kv.flag(), "--file-timeout-s", "1"]).await;
    world.write("a", "as installed");
    world.write("slow", "x");
    let segment = world.segment(0).await;
    let slow = "rule slow { condition: filename == \"slow\" and for all i in (1..1000000000000) : (i != 0) }\nrule good { condition: known_good }";
    let rules = world.rules(1, slow).await;
    let (lease, results) = scan(&world, &["packages"], &segment, vec![target(1, &rules)]).await;
    assert_eq!(world.found(1, 1, lease).await, [pair("a", "good")]);
    assert_eq!(results.excepted(1, &segment).keys().collect::<Vec<_>>(), ["slow"]);
}

#[tokio::test]
async fn what_was_looked_up_is_counted_for_who_asks() {
    let kv = Kv::start().await;
    kv.tell(b"evil", GOOD);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let metrics = format!("127.0.0.1:{port}");
    let world = World::new(&["--kv", &kv.flag(), "--metrics-listen", &metrics]).await;
    world.write("a", "evil");
    world.write("b", "evil too");
    let segment = world.segment(0).await;
    let rules = world.rules(1, "rule evil { strings: $a = \"evil\" condition: $a }").await;
    scan(&world, &["packages", "senders"], &segment, vec![target(1, &rules)]).await;
    let text = get(&metrics, "/metrics");
    for line in [
        "dragnet_enrichment_lookups_total{dataset=\"packages\"} 2",
        "dragnet_enrichment_hits_total{dataset=\"packages\"} 1",
        "dragnet_enrichment_misses_total{dataset=\"packages\"} 1",
        "dragnet_enrichment_unavailable_total{dataset=\"senders\",reason=\"not_configured\"} 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(get(&metrics, "/healthz").ends_with("ok\n"));
}

fn get(address: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
