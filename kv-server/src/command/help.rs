//! HELP of the commands that have subcommands: which ones, and how many arguments each takes.

use resp::Request;

use super::{Flow, by_name, executor::Context};

pub(super) fn help(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let Some(container) = by_name(request.name()) else { return context.syntax_error() };
    let name = container.name.to_uppercase();
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for subcommand in container.subcommands {
        let arguments = usize::from(subcommand.arity.unsigned_abs()).saturating_sub(2);
        let more = if subcommand.arity < 0 { " [...]" } else { "" };
        lines.push(subcommand.short_name().to_uppercase() + &" <arg>".repeat(arguments) + more);
    }
    let mut reply = context.reply();
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.simple(line));
    Flow::Done
}
