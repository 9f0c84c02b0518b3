//! A disk that fills up: a clear error, nothing acknowledged that is not durable, and recovery once
//! there is space again.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use protocol::{client::LeaderClient, v1, v1::scan_client::ScanClient};
use tokio::time::Duration;

use crate::cluster::{eventually, free_addresses, key, status_of};

/// A small file system of its own in a mount namespace of its own, filled by a file that goes away when
/// the orchestrator has ended with an error; then it is started again.
const SCRIPT: &str = r#"
set -eu
mount -t tmpfs -o size=24m tmpfs "$DISK"
head -c 12M /dev/zero > "$DISK/filler"
"$ORCHESTRATOR" --dir "$DISK/node" --listen "$LISTEN" --storage "$STORAGE" --bootstrap 2> "$LOGS/first.log" &
wait $! && exit 9 || echo $? > "$LOGS/first.exit"
rm "$DISK/filler"
exec "$ORCHESTRATOR" --dir "$DISK/node" --listen "$LISTEN" --storage "$STORAGE" --bootstrap 2> "$LOGS/second.log"
"#;

fn namespaces_work() -> bool {
    let status = Command::new("unshare").args(["-Urm", "true"]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_full_disk_ends_the_process_with_a_clear_error_and_loses_nothing_acknowledged() {
    if !namespaces_work() {
        println!("skipped: a_full_disk_…: this machine allows no user namespaces (unshare -Urm)");
        assert!(std::env::var_os("CI").is_none(), "under CI every part runs");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (disk, logs) = (dir.path().join("disk"), dir.path().join("logs"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&logs).unwrap();
    let address = free_addresses(1).remove(0);
    let mut child = Command::new("unshare")
        .args(["-Urm", "--kill-child", "sh", "-c", SCRIPT])
        .env("DISK", &disk)
        .env("LOGS", &logs)
        .env("ORCHESTRATOR", env!("CARGO_BIN_EXE_orchestrator"))
        .env("LISTEN", &address)
        .env("STORAGE", format!("file://{}/objects", dir.path().display()))
        .process_group(0)
        .spawn()
        .unwrap();
    eventually("it leads", async || status_of(&address).await.filter(|status| status.ready)).await;

    // Each corpus is a small entry with a long url, so that the disk fills after some thousand.
    let client = LeaderClient::new(vec![address.clone()]);
    let (mut acknowledged, mut failed) = (0_u32, 0);
    while !logs.join("first.exit").exists() {
        let request = v1::PutCorpusRequest {
            key: Some(key(&format!("corpus-{acknowledged}"))),
            url: format!("file:///{}", "long/".repeat(400)),
            max_file_bytes: 0,
            listing_interval_ms: 3_600_000,
            datasets: Vec::new(),
            ..v1::PutCorpusRequest::default()
        };
        let put = |channel| {
            let request = request.clone();
            async move { ScanClient::new(channel).put_corpus(request).await }
        };
        match client.call(Duration::from_secs(5), put).await {
            Ok(_) => acknowledged += 1,
            Err(error) => {
                failed += 1;
                assert!(failed < 12, "neither room nor an end: {error:?}");
            }
        }
        assert!(acknowledged < 100_000, "the disk never filled");
    }
    eventually("the first process has ended", async || logs.join("first.exit").exists().then_some(())).await;
    let first_log = fs::read_to_string(logs.join("first.log")).unwrap();
    assert!(first_log.to_lowercase().contains("no space left on device"), "{first_log}");

    eventually("it leads again", async || status_of(&address).await.filter(|status| status.ready)).await;
    let list = |channel| async move {
        ScanClient::new(channel)
            .max_decoding_message_size(protocol::MAX_MESSAGE_BYTES)
            .list_corpora(v1::ListCorporaRequest { tenant: String::new() })
            .await
    };
    let corpora = client.call(Duration::from_secs(30), list).await.unwrap().into_inner().corpora;
    let found = u32::try_from(corpora.len()).unwrap();
    // One more may be there: committed, and the process died before it could say so.
    assert!(found == acknowledged || found == acknowledged + 1, "{found} found, {acknowledged} acknowledged");
    assert!(acknowledged > 100, "only {acknowledged} before the disk was full");

    child.kill().unwrap();
    child.wait().unwrap();
}
