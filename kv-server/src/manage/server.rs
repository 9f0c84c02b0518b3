//! The server that a manager acts on: its own process, or another one on this machine.

use std::sync::Arc;

use dataset::VersionId;

use super::{
    beside::Remote,
    decide::Observed,
    desk::{Desk, Instruction},
    error::Error,
    status::Report,
};

#[derive(Clone)]
pub(crate) enum Server {
    Inside(Arc<Desk>),
    Beside(Remote),
}

impl Server {
    pub(crate) async fn observed(&self) -> Result<Observed, Error> {
        match self {
            Self::Inside(desk) => Ok(desk.observed()),
            Self::Beside(remote) => Ok(remote.status().await?.observed),
        }
    }

    pub(crate) async fn open(&self, version: VersionId, warm: bool) -> Result<(), Error> {
        match self {
            Self::Inside(desk) => Ok(desk.open(version, warm).await?),
            Self::Beside(remote) => remote.instruct(&Instruction::Open { version, warm }).await,
        }
    }

    pub(crate) async fn switch(&self, version: VersionId) -> Result<(), Error> {
        match self {
            Self::Inside(desk) => Ok(desk.switch(version)?),
            Self::Beside(remote) => remote.instruct(&Instruction::Switch { version }).await,
        }
    }

    pub(crate) async fn close(&self, version: VersionId) -> Result<(), Error> {
        match self {
            Self::Inside(desk) => {
                desk.close(version);
                Ok(())
            }
            Self::Beside(remote) => remote.instruct(&Instruction::Close { version }).await,
        }
    }

    pub(crate) async fn report(&self, report: Report) -> Result<(), Error> {
        match self {
            Self::Inside(desk) => {
                desk.report(report);
                Ok(())
            }
            Self::Beside(remote) => remote.instruct(&Instruction::Report { report: Box::new(report) }).await,
        }
    }

    /// Ends when somebody ordered something. A manager beside the server sees orders when it looks next.
    pub(crate) async fn rung(&self) {
        match self {
            Self::Inside(desk) => desk.rung().await,
            Self::Beside(_) => std::future::pending().await,
        }
    }
}
