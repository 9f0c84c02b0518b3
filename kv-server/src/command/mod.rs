//! Commands: looked up, checked against the table, then carried out. One file per family.
//!
//! ```text
//! Request ─► table: known? arguments? password? ─► refused (all that changes data) ─► slot on this node? ─► run
//! ```

mod ahead;
mod client;
mod cluster;
mod config;
mod connection;
mod data;
mod docs;
mod executor;
mod hello;
mod help;
mod info;
mod introspection;
mod keyspace;
mod kv;
mod read;
mod session;
mod table;
mod tracking;
mod transaction;

use std::sync::LazyLock;

use resp::Request;

pub use executor::{CoarseClock, Executor, Outcome, Stop};
pub use session::{ReplyMode, Session, Tracking};

use executor::Context;

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The reply is written.
    Done,
    /// Nothing was written: run it again where waiting for the disk is allowed.
    NeedsDisk,
    /// The reply is written, and the connection ends.
    Close,
    /// The reply would be larger than a connection may have waiting.
    TooMuchOutput,
}

/// Where a command's keys are among its arguments: first, last (negative: from the end), and every how many. (0, 0, 0): none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys(i8, i8, i8);

#[derive(Clone, Copy)]
enum Run {
    Do(fn(&mut Context<'_>, Request<'_>) -> Flow),
    /// It changes data, or the server.
    Refuse,
    /// Its subcommands do.
    Container,
}

/// One line of the table. Lists are words separated by blanks, as clients are told them.
pub(crate) struct Command {
    /// In lower case; a subcommand is `container|name`.
    name: &'static str,
    arity: i8,
    flags: &'static str,
    keys: Keys,
    categories: &'static str,
    tips: &'static str,
    key_flags: &'static str,
    subcommands: &'static [Command],
    run: Run,
    no_auth: bool,
}

impl Command {
    const fn new(
        name: &'static str,
        arity: i8,
        flags: &'static str,
        keys: Keys,
        categories: &'static str,
        run: Run,
    ) -> Self {
        Self { name, arity, flags, keys, categories, tips: "", key_flags: "", subcommands: &[], run, no_auth: false }
    }

    const fn served(
        name: &'static str,
        arity: i8,
        flags: &'static str,
        keys: Keys,
        categories: &'static str,
        run: fn(&mut Context<'_>, Request<'_>) -> Flow,
    ) -> Self {
        Self::new(name, arity, flags, keys, categories, Run::Do(run))
    }

    const fn refused(name: &'static str, arity: i8, flags: &'static str, keys: Keys, categories: &'static str) -> Self {
        Self::new(name, arity, flags, keys, categories, Run::Refuse)
    }

    const fn container(
        name: &'static str,
        arity: i8,
        flags: &'static str,
        keys: Keys,
        categories: &'static str,
        subcommands: &'static [Command],
    ) -> Self {
        Self { subcommands, ..Self::new(name, arity, flags, keys, categories, Run::Container) }
    }

    const fn tips(self, tips: &'static str) -> Self {
        Self { tips, ..self }
    }

    const fn key_flags(self, key_flags: &'static str) -> Self {
        Self { key_flags, ..self }
    }

    const fn with(self, subcommands: &'static [Command]) -> Self {
        Self { subcommands, ..self }
    }

    /// For who has not said a password.
    const fn before_password(self) -> Self {
        Self { no_auth: true, ..self }
    }

    /// Its name without that of its container.
    fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, name)| name)
    }

    fn accepts(&self, arguments: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity >= 0 { arguments == wanted } else { arguments >= wanted }
    }

    fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands.iter().find(|command| name.eq_ignore_ascii_case(command.short_name().as_bytes()))
    }
}

impl Keys {
    pub(crate) const fn are_none(self) -> bool {
        self.0 == 0
    }

