//! The loop: what happens goes into the engine, and what it wants done is done.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use caesure_engine::{
    ChainEvent, ChainRequest, Command, CommandError, Effect, Input, Output, Runner,
};
use caesure_eventlog::{Event, Logger};
use caesure_http::Look;
use caesure_p2p::PeerId;
use caesure_text::hex;
use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::disk::Job;
use crate::handle::Shared;
use crate::log;
use crate::reactor::{Happening, Reactor};
use crate::service::Service;
use crate::validator::Task;
use crate::{Error, clock};

/// Between two lines that say how far the chain is.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// While a thread's queue is full, it is offered what waits this often.
const RETRY: Duration = Duration::from_millis(5);

/// What other threads tell the loop.
pub(crate) enum News {
    Input(Input),
    Look(Look, Sender<()>),
    Command(Command, Sender<Result<(), CommandError>>),
    /// The thread that owns the chain is at its end.
    ChainEnded,
}

/// The bounded queues to the other threads.
pub(crate) struct Queues {
    pub(crate) tasks: Sender<Task>,
    pub(crate) jobs: Sender<Job>,
    pub(crate) names: Sender<String>,
    pub(crate) news: Receiver<News>,
}

/// The engine and what it works on.
pub(crate) struct Node {
    runner: Runner,
    record: Option<File>,
    reactor: Reactor,
    queues: Queues,
    shared: Arc<Shared>,
    /// What waits since a thread's queue is full. Meanwhile nothing is read from sockets.
    tasks: VecDeque<Task>,
    jobs: VecDeque<Job>,
    /// Answers that are known at once.
    inputs: VecDeque<Input>,
    commands: BTreeMap<u64, Sender<Result<(), CommandError>>>,
    next_command: u64,
    logger: Logger,
    line: Line,
    service: Service,
}

/// What the last line said.
struct Line {
    at: Instant,
    height: u32,
    headers: usize,
}

impl Node {
    pub(crate) fn new(
        runner: Runner,
        record: Option<File>,
        reactor: Reactor,
        queues: Queues,
        shared: Arc<Shared>,
        logger: Logger,
    ) -> Self {
        let sync = runner.engine().sync();
        let (height, headers) = (sync.tree().height(sync.tip()), sync.tree().len());
        let line = Line { at: clock::instant(), height, headers };
        Self {
            runner,
            record,
            reactor,
            queues,
            shared,
            tasks: VecDeque::new(),
            jobs: VecDeque::new(),
            inputs: VecDeque::new(),
            commands: BTreeMap::new(),
            next_command: 0,
            logger,
            line,
            service: Service::new(),
        }
    }

