use std::{collections::VecDeque, fs::File, mem, sync::Arc, time::Duration};

use supervision::{Action, Death, Fate, Life, Limits, Seen, after_death};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};
use types::{Digest, Exception, FileOrdinal};

use super::{
    Next, Queue,
    process::{Launcher, Process},
    program::{Program, ProgramKey},
    task::{Batch, FileAnswer, FileFate, Task},
};
use crate::{
    job::plan::Share,
    metrics::{Metrics, Restart},
    origin::NotOpened,
    wire::{self, Answer, FileToScan, FileVerdict, LoadPart, ProgramId, Received, Reply, Request},
};

/// A scanner gets its next batch while it works on the last one, and never waits for us ...
const MAX_BATCHES_IN_FLIGHT: usize = 3;
/// ... unless that would queue large files behind large files while another slot is idle.
const MAX_BYTES_IN_FLIGHT: u64 = 6 << 20;
/// Programs a scanner keeps: four times the largest ruleset, as sources; compiled it is about three times as much.
const MAX_LOADED_BYTES: usize = 64 << 20;
const MAX_LOADED: usize = 64;
/// How often a busy slot looks at its scanner's progress and at whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Scanners that die so often without having begun a file do not work here at all.
const MAX_DEATHS_IN_ROW: u32 = 5;

/// One scanner and the thread that feeds it.
pub(super) struct Slot {
    queue: Arc<Queue>,
    launcher: Launcher,
    metrics: Metrics,
    stop_within: Duration,
    born: Instant,
    life: Life,
    process: Option<Process>,
    loaded: Loaded,
    /// In the order sent.
    flight: VecDeque<InFlight>,
    last_sequence: u64,
    seen_progress: u64,
    /// Taken from the queue; cannot be sent yet.
    waiting: Option<Batch>,
    /// The program of `waiting` is being compiled.
    loading: Option<ProgramId>,
}

struct InFlight {
    sequence: u64,
    task: Arc<Task>,
    pass: usize,
    shares: Arc<[Share]>,
    file: FileOrdinal,
    open: Arc<File>,
    suspect: bool,
    /// First of its batch.
    begins_batch: bool,
}

impl Slot {
    pub(super) fn new(queue: Arc<Queue>, launcher: Launcher, limits: Limits, metrics: Metrics) -> Self {
        Self {
            queue,
            launcher,
            metrics,
            stop_within: limits.stop_within,
            born: Instant::now(),
            life: Life::new(limits),
            process: None,
            loaded: Loaded::default(),
            flight: VecDeque::new(),
            last_sequence: 0,
            seen_progress: 0,
            waiting: None,
            loading: None,
        }
    }

    pub(super) fn run(mut self) {
        while !self.queue.is_stopping() {
            self.take_work();
            if self.waiting.is_some() && self.process.is_none() {
                self.start_scanner();
            } else if self.process.is_some() {
                self.exchange();
            }
        }
        if let Some(process) = self.process.take() {
            self.life.see(self.born.elapsed(), Seen::StopWanted);
            // What is being scanned now is nobody's any more.
            process.stop(if self.is_idle() { self.stop_within } else { Duration::ZERO });
        }
    }

    fn is_idle(&self) -> bool {
        self.flight.is_empty() && self.loading.is_none()
    }

    /// Fills the scanner's window, as far as there is work. Waits for work when there is nothing else to do.
    fn take_work(&mut self) {
        loop {
            if self.waiting.is_none() {
                if !self.has_room() {
                    return;
                }
                match self.queue.next(self.is_idle()) {
                    Next::Batch(batch) => self.waiting = Some(batch),
                    Next::Nothing | Next::Stop => return,
                }
            }
            if self.process.is_none() || !self.send_waiting() {
                return;
            }
        }
    }

    fn has_room(&self) -> bool {
        let alone = self.flight.front().is_some_and(|file| file.suspect);
        let batches = self.flight.iter().filter(|file| file.begins_batch).count();
        let bytes: u64 = self.flight.iter().map(|file| file.task.files.size(file.file)).sum();
        self.is_idle() || (!alone && batches < MAX_BATCHES_IN_FLIGHT && bytes < MAX_BYTES_IN_FLIGHT)
    }

    /// Sends the waiting batch, or first its rules. False: it has to wait for answers.
    fn send_waiting(&mut self) -> bool {
        if self.loading.is_some() {
            return false;
        }
        let Some(batch) = self.waiting.take() else { return true };
        let Some(program) = self.loaded.find(&batch.program.key()) else {
            // Rules are compiled with nothing else in flight, so that a death there is nobody else's.
            if self.flight.is_empty() {
                self.send_rules(&batch.program);
            }
            self.waiting = Some(batch);
            return false;
        };
        if batch.alone && !self.flight.is_empty() {
            self.waiting = Some(batch);
            return false;
        }
        let alone = batch.alone;
        self.send_files(program, batch);
        !alone
    }

