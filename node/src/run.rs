//! `caesure` without a subcommand: the node.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use caesure_consensus::{HeaderId, HeaderTree, Network, Params};
use caesure_engine::{ChainEvent, EngineOptions, Input, Runner};
use caesure_eventlog::Event;
use caesure_http::{
    About, Cookie, ServeOptions, Stop, User, WebOptions, WebUser, serve, serve_web,
};
use caesure_ledger::Worlds;
use caesure_p2p::{BlockState, NetworkOptions, SavedFiles, SyncOptions};
use caesure_wire::{BlockHash, Endpoint};
use crossbeam_channel::{Sender, bounded};
use rustix::system::uname;

use crate::args::{Common, Run};
use crate::disk::{Disk, Job, resolve_names, spawn_as};
use crate::handle::{Handle, Shared};
use crate::host_names::{HostNames, ask_system};
use crate::log::Log;
use crate::monitor::Monitor;
use crate::node::{News, Node, Queues};
use crate::opening::{Access, Settings, open_chain};
use crate::prompt::Live;
use crate::prune::tell_missing;
use crate::reactor::{Reactor, allow_descriptors};
use crate::service::{self, PidFile};
use crate::validator::{Task, Validator};
use crate::{Error, Outcome, base, clock, record, signals};

/// How many values wait for a thread at most.
const QUEUE: usize = 1024;
/// Descriptors for files, listeners, RPC and what the libraries need.
const OTHER_FILES: u64 = 192;
/// And for the web UI.
const WEB_FILES: u64 = 256;
/// Accepted connections that may stand beyond `-i`, until it is decided which to close.
const ACCEPTED_BEYOND: usize = 32;
/// How long a proxy may take to answer at the start.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// With less, blocks would go that peers may ask for. Core: `MIN_DISK_SPACE_FOR_BLOCK_FILES`.
const MIN_PRUNE_MIB: u64 = 550;
/// The service bit of those who have all blocks.
const NODE_NETWORK: u64 = 1;
/// Service bits. Core: `NODE_NETWORK`, `NODE_WITNESS`, `NODE_NETWORK_LIMITED`.
const SERVICES: u64 = NODE_NETWORK | 1 << 3 | 1 << 10;

/// What the engine begins with of the chain.
struct Start {
    tree: HeaderTree,
    states: Vec<BlockState>,
    is_pruned: bool,
    tip: HeaderId,
    worlds: Worlds,
}

pub(crate) fn run(common: &Common, run: &Run) -> Result<Outcome, Error> {
    if run.daemon && run.logfile.is_none() {
        return Err(Error::DaemonLog);
    }
    if run.daemon && !service::is_detached() {
        return service::start();
    }
    if run.daemon {
        service::leave_terminal()?;
    }
    let log = Log::start(common, run)?;
    let result = open(common, run, &log);
    log.end(&result);
    result
}

/// Opens all files, and does the work.
fn open(common: &Common, run: &Run, log: &Log) -> Result<Outcome, Error> {
    let began = clock::instant();
    let logger = &log.logger;
    let folder = base::network_folder(common.base.as_deref(), common.network())?;
    let params = run.params(common);
    if let Some(mib) =
        run.prune.filter(|mib| *mib < MIN_PRUNE_MIB && params.network != Network::Regtest)
    {
        return Err(Error::PruneTarget(mib));
    }
    raise_descriptor_limit(run)?;
    let mut reactor = Reactor::new(run.incoming + ACCEPTED_BEYOND).map_err(Error::Poll)?;
    let listen = listen(&mut reactor, run, params.default_port)?;
    if let Some(proxy) = run.proxy {
        TcpStream::connect_timeout(&proxy, PROXY_TIMEOUT)
            .map_err(|source| Error::Proxy { address: proxy, source })?;
    }
    let mut settings = Settings::new(&run.validation);
    settings.assumed_valid = run.validation.assumevalid.unwrap_or(params.default_assume_valid);
    if settings.assumed_valid != BlockHash::ZERO {
        logger.log(Event::AssumedValid { name: settings.assumed_valid.0 });
    }
    let mut chain = open_chain(&folder, params.clone(), Access::Write, &settings)?;
    chain.logger = logger.clone();
    chain.found.drain(..).for_each(|event| logger.log(event));
    // The chain holds the folder's lock.
    let _pid = if run.daemon { Some(PidFile::create(&folder)?) } else { None };
    let mut validator = Validator::new(chain, &folder)?;
    tell_missing(&validator.chain);
    validator.prune_target = run.prune.map(|mib| mib << 20);
    let chain = &validator.chain;
    let start = Start {
        tree: chain.tree.clone(),
        states: chain.states(),
        // What was pruned once stays so without the option.
        is_pruned: run.prune.is_some() || chain.store.reader().has_released(),
        tip: chain.tip_id(),
        worlds: chain.ledger.reader(),
    };
    let tip = start.tree.hash(start.tip);
    logger.log(Event::Opened {
        height: start.tree.height(start.tip),
        name: tip.0,
        folder: folder.display().to_string(),
        millis: clock::millis_since(began),
    });
    for address in &listen {
        logger.log(Event::Listening { what: "p2p", address: address.to_string() });
    }
    let shared = Arc::new(Shared::new(reactor.waker(), tip));
    let listen = listen.into_iter().map(Endpoint::from).collect();
    let options = engine_options(run, &params, listen, &folder, start);
    work(run, &folder, log, validator, (shared, reactor), options)
}