    /// Runs until it is told to stop, or the chain's thread ends. Then all connections are closed, and
    /// what the next run begins with is on its way to the disk.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        self.step(None);
        self.service.ready();
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.reactor
                .turn(self.timeout(), |id| {
                    self.tasks.is_empty()
                        && self.jobs.is_empty()
                        && self.runner.engine().wants_bytes(PeerId(id))
                })
                .map_err(Error::Poll)?;
            let began = clock::instant();
            while let Some(happening) = self.reactor.next() {
                self.feed(input_of(happening));
            }
            // As many as there are now: what they lead to comes in the next turn.
            for _ in 0..self.queues.news.len() {
                let Ok(news) = self.queues.news.try_recv() else { break };
                if !self.hear(news) {
                    self.shared.stop.store(true, Ordering::Relaxed);
                }
            }
            while let Some(input) = self.inputs.pop_front() {
                self.feed(input);
            }
            if self.runner.engine().deadline() <= self.shared.now().mono {
                self.feed(Input::Tick);
            }
            self.offer();
            self.show();
            self.keep_record();
            log::note_slow(&self.logger, "turn of the loop", began);
        }
        self.service.stopping();
        self.feed(Input::Stop);
        self.keep_record();
        if self.record.is_some()
            && let Some(summary) = self.runner.summary()
        {
            eprintln!("recorded {} inputs, hash {}", summary.inputs, hex::encode(&summary.hash));
        }
        for job in self.jobs.drain(..) {
            // A disk that fails says so at its end.
            let _ = self.queues.jobs.send(job);
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        let until = self.runner.engine().deadline().saturating_sub(self.shared.now().mono);
        let until = until.min(LINE_INTERVAL);
        match self.tasks.is_empty() && self.jobs.is_empty() {
            _ if !self.queues.news.is_empty() || !self.inputs.is_empty() => Duration::ZERO,
            true => until,
            false => until.min(RETRY),
        }
    }

    /// Takes what another thread tells; false at the chain's end.
    fn hear(&mut self, news: News) -> bool {
        match news {
            News::Input(input) => self.feed(input),
            News::Look(look, done) => {
                look(self.runner.engine(), self.shared.now());
                // Who asked may be gone.
                let _ = done.send(());
            }
            News::Command(command, answer) => {
                let id = self.next_command;
                self.next_command += 1;
                self.commands.insert(id, answer);
                self.feed(Input::Command { id, command });
            }
            News::ChainEnded => return false,
        }
        true
    }

    fn feed(&mut self, input: Input) {
        let tip = match input {
            Input::Chain(ChainEvent::Tip { hash }) => Some(hash),
            _ => None,
        };
        self.step(Some(input));
        if let Some(tip) = tip {
            self.shared.set_tip(tip);
        }
    }

    fn step(&mut self, input: Option<Input>) {
        for output in self.runner.step(input, self.shared.now()) {
            match output {
                Output::Network(Effect::Dial { peer, endpoint }) => match endpoint.socket_address()
                {
                    Some(address) => self.reactor.dial(peer.0, address),
                    None => {
                        let reason = format!("{endpoint} cannot be dialled");
                        self.inputs.push_back(Input::DialFailed { peer, reason });
                    }
                },
                Output::Network(Effect::Send { peer, bytes }) => self.reactor.send(peer.0, bytes),
                Output::Network(Effect::Close(peer)) => self.reactor.close(peer.0),
                Output::Network(Effect::Resolve(name)) => {
                    if let Err(TrySendError::Full(name)) = self.queues.names.try_send(name) {
                        let addresses = Vec::new();
                        self.inputs.push_back(Input::Resolved { name, addresses });
                    }
                }
                Output::Chain(ChainRequest::Read { ticket, hash }) => {
                    self.jobs.push_back(Job::Read { ticket, hash });
                }
                Output::Chain(request) => self.tasks.push_back(Task::Request(request)),
                Output::Network(Effect::Save { file, bytes }) => {
                    self.jobs.push_back(Job::Save { file, bytes })
                }
                Output::Reply { id, answer } => {
                    if let Some(waiting) = self.commands.remove(&id) {
                        let _ = waiting.send(answer);
                    }
                }
                Output::Network(Effect::Log(event)) => self.logger.log(event),
            }
        }
        self.offer();
    }

    /// Offers the threads what waits for them.
    fn offer(&mut self) {
        offer_all(&mut self.tasks, &self.queues.tasks);
        offer_all(&mut self.jobs, &self.queues.jobs);
    }

    /// A record that cannot be written ends; the node does not.
    fn keep_record(&mut self) {
        let bytes = self.runner.take_record();
        if let Some(file) = &mut self.record
            && let Err(error) = file.write_all(&bytes)
        {
            eprintln!("the record ends: {error}");
            self.record = None;
        }
    }

    /// Says how far the chain is: once a second while it is behind, later at each new tip.
    fn show(&mut self) {
        let sync = self.runner.engine().sync();
        let tip = sync.tip();
        let (height, headers) = (sync.tree().height(tip), sync.tree().len());
        self.service.turn(|| {
            let best = sync.tree().height(sync.tree().best());
            let peers = self.runner.engine().network().peers().count();
            format!("height {height} of {best}, {peers} peers")
        });
        let seconds = self.line.at.elapsed().as_secs_f64();
        let is_behind = sync.is_initial_download();
        let is_other = (height, headers) != (self.line.height, self.line.headers);
        if !is_other || seconds < LINE_INTERVAL.as_secs_f64() {
            return;
        }
        let best = sync.tree().height(sync.tree().best());
        let peers = self.runner.engine().network().peers().count();
        let millis = self.line.at.elapsed().as_millis().max(1);
        let connected = u128::from(height.saturating_sub(self.line.height));
        if is_behind || height != self.line.height {
            self.logger.log(Event::Progress {
                height,
                headers: best,
                name: sync.tree().hash(tip).0,
                peers: peers as u64,
                blocks_per_second: u64::try_from(1_000 * connected / millis).unwrap_or(0),
            });
        }
        self.line = Line { at: clock::instant(), height, headers };
    }
}

fn offer_all<T>(waiting: &mut VecDeque<T>, queue: &Sender<T>) {
    while let Some(first) = waiting.pop_front() {
        match queue.try_send(first) {
            Ok(()) => {}
            Err(TrySendError::Full(first)) => return waiting.push_front(first),
            // The thread has ended, which its owner hears of.
            Err(TrySendError::Disconnected(_)) => return waiting.clear(),
        }
    }
}

fn input_of(happening: Happening) -> Input {
    match happening {
        Happening::Accepted { id, remote, local } => {
            Input::Accepted { peer: PeerId(id), remote: remote.into(), local: local.into() }
        }
        Happening::Dialled { id, local } => {
            Input::Dialled { peer: PeerId(id), local: local.into() }
        }
        Happening::DialFailed { id, reason } => Input::DialFailed { peer: PeerId(id), reason },
        Happening::Received { id, bytes } => Input::Received { peer: PeerId(id), bytes },
        Happening::Written { id, bytes } => Input::Written { peer: PeerId(id), bytes },
        Happening::Closed { id } => Input::Closed { peer: PeerId(id) },
    }
}