    fn send_rules(&mut self, program: &Program) {
        let (id, dropped) = self.loaded.insert(program);
        let part = |part: &Arc<super::Part>| LoadPart { name: part.name.clone(), sources: Arc::clone(&part.sources) };
        let parts = program.parts.iter().map(part).collect();
        for program in dropped {
            self.queue_request(&Request::Forget { program }, Vec::new());
        }
        self.queue_request(&Request::Load { program: id, parts }, Vec::new());
        self.loading = Some(id);
        self.life.see(self.born.elapsed(), Seen::SentRules);
    }

    fn send_files(&mut self, program: ProgramId, batch: Batch) {
        let Batch { task, pass, shares, program: _, files, alone } = batch;
        let mut wanted = Vec::with_capacity(files.len());
        let mut descriptors = Vec::with_capacity(files.len());
        let mut answers = Vec::new();
        let (mut hindrance, mut unopened) = (None, Vec::new());
        let mut open = task.files.opener(&files);
        for file in files {
            if hindrance.is_some() {
                unopened.push(file);
                continue;
            }
            match open(file) {
                Ok(open) => {
                    let open = Arc::new(open);
                    self.last_sequence += 1;
                    let sequence = self.last_sequence;
                    wanted.push(FileToScan {
                        sequence,
                        size: task.files.size(file),
                        hash: task.files.hash_wish(file),
                        known: task.files.known(file),
                        path: task.files.path(file),
                    });
                    descriptors.push(Arc::clone(&open));
                    let (task, shares) = (Arc::clone(&task), Arc::clone(&shares));
                    let begins_batch = wanted.len() == 1;
                    self.flight.push_back(InFlight {
                        sequence,
                        task,
                        pass,
                        shares,
                        file,
                        open,
                        suspect: alone,
                        begins_batch,
                    });
                }
                Err(NotOpened::Hindered(reason)) => {
                    hindrance = Some(reason);
                    unopened.push(file);
                }
                Err(NotOpened::Excepted(exception)) => {
                    answers.push(FileAnswer { file, shares: Arc::clone(&shares), fate: FileFate::Excepted(exception) });
                }
            }
        }
        drop(open);
        if !wanted.is_empty() {
            self.queue_request(&Request::Scan { program, files: wanted }, descriptors);
            self.life.see(self.born.elapsed(), Seen::SentFiles);
        }
        if let Some(reason) = hindrance {
            task.hinder(format!("the corpus cannot be read: {reason}"));
            task.give_back(pass, unopened);
            self.queue.task_changed(&task);
        }
        if !answers.is_empty() {
            task.answer(pass, answers);
            self.queue.task_changed(&task);
        }
    }

    fn queue_request(&mut self, request: &Request, descriptors: Vec<Arc<File>>) {
        let Some(process) = &mut self.process else { return };
        if let Err(error) = process.connection.queue(request, descriptors) {
            // Cannot happen for what we send; if it does, the scanner misses a frame and must not live on.
            error!(%error, "a request to a scanner cannot be written");
            process.kill();
        }
    }

    /// Starts the scanner, or waits for the end of its pause.
    fn start_scanner(&mut self) {
        let now = self.born.elapsed();
        if !self.life.see(now, Seen::Wanted).contains(&Action::Start) {
            let pause = self.life.deadline().map_or(LOOK_EVERY, |deadline| deadline.saturating_sub(now));
            std::thread::sleep(pause.min(LOOK_EVERY));
            return;
        }
        match Process::start(&self.launcher) {
            Ok(process) => {
                debug!(scanner = process.id(), "scanner started");
                self.process = Some(process);
                self.loaded = Loaded::default();
                (self.last_sequence, self.seen_progress) = (0, 0);
                self.life.see(self.born.elapsed(), Seen::Started);
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                let reason = format!("{error}: {cause}");
                self.life.see(self.born.elapsed(), Seen::StartFailed);
                self.metrics.restarted(Restart::Failed);
                let tasks: Vec<_> = self.waiting.iter().map(|batch| Arc::clone(&batch.task)).collect();
                self.hinder_if_hopeless(&tasks, &reason);
            }
        }
    }

