//! openraft's own suite over our log and state machine.

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use orchestrator::raft::{TypeConfig, log_store::LogStore, machine::Machine, snapshot::SnapshotFolder};
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = LogStore::open(&dir.path().join("log")).expect("an empty log opens");
        let folder = SnapshotFolder::open(dir.path().join("snapshots")).expect("an empty folder opens");
        let machine = Machine::open(folder).expect("an empty machine opens");
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn the_log_and_the_state_machine_keep_every_promise_that_openraft_builds_on() {
    Suite::<TypeConfig, LogStore, Machine, Builder, TempDir>::test_all(Builder).await.unwrap();
}
