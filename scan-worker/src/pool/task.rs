use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use types::{Digest, Exception, FileOrdinal};

use super::{
    files::SegmentFiles,
    program::{Part, Program},
};
use crate::{
    job::plan::{Pass, Share},
    wire::{GuiltyPart, Hit, MAX_BYTES_PER_BATCH, MAX_FILES_PER_BATCH},
};

/// A program whose compilation killed the scanner so often is given up.
const MAX_LOAD_DEATHS: u32 = 2;

/// The scanning of one segment: what is to do, what is handed out, what was answered. Shared by the slots.
#[derive(Debug)]
pub struct Task {
    pub files: SegmentFiles,
    /// By target.
    parts: Vec<TargetParts>,
    state: Mutex<State>,
}

/// The programs of one target: what it adds, and all of it for files without an answer.
#[derive(Clone, Debug)]
pub struct TargetParts {
    pub delta: Arc<Part>,
    pub whole: Arc<Part>,
}

#[derive(Debug)]
struct State {
    passes: Vec<PassState>,
    todo: VecDeque<Todo>,
    handed_out: usize,
    result: Scanned,
    /// Taken when all is answered.
    done: Option<oneshot::Sender<Scanned>>,
}

#[derive(Debug)]
struct PassState {
    /// One per part of the program, in its order.
    shares: Arc<[Share]>,
    program: Arc<Program>,
    load_deaths: u32,
    /// Somebody waits for its answers. A pass without shares is for hashes alone.
    wanted: bool,
}

#[derive(Debug)]
enum Todo {
    Files {
        pass: usize,
        files: VecDeque<FileOrdinal>,
    },
    /// A file at which a scanner died.
    Alone {
        pass: usize,
        file: FileOrdinal,
    },
}

/// Files for one scanner, in one message.
#[derive(Debug)]
pub struct Batch {
    pub task: Arc<Task>,
    pub pass: usize,
    pub shares: Arc<[Share]>,
    pub program: Arc<Program>,
    pub files: Vec<FileOrdinal>,
    /// The one file is suspected of killing scanners: nothing else may be in flight with it.
    pub alone: bool,
}

/// All that came out of a task.
#[derive(Debug, Default)]
pub struct Scanned {
    pub answers: Vec<FileAnswer>,
    /// Targets whose rules do not compile, and why.
    pub failed: BTreeMap<usize, String>,
    /// The scanners do not work here: nothing of the result counts.
    pub hindered: Option<String>,
}

/// What became of one file in one pass.
#[derive(Debug)]
pub struct FileAnswer {
    pub file: FileOrdinal,
    /// Whom it concerns; a hit's part is an index into it.
    pub shares: Arc<[Share]>,
    pub fate: FileFate,
}

#[derive(Debug)]
pub enum FileFate {
    Scanned { bytes: u64, sha256: Option<Digest>, hits: Vec<Hit> },
    Excepted(Exception),
}

impl Task {
    pub fn new(
        files: SegmentFiles,
        parts: Vec<TargetParts>,
        passes: Vec<Pass>,
    ) -> (Arc<Self>, oneshot::Receiver<Scanned>) {
        let (done, result) = oneshot::channel();
        let mut todo = VecDeque::new();
        let mut states = Vec::new();
        for Pass { shares, files } in passes {
            todo.push_back(Todo::Files { pass: states.len(), files: files.into() });
            states.push(PassState::new(shares, &parts));
        }
        let state = State { passes: states, todo, handed_out: 0, result: Scanned::default(), done: Some(done) };
        let task = Arc::new(Self { files, parts, state: Mutex::new(state) });
        task.finish_if_done(&mut task.lock());
        (task, result)
    }

