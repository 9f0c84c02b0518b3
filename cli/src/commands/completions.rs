//! `dragnet completions`.

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::render::Out;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(dragnet completions bash)                                        this shell only
  dragnet completions zsh > ~/.zfunc/_dragnet                               zsh, with ~/.zfunc in fpath
  dragnet completions fish > ~/.config/fish/completions/dragnet.fish        fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::args::Args::command(), "dragnet", &mut script);
    out.raw(&script)
}
