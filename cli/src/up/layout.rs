//! The folder of a cluster on this machine.
//!
//! ```text
//! D/lock                      held by the `up` that runs, with its process id
//! D/up.json                   ports, number of members, whether the cluster was ever created
//! D/objects/                  object storage
//! D/orchestrator-1..N/        log and snapshots of the members
//! D/kv-server-1..N/           versions of datasets, as the key-value servers fetched them
//! D/topology.json             which of those servers has which keys
//! D/logs/NAME.log             what the processes say
//! ```

use std::{
    fs::{self, File, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::report::Usage;

/// Both ends of the range are sensible places; five members on one machine prove nothing more.
pub const MEMBERS: [u16; 2] = [1, 3];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

/// What `up.json` holds. Members know each other by address, so ports are decided once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub format: u32,
    /// Of the first member; the others follow it.
    pub port: u16,
    pub orchestrators: u16,
    /// The cluster was created: from now on a member without data joins, and never creates another one.
    pub bootstrapped: bool,
    /// Datasets that are served here, by URL.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// How many servers share each dataset's keys; 0: one.
    #[serde(default)]
    pub kv_servers: u16,
    /// Datasets served elsewhere, as `NAME=redis://..`.
    #[serde(default)]
    pub kv: Vec<String>,
}

impl Settings {
    pub const FORMAT: u32 = 1;

    /// What was said on the command line against what was decided when the folder was new.
    pub fn merge(stored: Option<Self>, port: Option<u16>, orchestrators: Option<u16>) -> Result<Self> {
        let Some(stored) = stored else {
            let fresh = (port.unwrap_or(super::DEFAULT_PORT), orchestrators.unwrap_or(3));
            return Ok(Self {
                format: Self::FORMAT,
                port: fresh.0,
                orchestrators: fresh.1,
                bootstrapped: false,
                datasets: Vec::new(),
                kv_servers: 0,
                kv: Vec::new(),
            });
        };
        if stored.format != Self::FORMAT {
            bail!("this folder was written by another version of dragnet (format {})", stored.format);
        }
        if !stored.bootstrapped {
            // Nothing was created yet, so nothing is bound to the old values.
            let (port, orchestrators) = (port.unwrap_or(stored.port), orchestrators.unwrap_or(stored.orchestrators));
            return Ok(Self { port, orchestrators, ..stored });
        }
        if port.is_some_and(|port| port != stored.port) {
            let port = stored.port;
            return Err(Usage(format!(
                "the cluster in this folder uses port {port} and its members know each other by it; leave out --port, \
                 or start a second cluster in another folder with --dir"
            ))
            .into());
        }
        match orchestrators {
            Some(fewer) if fewer < stored.orchestrators => Err(Usage(format!(
                "the cluster in this folder has {} orchestrators, fewer would have no majority; leave out \
                 --orchestrators, or start another cluster with --dir",
                stored.orchestrators
            ))
            .into()),
            Some(orchestrators) => Ok(Self { orchestrators, ..stored }),
            None => Ok(stored),
        }
    }

    /// What was said about datasets takes the place of what was said before; what was not said stays.
    #[must_use]
    pub fn with_datasets(self, datasets: Vec<String>, kv: Vec<String>, kv_servers: Option<u16>, none: bool) -> Self {
        if none {
            return Self { datasets: Vec::new(), kv: Vec::new(), ..self };
        }
        let or = |said: Vec<String>, before| if said.is_empty() { before } else { said };
        Self {
            datasets: or(datasets, self.datasets),
            kv: or(kv, self.kv),
            kv_servers: kv_servers.unwrap_or(self.kv_servers),
            ..self
        }
    }

    /// `HOST:PORT` of each member.
    pub fn addresses(&self) -> Vec<String> {
        (0..self.orchestrators).map(|member| format!("127.0.0.1:{}", self.port + member)).collect()
    }
}

/// Held while `up` runs; the kernel lets go when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Layout {
    /// Creates the folder if it is missing.
    pub fn create(root: &Path) -> Result<Self> {
        let failed = || format!("failed to create {}", root.display());
        fs::create_dir_all(root).with_context(failed)?;
        Ok(Self { root: fs::canonicalize(root).with_context(failed)? })
    }

    /// `$XDG_DATA_HOME/dragnet`, else `~/.local/share/dragnet`.
    pub fn default_root() -> Result<PathBuf> {
        base("XDG_DATA_HOME", ".local/share")
    }

    /// `$XDG_CACHE_HOME/dragnet/demo`, else `~/.cache/dragnet/demo`.
    pub fn demo_root() -> Result<PathBuf> {
        Ok(base("XDG_CACHE_HOME", ".cache")?.join("demo"))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub fn storage_url(&self) -> Result<String> {
        let url = Url::from_file_path(self.objects()).ok().context("the folder's path cannot be written as a URL")?;
        Ok(url.into())
    }

    /// Members count from 1.
    pub fn orchestrator(&self, member: u16) -> PathBuf {
        self.root.join(format!("orchestrator-{member}"))
    }

    /// Servers count from 1.
    pub fn kv_server(&self, server: u16) -> PathBuf {
        self.root.join(super::kv::server_name(server))
    }

    pub fn topology(&self) -> PathBuf {
        self.root.join("topology.json")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub fn log(&self, process: &str) -> PathBuf {
        self.logs().join(format!("{process}.log"))
    }

    /// Takes the folder for this process. Refused while another `up` runs in it, with its process id.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.root.join("lock");
        let failed = || format!("failed to open {}", path.display());
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).with_context(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message; a holder that has not written its id yet stays unnamed.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let pid = if holder.is_empty() { String::new() } else { format!(" with process id {holder}") };
                bail!(
                    "another `dragnet up`{pid} already runs in {}; stop it first, or give this one its own folder and \
                     ports: --dir OTHER --port 7701",
                    self.root.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("failed to lock {}", path.display()));
            }
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.with_context(|| format!("failed to write {}", path.display()))?;
        Ok(Lock { _file: file })
    }

    /// `None` in a folder that is new.
    pub fn settings(&self) -> Result<Option<Settings>> {
        let path = self.settings_path();
        match fs::read(&path) {
            Ok(text) => {
                let settings = serde_json::from_slice(&text);
                settings.map(Some).with_context(|| format!("{} is damaged", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }

    /// Writes the settings whole or not at all.
    pub fn save(&self, settings: &Settings) -> Result<()> {
        let path = self.settings_path();
        let failed = || format!("failed to write {}", path.display());
        let text = serde_json::to_string_pretty(settings).with_context(failed)?;
        let next = self.root.join("up.json.next");
        let mut file = File::create(&next).with_context(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(failed)?;
        fs::rename(&next, &path).with_context(failed)
    }

    fn settings_path(&self) -> PathBuf {
        self.root.join("up.json")
    }

    pub fn create_folders(&self) -> Result<()> {
        for folder in [self.objects(), self.logs()] {
            fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        }
        Ok(())
    }

    /// Removes all but the lock, which must be held.
    pub fn clear(&self, _lock: &Lock) -> Result<()> {
        let failed = || format!("failed to empty {}", self.root.display());
        for entry in fs::read_dir(&self.root).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            let kind = entry.file_type().with_context(failed)?;
            match entry.file_name() == "lock" {
                true => continue,
                false if kind.is_dir() => fs::remove_dir_all(entry.path()).with_context(failed)?,
                false => fs::remove_file(entry.path()).with_context(failed)?,
            }
        }
        Ok(())
    }
}

fn base(variable: &str, below_home: &str) -> Result<PathBuf> {
    let base = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(std::env::home_dir()?.join(below_home)));
    Ok(base.context("no home folder is known; say where to keep the data with --dir")?.join("dragnet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bootstrapped: bool) -> Option<Settings> {
        let (datasets, kv) = (vec!["file:///data/packages".to_owned()], Vec::new());
        Some(Settings { format: 1, port: 7701, orchestrators: 3, bootstrapped, datasets, kv_servers: 2, kv })
    }

    #[test]
    fn ports_are_decided_when_the_folder_is_new() {
        let fresh = Settings::merge(None, Some(7701), Some(1)).unwrap();
        assert_eq!((fresh.port, fresh.orchestrators, fresh.bootstrapped), (7701, 1, false));
        assert_eq!(fresh.addresses(), ["127.0.0.1:7701"]);

        let later = Settings::merge(stored(true), None, None).unwrap();
        assert_eq!(later.addresses(), ["127.0.0.1:7701", "127.0.0.1:7702", "127.0.0.1:7703"]);
        let refused = Settings::merge(stored(true), Some(7601), None).unwrap_err();
        assert!(refused.is::<Usage>() && refused.to_string().contains("--dir"));
    }

    #[test]
    fn datasets_stay_until_others_are_named_or_none_are_wanted() {
        let again = |datasets: &[&str], servers, none| {
            let datasets = datasets.iter().map(ToString::to_string).collect();
            let settings = stored(true).unwrap().with_datasets(datasets, Vec::new(), servers, none);
            (settings.datasets, settings.kv_servers)
        };
        assert_eq!(again(&[], None, false), (vec!["file:///data/packages".to_owned()], 2));
        assert_eq!(again(&["file:///a"], Some(1), false), (vec!["file:///a".to_owned()], 1));
        assert_eq!(again(&[], None, true), (Vec::new(), 2));
    }

    #[test]
    fn settings_from_before_there_were_datasets_open() {
        let before = r#"{"format":1,"port":7601,"orchestrators":3,"bootstrapped":true}"#;
        let settings: Settings = serde_json::from_str(before).unwrap();
        assert_eq!((settings.datasets, settings.kv_servers, settings.kv), (Vec::new(), 0, Vec::new()));
    }

    #[test]
    fn a_start_that_never_succeeded_binds_nobody() {
        let again = Settings::merge(stored(false), Some(7801), Some(1)).unwrap();
        assert_eq!((again.port, again.orchestrators), (7801, 1));
    }

    #[test]
    fn a_cluster_may_grow_and_not_shrink() {
        let one = Some(Settings { orchestrators: 1, ..stored(true).unwrap() });
        assert_eq!(Settings::merge(one, None, Some(3)).unwrap().orchestrators, 3);
        assert!(Settings::merge(stored(true), None, Some(1)).unwrap_err().to_string().contains("majority"));
    }

    #[test]
    fn the_second_to_lock_learns_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let lock = layout.lock().unwrap();
        let refused = layout.lock().unwrap_err().to_string();
        assert!(refused.contains(&format!("process id {}", std::process::id())), "{refused}");
        drop(lock);
        layout.lock().unwrap();
    }

    #[test]
    fn settings_survive_and_clearing_leaves_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let lock = layout.lock().unwrap();
        assert_eq!(layout.settings().unwrap(), None);
        layout.save(&stored(true).unwrap()).unwrap();
        assert_eq!(layout.settings().unwrap(), stored(true));
        layout.create_folders().unwrap();
        layout.clear(&lock).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }
}