    /// The next files to scan, if there are any that are not handed out.
    pub(super) fn take_batch(self: &Arc<Self>) -> Option<Batch> {
        let mut state = self.lock();
        let (pass, files, alone) = match state.todo.front_mut()? {
            Todo::Alone { pass, file } => (*pass, vec![*file], true),
            Todo::Files { pass, files } => (*pass, self.take_files(files), false),
        };
        if !matches!(state.todo.front(), Some(Todo::Files { files, .. }) if !files.is_empty()) {
            state.todo.pop_front();
        }
        state.handed_out += files.len();
        let PassState { shares, program, load_deaths: _, wanted: _ } = &state.passes[pass];
        let (shares, program) = (Arc::clone(shares), Arc::clone(program));
        Some(Batch { task: Arc::clone(self), pass, shares, program, files, alone })
    }

    fn take_files(&self, files: &mut VecDeque<FileOrdinal>) -> Vec<FileOrdinal> {
        let mut bytes = 0;
        let mut count = 0;
        for file in files.iter().take(MAX_FILES_PER_BATCH) {
            bytes += self.files.size(*file);
            if count > 0 && bytes > MAX_BYTES_PER_BATCH {
                break;
            }
            count += 1;
        }
        files.drain(..count).collect()
    }

    /// Files that were handed out and not begun, or whose answers were lost with their scanner.
    pub(super) fn give_back(&self, pass: usize, files: Vec<FileOrdinal>) {
        let mut state = self.lock();
        state.handed_out -= files.len();
        state.put_first(Todo::Files { pass, files: files.into() });
        self.finish_if_done(&mut state);
    }

    pub(super) fn try_alone(&self, pass: usize, file: FileOrdinal) {
        let mut state = self.lock();
        state.handed_out -= 1;
        state.put_first(Todo::Alone { pass, file });
        self.finish_if_done(&mut state);
    }

    /// Takes answers of files that were handed out.
    ///
    /// A file that was too much for several rulesets together is tried with each alone, so that one
    /// ruleset's slow or deadly rule does not cost the others their answer.
    pub(super) fn answer(&self, pass: usize, answers: Vec<FileAnswer>) {
        let mut state = self.lock();
        state.handed_out -= answers.len();
        for answer in answers {
            let too_much = matches!(answer.fate, FileFate::Excepted(Exception::TimedOut | Exception::Crashed));
            if too_much && state.passes[pass].shares.len() > 1 && answer.shares.len() > 1 {
                state.split(pass, vec![answer.file], &self.parts);
            } else {
                state.result.answers.push(answer);
            }
        }
        self.finish_if_done(&mut state);
    }

    /// Drops the targets whose rules do not compile; the others go on without them.
    pub(super) fn rules_failed(&self, batch: Batch, guilty: &[GuiltyPart]) {
        let Batch { task: _, pass, shares, program, files, alone: _ } = batch;
        let mut state = self.lock();
        state.handed_out -= files.len();
        if guilty.len() >= shares.len() && shares.len() > 1 {
            // Perhaps only together: each alone will tell.
            let rest = state.take_todo_of(pass);
            state.split(pass, files.into_iter().chain(rest).collect(), &self.parts);
        } else {
            state.put_first(Todo::Files { pass, files: files.into() });
            for GuiltyPart { part, message } in guilty {
                if let (Some(share), Some(part)) = (shares.get(*part), program.parts.get(*part)) {
                    let _ = part.failure.set(message.clone());
                    state.fail_target(share.target, message, &self.parts);
                }
            }
        }
        self.finish_if_done(&mut state);
    }

    /// The scanner died, or was killed for hanging, while it compiled this batch's program.
    pub(super) fn load_died(&self, batch: Batch, how: &str) {
        let Batch { task: _, pass, shares, program: _, files, alone: _ } = batch;
        let mut state = self.lock();
        state.handed_out -= files.len();
        state.passes[pass].load_deaths += 1;
        if state.passes[pass].load_deaths < MAX_LOAD_DEATHS {
            state.put_first(Todo::Files { pass, files: files.into() });
        } else if shares.len() > 1 {
            let rest = state.take_todo_of(pass);
            state.split(pass, files.into_iter().chain(rest).collect(), &self.parts);
        } else {
            for share in shares.iter() {
                state.fail_target(share.target, &format!("its rules do not compile: {how}"), &self.parts);
            }
        }
        self.finish_if_done(&mut state);
    }

