//! The command line as users write it. Each command's own arguments stand beside the command.

use clap::{Parser, Subcommand};
use types::Tenant;

use crate::{
    commands::{cluster, completions, corpus, dataset, findings, hunt, receipt, rules},
    parse, up,
};

const LONG_ABOUT: &str = "\
Dragnet hunts with YARA rules in large, growing sets of files. You say once what to look for (rulesets) and \
where (corpora); each file gets an answer under each ruleset, files that arrive later as well, and a receipt \
proves that none was left out.";

const GETTING_STARTED: &str = "\
Getting started:
  dragnet up --demo                      a guided tour of this machine; ends by itself
  dragnet up                             a cluster on this machine; then, in another terminal:
  dragnet corpus add programs /usr/bin   where to look
  dragnet rules push my-rules/           what to look for
  dragnet hunt watch --until-caught-up   watch it run
  dragnet findings                       what was found, and where
  dragnet receipt                        what became of every file: the sum adds up

For programs: --json prints one JSON object per line. Exit codes: 0 done, 1 failed, 2 and 64 wrong usage.";

#[derive(Debug, Parser)]
#[command(name = "dragnet", version = telemetry::build_info(), about = "Hunts with YARA rules in large, growing sets of files")]
#[command(long_about = LONG_ABOUT, after_help = GETTING_STARTED, max_term_width = 110)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Args)]
pub struct Global {
    /// Members of the cluster to ask; one that answers is enough
    #[arg(long, global = true, env = "DRAGNET_CLUSTER", value_name = "HOST:PORT,..", value_delimiter = ',')]
    #[arg(default_value = up::DEFAULT_CLUSTER, value_parser = parse::address, help_heading = "Global options")]
    pub cluster: Vec<String>,

    /// Who owns the corpora and rulesets
    #[arg(long, global = true, env = "DRAGNET_TENANT", value_name = "NAME", default_value = "default")]
    #[arg(help_heading = "Global options")]
    pub tenant: Tenant,

    /// Print one JSON object per line instead of tables
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole cluster on this machine, in the foreground
    Up(Box<up::Args>),
    /// Say where the files are
    #[command(subcommand)]
    Corpus(corpus::Command),
    /// Check, push and manage rulesets
    #[command(subcommand)]
    Rules(rules::Command),
    /// See how far hunts are
    #[command(subcommand)]
    Hunt(hunt::Command),
    /// Show what was found: rule, file, offset, bytes
    Findings(findings::Args),
    /// Show what became of every file, as a sum that adds up
    Receipt(receipt::Args),
    /// Show members, leader, log and backlog of the cluster
    #[command(after_help = "\
Asks every member by itself, so it works while some are down, and says which.

Examples:
  dragnet status
  dragnet status --cluster 127.0.0.1:7602
  dragnet status --json | jq -r .member.address")]
    Status,
    /// Add and remove members, hand leadership over, back up and restore
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Build versions of keys and values for lookups, and say which one is served
    #[command(subcommand)]
    Dataset(dataset::Command),
    /// Print completions for a shell
    Completions(completions::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        fn visit(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let path = format!("{path} {}", sub.get_name());
                assert!(!sub.is_hide_set(), "{path} is hidden");
                assert!(sub.get_about().is_some(), "{path} says nothing about itself");
                if sub.get_subcommands().next().is_none() {
                    let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(help.contains("dragnet"), "{path} has no example");
                }
                visit(sub, &path);
            }
        }
        visit(&Args::command(), "dragnet");
    }

    #[test]
    fn global_flags_may_follow_the_command() {
        let args = Args::parse_from(["dragnet", "status", "--json", "--cluster", "a:1,b:2"]);
        assert!(args.global.json);
        assert_eq!(args.global.cluster, ["a:1", "b:2"]);
    }
}
