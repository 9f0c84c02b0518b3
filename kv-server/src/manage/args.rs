//! The flags about versions, the same for a manager inside the server and beside it.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{
    Pause, Pauses,
    decide::{Policy, SwitchMode},
    keeper::Config,
};
use crate::{
    catalog::Wanted,
    units::{parse_bytes, parse_duration},
};

/// For `#[command(flatten)]`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Versions")]
pub struct VersionArgs {
    /// When a version that is ready is served
    #[arg(long, value_enum, default_value = "auto", env = "DRAGNET_KV_SWITCH")]
    pub switch: Switch,

    /// How many versions stay on the disk besides the served one; the one before it always does
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub keep: usize,

    /// How often object storage is asked what is announced
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub poll: Duration,

    /// Bytes a second of all downloads of a dataset, such as 64MiB
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub download_rate: Option<u64>,

    /// How long object storage may take to answer; it is asked for at most 4 MiB at a time
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub storage_timeout: Duration,

    /// Room that downloads leave on the disk
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = parse_bytes)]
    pub disk_reserve: u64,

    /// How long a version that failed verification is left alone, doubled with each further failure up to an hour
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    pub retry_failed: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// At once
    Auto,
    /// When told by POST /datasets/{name}/switch
    WhenTold,
}

impl VersionArgs {
    pub fn to_config(&self, wanted: Wanted) -> Config {
        let Self { switch, keep, poll, download_rate, storage_timeout, disk_reserve, retry_failed } = self.clone();
        let switch = match switch {
            Switch::Auto => SwitchMode::Auto,
            Switch::WhenTold => SwitchMode::WhenTold,
        };
        let pauses = Pauses::default();
        let other = Pause { first: retry_failed, longest: pauses.other.longest.max(retry_failed) };
        Config {
            policy: Policy { switch, keep },
            poll,
            wanted,
            download_rate,
            storage_timeout,
            reserve: disk_reserve,
            pauses: Pauses { other, ..pauses },
        }
    }
}