/// Starts all threads, runs the loop, and ends them.
fn work(
    run: &Run,
    folder: &Path,
    log: &Log,
    validator: Validator,
    (shared, reactor): (Arc<Shared>, Reactor),
    (options, worlds): (EngineOptions, Worlds),
) -> Result<Outcome, Error> {
    let (news_in, news) = bounded(QUEUE);
    let (tasks, tasks_out) = bounded(QUEUE);
    let (jobs, jobs_out) = bounded(QUEUE);
    let (names, names_out) = bounded(QUEUE);
    let tell = |shared: &Arc<Shared>, news: &Sender<News>| {
        let (shared, news) = (Arc::clone(shared), news.clone());
        move |input| {
            let is_heard = news.send(News::Input(input)).is_ok();
            shared.wake();
            is_heard
        }
    };
    let record = run.record.as_deref().map(record::create).transpose()?;
    let disk = Disk::open(folder, validator.chain.store.reader(), tasks.clone())?;
    let blocks = Arc::clone(&disk.blocks);
    let tell_disk = tell(&shared, &news_in);
    let disk = disk.start(jobs_out, move |input| _ = tell_disk(input));
    let tell_names = tell(&shared, &news_in);
    resolve_names(names_out, move |input| _ = tell_names(input));
    let (txs, times) = (Arc::clone(&validator.txs), Arc::clone(&validator.chain.times));
    let stop_chain = Arc::clone(&validator.chain.stop);
    let tell_chain = tell(&shared, &news_in);
    let (ended, waker) = (news_in.clone(), Arc::clone(&shared));
    let chain = spawn_as("chain", move || {
        let result = validator.run(&tasks_out, |event: ChainEvent| tell_chain(Input::Chain(event)));
        let _ = ended.send(News::ChainEnded);
        waker.wake();
        result
    });
    stop_by_signal(&shared, log);
    let mut handle = Handle {
        shared: Arc::clone(&shared),
        news: news_in,
        tasks: tasks.clone(),
        jobs: jobs.clone(),
        memory_limit: run.validation.ceiling.bytes(),
        worlds,
        blocks,
        about: Arc::new(about(run, folder, &options, &shared)),
        logger: log.logger.clone(),
        txs,
        times,
        calls: Arc::default(),
        names: run.names.then(|| HostNames::start(ask_system)),
        prompt: None,
    };
    let params = options.network.params.clone();
    let (network, rpc_port) = (params.network, params.rpc_port);
    handle.prompt = Some(Arc::new(Live::new(handle.clone(), params, !run.no_commands)));
    let monitor = run.monitor(folder).map(|path| Monitor::start(&path, &handle)).transpose()?;
    let rpc = || serve_rpc(run, folder, rpc_port, handle.clone());
    let rpc = (!run.no_rpc).then(rpc).transpose()?;
    let runner = Runner::new(options, shared.now(), record.is_some());
    // From now on the loop answers at once.
    let web = serve_pages(run, network, handle.clone())?;
    let queues = Queues { tasks: tasks.clone(), jobs: jobs.clone(), names, news };
    let ran = Node::new(runner, record, reactor, queues, shared, log.logger.clone()).run();
    handle.shared.stop();
    drop(monitor);
    stop_chain.store(true, Ordering::Relaxed);
    // They may have ended already. Those who ask over RPC may still hold a queue.
    let _ = tasks.send(Task::Stop);
    let _ = jobs.send(Job::Stop);
    if let Some((thread, stop, _cookie)) = rpc {
        end_server((thread, stop), "JSON-RPC");
    }
    web.into_iter().for_each(|web| end_server(web, "web UI"));
    let chain = chain.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let disk = disk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    chain.and(disk).and(ran)?;
    Ok(Outcome::Done)
}