    /// The keys among the arguments.
    pub(crate) fn of<'a>(self, request: Request<'a>) -> impl Iterator<Item = &'a [u8]> + Clone {
        let Self(first, last, step) = self;
        let length = request.len();
        let last = match last {
            0.. => usize::from(last.unsigned_abs()),
            _from_end => length.saturating_sub(usize::from(last.unsigned_abs())),
        };
        let first = usize::from(first.unsigned_abs());
        let count = if first == 0 { 0 } else { (last + 1).min(length).saturating_sub(first) };
        request.from(first).iter().take(count).step_by(usize::from(step.unsigned_abs()).max(1))
    }
}

/// The command a request leads to with its number, or the text of the refusal.
pub(crate) fn lookup(request: Request<'_>) -> Result<(&'static Command, usize), Vec<u8>> {
    let Some((command, number)) = indexed(request.name()) else { return Err(unknown_command(request)) };
    if command.subcommands.is_empty() || request.len() < 2 {
        return Ok((command, number));
    }
    let name = request.get(1).unwrap_or_default();
    let index = command.subcommands.iter().position(|it| name.eq_ignore_ascii_case(it.short_name().as_bytes()));
    match index {
        Some(index) => Ok((&command.subcommands[index], number + 1 + index)),
        None => {
            let (container, name) = (command.name.to_uppercase(), c_string(name, 128));
            Err([b"ERR unknown subcommand '", name, b"'. Try ", container.as_bytes(), b" HELP."].concat())
        }
    }
}

/// Stands for the command until it was looked up.
fn table_head() -> &'static Command {
    &table::TABLE[0]
}

pub(crate) fn all() -> &'static [Command] {
    table::TABLE
}

/// The names behind the numbers that [`lookup`] gives: each command, followed by its subcommands.
pub(crate) fn names() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| flattened().map(|command| command.name).collect());
    &NAMES
}

fn flattened() -> impl Iterator<Item = &'static Command> {
    table::TABLE.iter().flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

/// Open addressing at a load of a quarter: nearly every lookup is one comparison.
static INDEX: LazyLock<Vec<Option<(&'static Command, usize)>>> = LazyLock::new(|| {
    let mut index = vec![None; (table::TABLE.len() * 4).next_power_of_two()];
    let mut number = 0;
    for command in table::TABLE {
        let mut at = hash(command.name.as_bytes()) & (index.len() - 1);
        while index[at].is_some() {
            at = (at + 1) & (index.len() - 1);
        }
        index[at] = Some((command, number));
        number += 1 + command.subcommands.len();
    }
    index
});

fn by_name(name: &[u8]) -> Option<&'static Command> {
    indexed(name).map(|(command, _)| command)
}

fn indexed(name: &[u8]) -> Option<(&'static Command, usize)> {
    let index = &*INDEX;
    let mut at = hash(name) & (index.len() - 1);
    while let Some((command, number)) = index[at] {
        if name.eq_ignore_ascii_case(command.name.as_bytes()) {
            return Some((command, number));
        }
        at = (at + 1) & (index.len() - 1);
    }
    None
}

/// FNV-1a over lower case.
fn hash(name: &[u8]) -> usize {
    name.iter().fold(0x811c_9dc5, |hash: usize, byte| {
        (hash ^ usize::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    })
}

fn unknown_command(request: Request<'_>) -> Vec<u8> {
    let mut begin = Vec::new();
    for argument in request.from(1).iter() {
        if begin.len() >= 128 {
            break;
        }
        let room = 128 - begin.len();
        begin.push(b'\'');
        begin.extend_from_slice(c_string(argument, room));
        begin.extend_from_slice(b"' ");
    }
    let name = c_string(request.name(), 128);
    [b"ERR unknown command '", name, b"', with args beginning with: ", &begin].concat()
}

/// What C's `%.*s` prints of it: Redis's messages end at a zero byte.
fn c_string(bytes: &[u8], most: usize) -> &[u8] {
    let end = bytes.iter().take(most).position(|byte| *byte == 0).unwrap_or(bytes.len().min(most));
    &bytes[..end]
}

#[cfg(test)]
mod tests;
