//! What a scanner may do once it is about to see files: compute, read what it was handed, answer.
//!
//! Four layers, of which each alone would stop most of what a broken engine could try: no new privileges,
//! resource limits, Landlock (no path may be opened, no port reached), and a list of system calls. What is not
//! on the list fails with EPERM instead of killing, so that a libc that tries something new goes on.

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::wire::MAX_FILES_PER_BATCH;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to set {what}")]
    Limit { what: &'static str, source: rustix::io::Errno },
    #[error("failed to set up Landlock")]
    Landlock(#[from] landlock::RulesetError),
    #[error("failed to install the list of system calls")]
    Seccomp(#[from] seccompiler::Error),
    #[error("failed to build the list of system calls")]
    SeccompList(#[from] seccompiler::BackendError),
}

/// Limits of one scanner process.
#[derive(Clone, Copy, Debug)]
pub struct Sandbox {
    /// Of address space: rules, mapped file and working memory together.
    pub memory_limit_bytes: u64,
}

/// Descriptors a scanner holds: up to four batches in its socket and inbox, and a dozen of its own.
const MAX_OPEN_FILES: u64 = 4 * MAX_FILES_PER_BATCH as u64 + 16;

impl Sandbox {
    /// Confines this process. To be called before it reads the first frame.
    pub(super) fn enter(&self) -> Result<(), Error> {
        let failed = |what| move |source| Error::Limit { what, source };
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed("the death signal"))?;
        rustix::thread::set_no_new_privs(true).map_err(failed("no new privileges"))?;
        for (what, resource, limit) in [
            ("the core dump limit", Resource::Core, 0),
            ("the file size limit", Resource::Fsize, 0),
            ("the open files limit", Resource::Nofile, MAX_OPEN_FILES),
            ("the memory limit", Resource::As, self.memory_limit_bytes),
        ] {
            setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) }).map_err(failed(what))?;
        }
        forbid_paths_and_ports()?;
        let filter: BpfProgram = system_calls()?;
        seccompiler::apply_filter(&filter)?;
        Ok(())
    }
}

/// Kernels before 5.13 lack Landlock, and some are built without; the list of system calls has no way to open
/// a path or a socket either, so the scanner starts and says so.
fn forbid_paths_and_ports() -> Result<(), Error> {
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        eprintln!("this kernel has no Landlock: the list of system calls alone keeps the scanner from files and ports");
    }
    Ok(())
}

const AT_EMPTY_PATH: u64 = 0x1000;
const PROT_EXEC: u64 = 4;

fn system_calls() -> Result<BpfProgram, seccompiler::BackendError> {
    let only = |argument, mask, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        numbers::PLAIN.iter().map(|number| (*number, Vec::new())).collect();
    // `fstat` is one of these two in newer C libraries; by path they would still tell which files exist.
    rules.insert(numbers::NEWFSTATAT, vec![only(3, AT_EMPTY_PATH, AT_EMPTY_PATH)?]);
    rules.insert(numbers::STATX, vec![only(2, AT_EMPTY_PATH, AT_EMPTY_PATH)?]);
    // libyara has no just-in-time compiler: nothing new becomes executable.
    rules.insert(numbers::MMAP, vec![only(2, PROT_EXEC, 0)?]);
    rules.insert(numbers::MPROTECT, vec![only(2, PROT_EXEC, 0)?]);
    let eperm = 1;
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Errno(eperm), SeccompAction::Allow, architecture)?.try_into()
}

/// System call numbers from the kernel's tables. No crate in the workspace exposes them.
#[cfg(target_arch = "x86_64")]
mod numbers {
    pub(super) const NEWFSTATAT: i64 = 262;
    pub(super) const STATX: i64 = 332;
    pub(super) const MMAP: i64 = 9;
    pub(super) const MPROTECT: i64 = 10;
    #[rustfmt::skip]
    pub(super) const PLAIN: &[i64] = &[
        0 /* read */, 1 /* write */, 3 /* close */, 5 /* fstat */, 7 /* poll */, 8 /* lseek */, 11 /* munmap */,
        12 /* brk */, 13 /* rt_sigaction */, 14 /* rt_sigprocmask */, 15 /* rt_sigreturn */, 17 /* pread64 */,
        19 /* readv */, 20 /* writev */, 24 /* sched_yield */, 25 /* mremap */, 28 /* madvise */,
        35 /* nanosleep */, 39 /* getpid */, 44 /* sendto */, 45 /* recvfrom */, 46 /* sendmsg */, 138 /* fstatfs */, 47 /* recvmsg */,
        60 /* exit */, 72 /* fcntl */, 96 /* gettimeofday */, 131 /* sigaltstack */, 186 /* gettid */, 202 /* futex */,
        219 /* restart_syscall */, 228 /* clock_gettime */, 229 /* clock_getres */, 230 /* clock_nanosleep */,
        231 /* exit_group */, 234 /* tgkill */, 271 /* ppoll */, 318 /* getrandom */,
    ];
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    pub(super) const NEWFSTATAT: i64 = 79;
    pub(super) const STATX: i64 = 291;
    pub(super) const MMAP: i64 = 222;
    pub(super) const MPROTECT: i64 = 226;
    #[rustfmt::skip]
    pub(super) const PLAIN: &[i64] = &[
        63 /* read */, 64 /* write */, 57 /* close */, 80 /* fstat */, 73 /* ppoll */, 62 /* lseek */, 215 /* munmap */,
        214 /* brk */, 134 /* rt_sigaction */, 135 /* rt_sigprocmask */, 139 /* rt_sigreturn */, 67 /* pread64 */,
        65 /* readv */, 66 /* writev */, 124 /* sched_yield */, 216 /* mremap */, 233 /* madvise */,
        101 /* nanosleep */, 172 /* getpid */, 206 /* sendto */, 207 /* recvfrom */, 211 /* sendmsg */, 44 /* fstatfs */, 212 /* recvmsg */,
        93 /* exit */, 25 /* fcntl */, 169 /* gettimeofday */, 132 /* sigaltstack */, 178 /* gettid */, 98 /* futex */,
        128 /* restart_syscall */, 113 /* clock_gettime */, 114 /* clock_getres */, 115 /* clock_nanosleep */,
        94 /* exit_group */, 131 /* tgkill */, 278 /* getrandom */,
    ];
}