    /// Ends the task without an answer.
    pub(super) fn hinder(&self, reason: String) {
        let mut state = self.lock();
        state.todo.clear();
        state.result.hindered.get_or_insert(reason);
        self.finish_if_done(&mut state);
    }

    /// Stops handing out files; nobody waits for the result any more.
    pub(super) fn cancel(&self) {
        let mut state = self.lock();
        state.todo.clear();
        state.done = None;
    }

    pub(super) fn is_done(&self) -> bool {
        self.lock().done.is_none()
    }

    fn finish_if_done(&self, state: &mut State) {
        if state.handed_out == 0
            && state.todo.is_empty()
            && let Some(done) = state.done.take()
        {
            let _ = done.send(std::mem::take(&mut state.result));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A slot that panicked ends the process; until then the others may go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Nothing is queued for a pass whose targets have all failed, nor after the scanners turned out not to work.
    fn put_first(&mut self, todo: Todo) {
        let (Todo::Files { pass, .. } | Todo::Alone { pass, .. }) = &todo;
        let wanted = self.passes[*pass].wanted && self.result.hindered.is_none() && self.done.is_some();
        if wanted && !matches!(&todo, Todo::Files { files, .. } if files.is_empty()) {
            self.todo.push_front(todo);
        }
    }

    /// Queues files once more, for each target of the pass alone.
    fn split(&mut self, pass: usize, files: Vec<FileOrdinal>, parts: &[TargetParts]) {
        let shares = Arc::clone(&self.passes[pass].shares);
        for share in shares.iter().copied() {
            let alone = vec![share];
            let same = |pass: &PassState| *pass.shares == *alone;
            let pass = self.passes.iter().position(same).unwrap_or_else(|| {
                self.passes.push(PassState::new(alone.clone(), parts));
                self.passes.len() - 1
            });
            let todo = Todo::Files { pass, files: files.clone().into() };
            if self.result.hindered.is_none() && self.done.is_some() {
                self.todo.push_back(todo);
            }
        }
    }

    fn take_todo_of(&mut self, wanted: usize) -> Vec<FileOrdinal> {
        let mut taken = Vec::new();
        self.todo.retain(|todo| match todo {
            Todo::Files { pass, files } if *pass == wanted => {
                taken.extend(files);
                false
            }
            Todo::Alone { pass, file } if *pass == wanted => {
                taken.push(*file);
                false
            }
            Todo::Files { .. } | Todo::Alone { .. } => true,
        });
        taken
    }

    fn fail_target(&mut self, target: usize, message: &str, parts: &[TargetParts]) {
        self.result.failed.entry(target).or_insert_with(|| message.to_owned());
        for pass in &mut self.passes {
            if pass.shares.iter().any(|share| share.target == target) {
                let left = pass.shares.iter().copied().filter(|share| share.target != target).collect();
                *pass = PassState::new(left, parts);
                pass.wanted = !pass.shares.is_empty();
            }
        }
        let passes = &self.passes;
        self.todo.retain(|todo| {
            let (Todo::Files { pass, .. } | Todo::Alone { pass, .. }) = todo;
            passes[*pass].wanted
        });
    }
}

impl PassState {
    fn new(mut shares: Vec<Share>, parts: &[TargetParts]) -> Self {
        let part = |share: &Share| {
            let TargetParts { delta, whole } = &parts[share.target];
            if share.whole { whole } else { delta }
        };
        shares.sort_by_key(|share| (part(share).from, part(share).to, share.target));
        let parts = shares.iter().map(|share| Arc::clone(part(share))).collect();
        Self { shares: shares.into(), program: Arc::new(Program { parts }), load_deaths: 0, wanted: true }
    }
}