/// Has SIGINT and SIGTERM end the loop, and the second of them the process.
fn stop_by_signal(shared: &Arc<Shared>, log: &Log) {
    let (stopping, logger) = (Arc::clone(shared), log.logger.clone());
    signals::act(move || {
        if stopping.stop.load(Ordering::Relaxed) {
            signals::end();
        }
        logger.log(Event::Stopping { reason: "signal" });
        stopping.stop();
    });
}

/// Opens sockets for HTTP, as many as come about, for many machines have no IPv6, and on others its
/// socket for all interfaces takes IPv4 too. One that another program has is an error.
fn bind(what: &'static str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Error> {
    let (mut listeners, mut failed) = (Vec::new(), None);
    for &address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(_) if !listeners.is_empty() && address.ip().is_unspecified() => {}
            Err(source) if source.kind() == ErrorKind::AddrInUse => {
                return Err(Error::Listen { what, address, source });
            }
            Err(source) => failed = failed.or(Some(Error::Listen { what, address, source })),
        }
    }
    if listeners.is_empty() { failed.map_or(Ok(listeners), Err) } else { Ok(listeners) }
}

type Web = (JoinHandle<io::Result<()>>, Stop);

fn end_server((thread, stop): Web, name: &str) {
    stop.stop();
    if let Ok(Err(error)) = thread.join() {
        eprintln!("caesure: {name}: {error}");
    }
}

/// Serves the web UI on a thread of its own, if it is wanted.
fn serve_pages(run: &Run, network: Network, handle: Handle) -> Result<Option<Web>, Error> {
    let addresses = run.webui(network);
    let open = addresses.iter().find(|address| !address.ip().is_loopback());
    if let Some(open) = open.filter(|_| run.user.is_empty()) {
        return Err(Error::WebWithoutUser(*open));
    }
    if addresses.is_empty() {
        return Ok(None);
    }
    let listeners = bind("the web UI (-a)", &addresses)?;
    for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        handle.logger.log(Event::Listening { what: "web", address: address.to_string() });
    }
    let users = run.user.iter().filter_map(|user| user.split_once(':'));
    let options = WebOptions {
        users: users.map(|(name, password)| WebUser::new(name, password)).collect(),
        hosts: vec![uname().nodename().to_string_lossy().into_owned()],
        logger: handle.logger.clone(),
        ..WebOptions::new(random_bytes())
    };
    let stop = Stop::new();
    let switch = stop.clone();
    let serve = move || serve_web(listeners, Arc::new(handle), options, &switch);
    Ok(Some((spawn_as("web", serve), stop)))
}

type Rpc = (JoinHandle<io::Result<()>>, Stop, Option<Cookie>);

/// Serves JSON-RPC on a thread of its own. Who has no password in the options has the cookie file's.
fn serve_rpc(run: &Run, folder: &Path, port: u16, handle: Handle) -> Result<Rpc, Error> {
    let own: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let own = own.map(|ip| SocketAddr::new(ip, port));
    let addresses = run.rpc.as_ref().map_or(&own[..], std::slice::from_ref);
    let listeners = bind("JSON-RPC (--rpc)", addresses)?;
    let mut users = Vec::new();
    for text in &run.rpcauth {
        users.push(User::from_rpcauth(text).ok_or_else(|| Error::RpcAuth(text.clone()))?);
    }
    let mut cookie = None;
    let (secret, salt) = (random_bytes(), random_bytes());
    match (&run.rpcuser, &run.rpcpassword) {
        (Some(name), Some(password)) => users.push(User::new(name, password, salt)),
        (Some(_), None) | (None, Some(_)) => return Err(Error::HalfLogin),
        (None, None) => {
            let path = folder.join(".cookie");
            let made = Cookie::create(&path, secret).map_err(Error::io(&path))?;
            users.push(made.user());
            cookie = Some(made);
        }
    }
    let stop = Stop::new();
    let switch = stop.clone();
    for listener in &listeners {
        if let Ok(address) = listener.local_addr() {
            let address = address.to_string();
            handle.logger.log(Event::Listening { what: "rpc", address });
        }
    }
    let logger = handle.logger.clone();
    let options = ServeOptions { users, logger, ..ServeOptions::default() };
    let thread = spawn_as("rpc", move || serve(listeners, Arc::new(handle), options, &switch));
    Ok((thread, stop, cookie))
}

