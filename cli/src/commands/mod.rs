//! One file per command.

pub mod cluster;
pub mod completions;
pub mod corpus;
pub mod dataset;
pub mod findings;
pub mod hunt;
mod known;
pub mod receipt;
pub mod rules;
mod skipped;
mod status;

use anyhow::Result;

use crate::{
    args::{Args, Command, Global},
    client::Cluster,
    demo,
    render::Out,
    up,
};

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    pub cluster: Cluster,
    pub out: Out,
}

pub async fn run(args: Args) -> Result<()> {
    let Args { global: Global { cluster, tenant, json }, command } = args;
    let mut ctx = Context { cluster: Cluster::new(cluster, tenant), out: Out::new(json) };
    // Boxed: the futures of some commands are large, and only one of them runs.
    let result = match command {
        Command::Up(args) if args.demo => Box::pin(demo::run(*args, &mut ctx.out)).await,
        Command::Up(args) => Box::pin(up::run(*args, &mut ctx.out)).await,
        Command::Corpus(command) => Box::pin(corpus::run(command, &mut ctx)).await,
        Command::Rules(command) => Box::pin(rules::run(command, &mut ctx)).await,
        Command::Hunt(command) => Box::pin(hunt::run(command, &mut ctx)).await,
        Command::Findings(args) => Box::pin(findings::run(args, &mut ctx)).await,
        Command::Receipt(args) => Box::pin(receipt::run(args, &mut ctx)).await,
        Command::Status => Box::pin(status::run(&mut ctx)).await,
        Command::Cluster(command) => Box::pin(cluster::run(command, &mut ctx)).await,
        Command::Dataset(command) => Box::pin(dataset::run(command, &mut ctx)).await,
        Command::Completions(args) => completions::run(&args, &mut ctx.out),
    };
    // What was written before a failure is part of the answer.
    let flushed = ctx.out.flush();
    result.and(flushed)
}
