//! Where a dataset is served, as people write it.

use std::{path::PathBuf, str::FromStr, time::Duration};

use types::{Name, NameError};

/// `NAME=redis://HOST:PORT[,HOST:PORT..][/DB][?OPTION=VALUE&..]`, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// What corpora call it, and what the server is asked the version of.
    pub name: Name,
    /// `HOST:PORT`, at least one. Of a cluster any nodes, as they name the others.
    pub servers: Vec<String>,
    /// Database number; 0 in a cluster.
    pub database: u32,
    /// Comes before each key.
    pub prefix: String,
    /// The servers speak the Redis Cluster protocol.
    pub cluster: bool,
    /// Time for one batch of keys, connecting included; none: the default.
    pub deadline: Option<Duration>,
    /// User of the server's access list.
    pub user: Option<String>,
    /// Holds the password and perhaps a newline.
    pub password_file: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{text:?} is not of the form NAME=redis://HOST:PORT[,HOST:PORT][/DB][?prefix=P&cluster=true]")]
    Form { text: String },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{address:?} is no address of the form HOST:PORT")]
    Address { address: String },
    #[error("{text:?} is no database number")]
    Database { text: String },
    #[error(
        "there is no option {name:?}; there are cluster=true, prefix=TEXT, deadline_ms=NUMBER, user=NAME and \
         password_file=PATH"
    )]
    Option { name: String },
    #[error("{value:?} is no value of the option {name}")]
    Value { name: &'static str, value: String },
    #[error("a cluster has database 0 only")]
    ClusterDatabase,
    #[error("several servers that are no cluster would need a choice between them; say cluster=true, or name one")]
    SeveralServers,
    #[error(
        "command lines are no place for passwords, as everybody on the machine can read them: use password_file=PATH"
    )]
    Password,
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let form = || SourceError::Form { text: text.chars().take(200).collect() };
        let (name, url) = text.split_once('=').ok_or_else(form)?;
        let rest = url.strip_prefix("redis://").ok_or_else(form)?;
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (servers, database) = place.split_once('/').unwrap_or((place, ""));
        if servers.contains('@') {
            return Err(SourceError::Password);
        }
        let database = match database {
            "" => 0,
            text => text.parse().map_err(|_| SourceError::Database { text: text.to_owned() })?,
        };
        let mut source = Self {
            name: name.trim().parse()?,
            servers: servers.split(',').map(address).collect::<Result<_, _>>()?,
            database,
            prefix: String::new(),
            cluster: false,
            deadline: None,
            user: None,
            password_file: None,
        };
        options.split('&').filter(|option| !option.is_empty()).try_for_each(|option| source.set(option))?;
        match source {
            Source { cluster: true, database: 1.., .. } => Err(SourceError::ClusterDatabase),
            Source { cluster: false, ref servers, .. } if servers.len() > 1 => Err(SourceError::SeveralServers),
            source => Ok(source),
        }
    }
}

impl Source {
    fn set(&mut self, option: &str) -> Result<(), SourceError> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let wrong = |name| SourceError::Value { name, value: value.to_owned() };
        match name {
            "cluster" => self.cluster = value.parse().map_err(|_| wrong("cluster"))?,
            "prefix" => value.clone_into(&mut self.prefix),
            "deadline_ms" => {
                let ms =
                    value.parse().ok().filter(|ms| (1..=60_000).contains(ms)).ok_or_else(|| wrong("deadline_ms"))?;
                self.deadline = Some(Duration::from_millis(ms));
            }
            "user" => self.user = Some(value.to_owned()),
            "password_file" if value.is_empty() => return Err(wrong("password_file")),
            "password_file" => self.password_file = Some(value.into()),
            _ => return Err(SourceError::Option { name: name.to_owned() }),
        }
        Ok(())
    }
}

fn address(text: &str) -> Result<String, SourceError> {
    let valid = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
    match text.rsplit_once(':').is_some_and(valid) {
        true => Ok(text.to_owned()),
        false => Err(SourceError::Address { address: text.chars().take(80).collect() }),
    }
}
