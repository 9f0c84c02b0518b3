//! What the filter tells about itself.

use nix::sys::signal::Signal;

use crate::filter::{Agent, Client, Filter, get};

#[test]
fn datagrams_that_the_kernel_dropped_are_counted() {
    let agent = Agent::new();
    let mut filter = Filter::start(&agent, &["--receive-buffer-bytes", "8192"]);
    let client = Client::of(&mut filter);
    filter.stop();
    (0..1000).for_each(|_| client.send("a:1|c"));
    filter.signal(Signal::SIGCONT);
    // The kernel tells its count with a later datagram.
    filter.wait_until("kernel drops", |filter| {
        client.send("b:1|c");
        filter.metric("kernel_drops_total") > 900
    });
}

#[test]
fn the_page_is_served_and_other_paths_are_not() {
    let agent = Agent::new();
    let mut filter = Filter::start(&agent, &[]);
    let page = filter.page();
    assert!(page.lines().all(|line| line.starts_with("# ") || line.starts_with("statsd_filter_")), "{page}");
    let line = filter.wait_for_log("metrics address=");
    let address = line.rsplit_once('=').unwrap().1.parse().unwrap();
    assert_eq!(get(address, "/healthz"), "ok\n");
    assert!(get(address, "/other").starts_with("there is /metrics"));
}

#[test]
fn every_line_is_accounted_for() {
    let agent = Agent::new();
    let mut filter = Filter::start(&agent, &["--block", "no", "--max-line-bytes", "10"]);
    let client = Client::of(&mut filter);
    (0..100).for_each(|_| client.send("a:1|c\nno:1|c\n\ntoo.long.for.this:1|c"));
    filter.wait_for_metric("lines_forwarded_total", 100);
    let counts = [r#"lines_dropped_total{rule="metric_blocklist"}"#, "lines_too_long_total", "lines_send_failed_total"];
    assert_eq!(counts.map(|name| filter.metric(name)), [100, 100, 0]);
    assert_eq!(filter.metric("lines_received_total"), 300);
}