    /// Sends what can be sent, waits a moment, takes what came, and looks at the clock.
    fn exchange(&mut self) {
        let now = self.born.elapsed();
        let Some(process) = &mut self.process else { return };
        let deadline = self.life.deadline().map_or(LOOK_EVERY, |deadline| deadline.saturating_sub(now));
        let waited = process.connection.flush().and_then(|()| {
            // Nothing in flight: there is nothing to wait for, the next work comes from the queue.
            if self.flight.is_empty() && self.loading.is_none() {
                Ok(())
            } else {
                process.wait(deadline.min(LOOK_EVERY))
            }
        });
        let mut alive = waited.is_ok();
        loop {
            let Some(process) = &mut self.process else { return };
            match process.connection.receive::<Reply>() {
                Ok(Received::Frame(Reply::Scanned { answers, engine_us })) => {
                    self.metrics.engine_ran(Duration::from_micros(engine_us));
                    self.take_answers(answers);
                }
                Ok(Received::Frame(Reply::Loaded { program, guilty })) => self.take_loaded(program, &guilty),
                Ok(Received::Nothing) => break,
                Ok(Received::Closed) => {
                    alive = false;
                    break;
                }
                Err(error) => {
                    warn!(error = %error, "a scanner answers nonsense");
                    alive = false;
                    break;
                }
            }
        }
        if alive {
            self.look();
        } else {
            self.bury();
        }
    }

    /// Looks at progress and clock; kills a scanner that hangs.
    fn look(&mut self) {
        let now = self.born.elapsed();
        let Some(process) = &mut self.process else { return };
        let progress = process.progress.last();
        if progress != self.seen_progress {
            self.seen_progress = progress;
            if !self.flight.is_empty() {
                self.life.see(now, Seen::Progressed);
            }
        }
        if self.life.tick(now).contains(&Action::Kill) {
            process.kill();
            self.bury();
        }
    }

    fn take_loaded(&mut self, program: ProgramId, guilty: &[wire::GuiltyPart]) {
        if self.loading != Some(program) {
            return;
        }
        self.loading = None;
        self.life.see(self.born.elapsed(), Seen::Progressed);
        self.life.see(self.born.elapsed(), Seen::Drained);
        if guilty.is_empty() {
            return;
        }
        self.loaded.remove(program);
        if let Some(batch) = self.waiting.take() {
            let task = Arc::clone(&batch.task);
            task.rules_failed(batch, guilty);
            self.queue.task_changed(&task);
        }
    }

    fn take_answers(&mut self, answers: Vec<Answer>) {
        let mut grouped: Vec<(Arc<Task>, usize, Vec<FileAnswer>)> = Vec::new();
        for Answer { sequence, verdict } in answers {
            let Some(file) = self.flight.pop_front_if(|file| file.sequence == sequence) else {
                warn!(sequence, "an answer that nobody waits for");
                continue;
            };
            let InFlight { task, pass, shares, file, open, .. } = file;
            let fate = judge(&task, file, &open, verdict);
            let answer = FileAnswer { file, shares, fate };
            match grouped.last_mut() {
                Some((last_task, last_pass, answers)) if *last_pass == pass && Arc::ptr_eq(last_task, &task) => {
                    answers.push(answer);
                }
                _ => grouped.push((task, pass, vec![answer])),
            }
        }
        let seen = if self.flight.is_empty() { Seen::Drained } else { Seen::Progressed };
        self.life.see(self.born.elapsed(), Seen::Progressed);
        self.life.see(self.born.elapsed(), seen);
        for (task, pass, answers) in grouped {
            task.answer(pass, answers);
            self.queue.task_changed(&task);
        }
    }

    /// The scanner is gone: decides over what it had.
    fn bury(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let at = process.progress.last();
        let scanner = process.id();
        process.kill(); // it may have closed its socket only
        let how = process.bury().map_or_else(|error| error.to_string(), |status| status.to_string());
        let actions = self.life.see(self.born.elapsed(), Seen::Exited);
        let death = if actions.contains(&Action::Died(Death::Hung)) { Death::Hung } else { Death::Crashed };
        self.metrics.restarted(match death {
            Death::Hung => Restart::Hung,
            Death::Crashed => Restart::Crashed,
        });
        let flight = mem::take(&mut self.flight);
        let in_flight: Vec<_> = flight
            .iter()
            .map(|file| supervision::InFlight { sequence: file.sequence, suspect: file.suspect })
            .collect();
        let tasks: Vec<_> = flight.iter().map(|file| Arc::clone(&file.task)).collect();
        for (file, fate) in flight.into_iter().zip(after_death(death, at, &in_flight)) {
            self.decide(scanner, &how, file, fate);
        }
        if self.loading.take().is_some() {
            let how = match death {
                Death::Hung => "it takes too long".to_owned(),
                Death::Crashed => format!("the scanner died, {how}"),
            };
            warn!(scanner, how, "scanner died compiling rules");
            if let Some(batch) = self.waiting.take() {
                let task = Arc::clone(&batch.task);
                task.load_died(batch, &how);
                self.queue.task_changed(&task);
            }
        } else if !in_flight.iter().any(|file| file.sequence == at) {
            info!(scanner, how, "scanner died at no file");
            self.hinder_if_hopeless(&tasks, &format!("scanners die before they begin: {how}"));
        }
    }

