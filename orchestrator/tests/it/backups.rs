//! Backups in object storage, and clusters that are founded from them.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use protocol::v1;
use tempfile::TempDir;
use testcluster::{Place, must_not_skip};
use tonic::Code;

use crate::{
    cluster::{Cluster, eventually, free_addresses},
    faults::{SEGMENTS, check_complete, script, settled},
    worker::{Account, FakeWorker},
};

fn place(cluster: &Cluster) -> String {
    format!("file://{}/backups", cluster.dir.path().display())
}

async fn back_up(cluster: &Cluster, keep: u32) -> v1::BackupResponse {
    let leader = cluster.wait_for_leader().await;
    let request = v1::BackupRequest { url: place(cluster), keep };
    cluster.node(leader).backup(request).await.unwrap().into_inner()
}

async fn list(cluster: &Cluster, index: usize) -> Vec<v1::BackupInfo> {
    let request = v1::ListBackupsRequest { url: place(cluster) };
    cluster.node(index).list_backups(request).await.unwrap().into_inner().backups
}

fn restore(url: String, name: &str) -> v1::RestoreRequest {
    v1::RestoreRequest { url, cluster_id: name.to_owned(), from_cluster_id: String::new() }
}

#[tokio::test]
async fn a_cluster_lost_in_the_middle_of_a_sweep_is_restored_as_a_new_one_and_its_receipts_add_up() {
    let mut cluster = Cluster::awaiting(4, &["--session-ttl-ms", "2000"]).await;
    cluster.found(0, "blue").await;
    cluster.add(1).await;
    cluster.put_corpus("files").await;
    cluster.put_ruleset("one", "rule one {condition: true}").await;
    let before: Arc<Mutex<Account>> = Arc::default();
    let worker = FakeWorker::start(script(&cluster, "w", &before));
    eventually("the sweep is under way", async || (settled(&before) > 50).then_some(())).await;
    drop(worker); // lest the sweep ends before the backup is taken

    let taken = back_up(&cluster, 0).await.backup.unwrap();

    assert_eq!(taken.cluster_id, "blue");
    let worker = FakeWorker::start(script(&cluster, "w2", &before));
    eventually("more is settled, which the backup does not know", async || {
        (settled(&before) > 200 || settled(&before) == SEGMENTS as usize).then_some(())
    })
    .await;
    drop(worker);
    for index in [0, 1] {
        cluster.kill(index);
    }

    let refused = cluster.node(2).restore(restore(place(&cluster), "blue")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let role = cluster.node(2).restore(restore(place(&cluster), "green")).await.unwrap().into_inner();
    assert_eq!((role.cluster_id.as_str(), role.restored.unwrap().url), ("green", taken.url));
    assert!(role.node_id > 2, "node {} may have been of the old cluster", role.node_id);
    let status = eventually("it leads", async || cluster.status(2).await.filter(|status| status.ready)).await;
    assert_eq!((status.leader_id, status.members.len()), (role.node_id, 1));
    assert_eq!((status.sessions, status.leased_segments), (0, 0), "nothing of the old cluster is under way");
    assert!(status.applied_index > 1 << 32, "leases and sessions have ids that the old cluster cannot have given");
    let again = cluster.node(2).restore(restore(place(&cluster), "green")).await.unwrap().into_inner();
    assert_eq!(again.node_id, role.node_id);

    let hunts = cluster.hunts().await;
    let (done, pending) = (hunts[0].outcomes.unwrap(), hunts[0].pending_files);
    assert_eq!(done.matched + done.timed_out + done.clean + pending, u64::from(SEGMENTS) * 10);
    assert!(pending > 0 && done.matched > 0);
    let third = cluster.add(3).await;
    assert!(third > role.node_id);
    let after: Arc<Mutex<Account>> = Arc::default();
    let _worker = FakeWorker::start(script(&cluster, "w", &after));
    check_complete(&cluster, &after, 1).await;
    assert!(settled(&after) < SEGMENTS as usize, "what was done before the backup is not done again");

    // The restored cluster survives a restart like any other.
    for index in [2, 3] {
        cluster.kill(index);
    }
    for index in [2, 3] {
        cluster.spawn_awaiting(index).await;
    }
    eventually("somebody leads", async || cluster.leader().await).await;
    assert_eq!(cluster.hunts().await[0].pending_files, 0);

    // A member of the old cluster does not meddle.
    cluster.spawn_awaiting(0).await;
    let old = cluster.told(0).await;
    assert_eq!((old.cluster_id.as_str(), old.ready), ("blue", false));
    let request = v1::JoinRequest { addresses: cluster.addresses(), cluster_id: "green".to_owned() };
    assert_eq!(cluster.node(0).join(request).await.unwrap_err().code(), Code::AlreadyExists);
}

#[tokio::test]
async fn backups_are_whole_listed_and_kept_by_number() {
    let cluster = Cluster::awaiting(2, &[]).await;
    cluster.found(0, "blue").await;
    assert_eq!(list(&cluster, 1).await, [], "a node that awaits its role can look as well");
    cluster.put_corpus("a").await;
    let first = back_up(&cluster, 2).await;
    let again = back_up(&cluster, 2).await;
    assert_eq!(first, again, "nothing happened in between, so nothing is written");
    let state = cluster.told(0).await.last_backup.unwrap();
    assert_eq!((state.backup, state.error.as_str()), (first.backup.clone(), ""));

    let foreign = cluster.dir.path().join("backups/20200101T000000Z-green-7.backup");
    fs::write(&foreign, "of somebody else").unwrap();
    cluster.put_corpus("b").await;
    let second = back_up(&cluster, 2).await;
    assert_eq!(second.removed, [] as [String; 0]);
    cluster.put_corpus("c").await;
    let third = back_up(&cluster, 2).await;

    assert_eq!(third.removed, [first.backup.unwrap().url]);
    let listed = list(&cluster, 1).await;
    assert_eq!(listed[..2], [third.backup.clone().unwrap(), second.backup.clone().unwrap()]);
    assert_eq!((listed.len(), listed[2].cluster_id.as_str()), (3, "green"), "others' backups are left alone");

    let newest = third.backup.unwrap().url;
    let path = newest.strip_prefix("file://").unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, &bytes).unwrap();
    let refused = cluster.node(1).restore(restore(place(&cluster), "new")).await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss, "{refused:?}");
    assert!(refused.message().contains("checksum differs"), "{refused:?}");
    assert_eq!(cluster.told(1).await.role(), v1::MemberRole::Awaiting, "it may be told another");
    let missing = restore(format!("{}/20200101T000000Z-blue-1.backup", place(&cluster)), "new");
    assert_eq!(cluster.node(1).restore(missing).await.unwrap_err().code(), Code::NotFound);
    let delete = v1::DeleteBackupRequest { url: newest };
    for _ in 0..2 {
        cluster.node(1).delete_backup(delete.clone()).await.unwrap();
    }
    let request = v1::RestoreRequest { from_cluster_id: "blue".to_owned(), ..restore(place(&cluster), "new") };
    let role = cluster.node(1).restore(request).await.unwrap().into_inner();
    assert_eq!(role.restored, second.backup);
    eventually("it leads", async || cluster.status(1).await.filter(|status| status.ready)).await;
}

