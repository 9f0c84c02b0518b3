//! `redis-cli` and `redis-benchmark`, as Debian ships them.

use std::process::{Command, Stdio};

use crate::process::{program, skip};
use crate::scenario::Scenario;
use crate::servers::in_all_scenarios;

#[test]
fn redis_cli_alone_and_in_a_cluster() {
    let Some(cli) = program("redis-cli") else { return skip("redis-cli", "redis-cli") };
    in_all_scenarios(|scenario| {
        let ask = |more: &[&str]| {
            let mut command = Command::new(&cli);
            command.args(["-p", &scenario.nodes[0].port.to_string()]);
            command.args(scenario.resp.map(|resp| format!("-{resp}")));
            command.args(scenario.cluster.then_some("-c"));
            command.args(scenario.password.iter().flat_map(|password| ["--no-auth-warning", "-a", password]));
            output(command.args(more))
        };
        let (key, value) = (text(&scenario.pairs[0].key.0), text(&scenario.pairs[0].value.0));
        let missing = text(&scenario.misses[0].0);
        let tagged: Vec<&str> = scenario.same_slot.iter().map(|pair| text(&pair.key.0)).collect();
        let values: Vec<&str> = scenario.same_slot.iter().map(|pair| text(&pair.value.0)).collect();

        assert_eq!(ask(&["GET", key]), format!("{value}\n"));
        assert_eq!(ask(&["--no-raw", "GET", missing]), "(nil)\n");
        assert_eq!(ask(&[&["MGET"], tagged.as_slice()].concat()), values.join("\n") + "\n");
        assert_eq!(ask(&[&["EXISTS"], tagged.as_slice()].concat()), format!("{}\n", tagged.len()));
        assert_eq!(ask(&["STRLEN", key]), format!("{}\n", value.len()));
        assert_eq!(ask(&["GETRANGE", key, "1", "-2"]), format!("{}\n", &value[1..value.len() - 1]));
        assert_eq!(ask(&["TYPE", key]), "string\n");
        assert_eq!(ask(&["TTL", key]), "-1\n");
        assert_eq!(ask(&["TTL", missing]), "-2\n");
        assert!(ask(&["INFO"]).contains("redis_version:"));
        assert!(ask(&["COMMAND", "DOCS", "GET"]).contains("summary"));
        let scanned = ask(&["--scan", "--pattern", "filler:*"]);
        if scenario.cluster {
            assert!(scanned.lines().count() > 100, "about half of them: this tool scans one node");
            let node = format!("127.0.0.1:{}", scenario.nodes[0].port);
            let check = output(Command::new(&cli).args(["--cluster", "check", &node]));
            assert!(check.contains("[OK] All 16384 slots covered"), "{check}");
        } else {
            let fillers = scenario.total - scenario.pairs.len() - scenario.same_slot.len();
            assert_eq!(scanned.lines().count(), fillers);
            let report = ask(&["--bigkeys"]);
            assert!(report.contains("Biggest string found"), "{report}");
        }
        if let Some(code) = scenario.refusal {
            assert!(ask(&["SET", key, "other"]).starts_with(code));
        }
        if let Some(other) = &scenario.other_db {
            let (key, value) = (text(&other.pair.key.0), text(&other.pair.value.0));
            assert_eq!(ask(&["-n", &other.db.to_string(), "GET", key]), format!("{value}\n"));
        }
        if scenario.password.is_some() {
            let refused = ask(&["--no-auth-warning", "-a", "wrong", "GET", key]);
            assert!(refused.contains("WRONGPASS") && refused.contains("NOAUTH"), "{refused}");
        }
    });
}

#[test]
fn redis_benchmark_alone_and_in_a_cluster() {
    let Some(benchmark) = program("redis-benchmark") else { return skip("redis-benchmark", "redis-benchmark") };
    in_all_scenarios(|scenario| {
        let Scenario { nodes, cluster, resp, password, .. } = scenario;
        let measure = |more: &[&str]| {
            let mut command = Command::new(&benchmark);
            command.args(["-p", &nodes[0].port.to_string(), "-n", "5000", "-c", "20", "-q"]);
            command.args((*resp == Some(3)).then_some("-3"));
            command.args(cluster.then_some("--cluster"));
            command.args(password.iter().flat_map(|password| ["-a", password]));
            output(command.args(more))
        };
        for pipelined in ["1", "16"] {
            let report = measure(&["-P", pipelined, "-t", "get"]);
            assert!(report.contains("GET: ") && report.contains("requests per second"), "{report}");
            let report = measure(&["-P", pipelined, "-r", "1500", "GET", "{tag}:__rand_int__"]);
            assert!(report.contains("requests per second"), "{report}");
        }
        if let Some(code) = scenario.refusal {
            let report = measure(&["-n", "1", "-c", "1", "SET", "{tag}:0", "other"]);
            // In a cluster it keeps errors to itself.
            assert!(*cluster || report.contains(&format!("Error from server: {code}")), "{report}");
        }
    });
}

/// All that it prints; its exit code says little.
fn output(command: &mut Command) -> String {
    let output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("failed to run {command:?}: {error}"));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).replace('\r', "\n")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the first keys are text")
}