    fn decide(&self, scanner: u32, how: &str, file: InFlight, fate: Fate) {
        let InFlight { task, pass, shares, file, open, .. } = file;
        let path = || String::from_utf8_lossy(&task.files.path(file)).into_owned();
        match fate {
            Fate::SendAgain => task.give_back(pass, vec![file]),
            // A file that was truncated under the engine's mapping kills, and is simply not there any more.
            Fate::TryAlone | Fate::Excepted(_) if !task.files.still_same(file, &open) => {
                let fate = FileFate::Excepted(Exception::Gone);
                task.answer(pass, vec![FileAnswer { file, shares, fate }]);
            }
            Fate::TryAlone => {
                info!(scanner, how, path = path(), "scanner died at a file; it is tried once more alone");
                task.try_alone(pass, file);
            }
            Fate::Excepted(exception) => {
                warn!(scanner, how, path = path(), %exception, "file has no answer");
                task.answer(pass, vec![FileAnswer { file, shares, fate: FileFate::Excepted(exception) }]);
            }
        }
        self.queue.task_changed(&task);
    }

    /// Ends the tasks that this slot had in hand, when its scanners die one after the other without a file to blame.
    fn hinder_if_hopeless(&mut self, tasks: &[Arc<Task>], reason: &str) {
        if self.life.deaths_in_row() < MAX_DEATHS_IN_ROW {
            return;
        }
        error!(deaths = self.life.deaths_in_row(), reason, "scanners do not work here");
        for task in tasks {
            task.hinder(reason.to_owned());
            self.queue.task_changed(task);
        }
        if let Some(Batch { task, pass, files, .. }) = self.waiting.take() {
            task.give_back(pass, files);
            self.queue.task_changed(&task);
        }
    }
}

/// What a scanner's verdict means for the file as it was listed.
fn judge(task: &Task, file: FileOrdinal, open: &File, verdict: FileVerdict) -> FileFate {
    if !task.files.still_same(file, open) {
        return FileFate::Excepted(Exception::Gone);
    }
    match verdict {
        FileVerdict::Scanned { sha256, hits } => {
            FileFate::Scanned { bytes: task.files.size(file), sha256: sha256.map(Digest::from_bytes), hits }
        }
        FileVerdict::TimedOut => FileFate::Excepted(Exception::TimedOut),
        FileVerdict::Unreadable => FileFate::Excepted(Exception::Unreadable),
        FileVerdict::Failed { message } => {
            let path = task.files.path(file);
            warn!(path = %String::from_utf8_lossy(&path), message, "the engine gave up on a file");
            FileFate::Excepted(Exception::Crashed)
        }
    }
}

/// Which programs the scanner has, least recently used first.
#[derive(Default)]
struct Loaded {
    programs: VecDeque<(ProgramKey, ProgramId, usize)>,
    last_id: u32,
}

impl Loaded {
    fn find(&mut self, key: &ProgramKey) -> Option<ProgramId> {
        let place = self.programs.iter().position(|(loaded, ..)| loaded == key)?;
        let found = self.programs.remove(place)?;
        let id = found.1;
        self.programs.push_back(found);
        Some(id)
    }

    /// Gives the program an id, and names those that have to go for it.
    fn insert(&mut self, program: &Program) -> (ProgramId, Vec<ProgramId>) {
        let bytes = program.source_bytes();
        let mut dropped = Vec::new();
        while !self.programs.is_empty()
            && (self.programs.len() >= MAX_LOADED
                || self.programs.iter().map(|(.., bytes)| bytes).sum::<usize>() + bytes > MAX_LOADED_BYTES)
        {
            dropped.extend(self.programs.pop_front().map(|(_, id, _)| id));
        }
        self.last_id += 1;
        let id = ProgramId(self.last_id);
        self.programs.push_back((program.key(), id, bytes));
        (id, dropped)
    }

    fn remove(&mut self, program: ProgramId) {
        self.programs.retain(|(_, id, _)| *id != program);
    }
}