#[tokio::test]
async fn the_leader_backs_up_by_itself_and_says_when_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/kept", dir.path().display());
    let flags = ["--backup-url", &url, "--backup-interval-s", "1", "--backup-keep", "2"];
    let cluster = Cluster::start_with(3, &flags).await;
    let mut seen = 0;
    for number in 0..3 {
        cluster.put_corpus(&format!("corpus-{number}")).await;
        let leader = cluster.wait_for_leader().await;
        let index = cluster.told(leader).await.applied_index;
        eventually("a backup holds it", async || {
            let listed = cluster.node(leader).list_backups(v1::ListBackupsRequest::default()).await.ok()?;
            let backups = listed.into_inner().backups;
            seen = seen.max(backups.len());
            backups.first().filter(|newest| newest.index >= index).map(drop)
        })
        .await;
    }
    assert!(seen <= 3, "two are kept, and a third is there for the moment before the oldest goes: {seen}");

    // A file where the folder should be: not even root writes there.
    eventually("a file is in the way", async || {
        drop(fs::remove_dir_all(dir.path().join("kept"))); // which a backup may make again at once
        fs::write(dir.path().join("kept"), "in the way").ok()
    })
    .await;
    cluster.put_corpus("one-more").await;
    eventually("the failure is told", async || {
        let status = cluster.status(cluster.leader().await?).await?;
        status.last_backup.filter(|last| !last.error.is_empty())
    })
    .await;
    eventually("the leader has counted a failure", async || {
        let (_, metrics) = cluster.get(cluster.leader().await?, "/metrics").await?;
        let failed = metrics.lines().find_map(|line| line.split_once("backups_total{outcome=\"failed\"} "))?;
        (failed.1 != "0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_cluster_can_be_restored_by_a_flag() {
    let mut cluster = Cluster::awaiting(1, &[]).await;
    cluster.found(0, "blue").await;
    cluster.put_corpus("kept").await;
    back_up(&cluster, 0).await;
    cluster.kill(0);
    fs::remove_dir_all(cluster.member_dir(0)).unwrap();

    cluster.spawn(0, &["--restore", &place(&cluster)]);

    let status = eventually("it leads", async || cluster.status(0).await.filter(|status| status.ready)).await;
    assert_ne!(status.cluster_id, "blue");
    assert_eq!(cluster.corpora().await.len(), 1);
    let refused = cluster.node(0).backup(v1::BackupRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert!(refused.message().contains("--backup-url"), "{refused:?}");
}

/// A real S3 server over a folder. Ends with this.
struct S3 {
    process: Child,
    folder: TempDir,
    endpoint: String,
}

impl S3 {
    /// One with the bucket `backups`, or nothing where there is no such server, after saying so.
    async fn start_or_skip(test: &str) -> Option<Self> {
        let program = match Place::find().and_then(|place| place.s3_server()) {
            Ok(program) => program,
            Err(reason) => {
                assert!(!must_not_skip(), "{test} cannot run: {reason:#}");
                eprintln!("skipped: {test}: {reason:#}");
                return None;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("backups")).unwrap();
        let address = free_addresses(1).remove(0);
        let mut command = Command::new(program);
        command.args(["--port", &address, "--access", "keeper", "--secret", "kept-secret", "posix"]);
        let process = command.arg(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let s3 = Self { process, folder, endpoint: format!("http://{address}") };
        eventually("the S3 server listens", async || tokio::net::TcpStream::connect(&address).await.ok()).await;
        Some(s3)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[tokio::test]
async fn backups_are_reached_with_credentials_of_their_own() {
    let Some(s3) = S3::start_or_skip("backups_are_reached_with_credentials_of_their_own").await else { return };
    let flags = ["--backup-url", "s3://backups/of/all", "--backup-interval-s", "1"];
    let mut cluster = Cluster::not_started(1, &flags);
    let own = |name: &str, value: &str| (format!("DRAGNET_BACKUP_STORAGE_{name}"), value.to_owned());
    let child = cluster
        .command(0)
        .arg("--bootstrap")
        .envs([("AWS_ENDPOINT", "https://127.0.0.1:1"), ("AWS_REGION", "nowhere"), ("AWS_SESSION_TOKEN", "of others")])
        .envs([("AWS_ACCESS_KEY_ID", "other"), ("AWS_SECRET_ACCESS_KEY", "wrong")])
        .envs([own("AWS_ENDPOINT", &s3.endpoint), own("AWS_ALLOW_HTTP", "true"), own("AWS_REGION", "us-east-1")])
        .envs([own("AWS_ACCESS_KEY_ID", "keeper"), own("AWS_SECRET_ACCESS_KEY", "kept-secret")])
        .spawn()
        .unwrap();
    cluster.adopt(0, child);

    let backup = eventually("a backup is listed", async || {
        let listed = cluster.node(0).list_backups(v1::ListBackupsRequest::default()).await.ok()?;
        listed.into_inner().backups.into_iter().next()
    })
    .await;

    let name = backup.url.strip_prefix("s3://backups/of/all/").unwrap();
    assert!(s3.folder.path().join("backups/of/all").join(name).is_file(), "{backup:?}");
}