fn engine_options(
    run: &Run,
    params: &Params,
    listen: Vec<Endpoint>,
    folder: &Path,
    start: Start,
) -> (EngineOptions, Worlds) {
    let read = |name: &str| fs::read(folder.join(name)).ok();
    let saved = SavedFiles {
        peers: read("peers.bin"),
        bans: read("bans.bin"),
        anchors: read("anchors.bin"),
    };
    let network = NetworkOptions {
        outbound: run.outgoing,
        inbound: run.incoming,
        listen,
        connect: run.connect(params.default_port),
        only_connect: run.only_connect,
        dns_seed: !run.no_dns_seed,
        v2: run.v2transport == 1,
        proxy: run.proxy.map(Endpoint::from),
        blocks_only: run.blocksonly,
        log_commands: run.verbose,
        log_packets: run.packet,
        services: if start.is_pruned { SERVICES - NODE_NETWORK } else { SERVICES },
        ..NetworkOptions::new(params.clone())
    };
    let sync = SyncOptions {
        params: params.clone(),
        minimum_chain_work: params.minimum_chain_work,
        blocks_only: run.blocksonly,
        relays_before_tip: run.relay,
        pruned: start.is_pruned,
    };
    let seed = random_bytes();
    let Start { tree, states, tip, worlds, .. } = start;
    (EngineOptions { network, sync, saved, tree, states, tip, seed }, worlds)
}

/// Bytes that nobody can foretell: the standard library keys its tables with such.
fn random_bytes<const N: usize>() -> [u8; N] {
    use std::hash::{BuildHasher, RandomState};
    let mut bytes = [0; N];
    for word in bytes.as_chunks_mut::<8>().0 {
        *word = RandomState::new().hash_one(0).to_le_bytes();
    }
    bytes
}

fn about(run: &Run, folder: &Path, options: &EngineOptions, shared: &Shared) -> About {
    About {
        folder: folder.to_owned(),
        log_file: None,
        started: shared.now().mono,
        user_agent: options.network.user_agent.clone(),
        version: VERSION,
        is_pruned: options.sync.pruned,
        prune_target: run.prune.map(|mib| mib << 20),
        relays_txs: !run.blocksonly,
        proxy: options.network.proxy.clone(),
        slots: [run.outgoing, run.incoming],
        allows_commands: !run.no_commands,
    }
}

/// The version as a number, as Core does it.
const VERSION: u32 = 100;

/// Opens the sockets that peers dial: those of `-s`, else all interfaces at the network's port,
/// unless the node is to be alone with those that it dials.
fn listen(reactor: &mut Reactor, run: &Run, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let what = "peers (-s)";
    let failed = |address| move |source| Error::Listen { what, address, source };
    if run.serve.is_empty() && !run.only_connect {
        let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        let any_v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        // Where there is IPv6, its socket takes IPv4 too.
        return match reactor.listen(any) {
            Ok(address) => Ok(vec![address]),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Err(failed(any)(error)),
            Err(_) => Ok(vec![reactor.listen(any_v4).map_err(failed(any_v4))?]),
        };
    }
    run.serve.iter().map(|&address| reactor.listen(address).map_err(failed(address))).collect()
}

/// Has the system allow as many files as it may, and refuses more connections than that.
fn raise_descriptor_limit(run: &Run) -> Result<(), Error> {
    let wanted = run.incoming + ACCEPTED_BEYOND + run.outgoing;
    let web = if run.webui(Network::Main).is_empty() { 0 } else { WEB_FILES };
    let needed = wanted as u64 + OTHER_FILES + web;
    let allowed = allow_descriptors();
    if allowed < needed {
        return Err(Error::TooManyConnections { wanted: run.incoming, needed, allowed });
    }
    Ok(())
}
