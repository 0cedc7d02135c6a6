//! A bounded load on a running node, this one's or any other's, over real sockets: a line a figure.
//!
//! `CAESURE_BENCH_NODE` is the node (`127.0.0.1:18444`), `CAESURE_BENCH_PID` its process, of which
//! memory and processor time are then told, `CAESURE_BENCH_NETWORK` its network (regtest), and
//! `CAESURE_BENCH_PEERS` how many peers connect (8). `CAESURE_BENCH_MODE` is `idle`, when the peers
//! stand for `CAESURE_BENCH_SECONDS` (20) and answer pings, or `download`, when each fetches all
//! blocks. Without a node nothing is measured. docs/benchmarks.md has the commands.

#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use caesure_consensus::{Network, Params};
use caesure_wire::{
    BlockHash, Endpoint, FrameHeader, Inventory, Locator, Message, NetAddress, Version,
};

/// So many blocks are asked for at once, as Core asks.
const IN_FLIGHT: usize = 16;

struct Peer {
    stream: TcpStream,
    magic: [u8; 4],
}

impl Peer {
    fn connect(node: &str, magic: [u8; 4], nonce: u64) -> io::Result<Self> {
        let stream = TcpStream::connect(node)?;
        stream.set_nodelay(true)?;
        let mut peer = Self { stream, magic };
        let nowhere = Endpoint { address: NetAddress::Ipv4([0; 4]), port: 0 };
        peer.send(&Message::Version(Version {
            version: 70_016,
            services: 0x0409,
            time: 1_700_000_000,
            receiver: (0, nowhere.clone()),
            sender: (0, nowhere),
            nonce,
            user_agent: b"/load:1/".to_vec(),
            height: 0,
            relay: false,
        }))?;
        loop {
            match peer.receive()? {
                Message::Version(_) => peer.send(&Message::Verack)?,
                Message::Verack => return Ok(peer),
                _ => {}
            }
        }
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut payload = Vec::new();
        message.encode_payload(&mut payload);
        self.stream.write_all(&FrameHeader::frame(self.magic, message.command(), &payload))
    }

    /// The next message; pings are answered.
    fn receive(&mut self) -> io::Result<Message> {
        loop {
            let mut header = [0; FrameHeader::SIZE];
            self.stream.read_exact(&mut header)?;
            let header = FrameHeader::from_bytes(&header);
            let mut payload = vec![0; header.length as usize];
            self.stream.read_exact(&mut payload)?;
            let command = header.command().unwrap_or_default();
            match Message::decode(command, &payload).map_err(io::Error::other)? {
                Message::Ping(Some(nonce)) => {
                    self.send(&Message::Pong(nonce.to_le_bytes().to_vec()))?;
                }
                message => return Ok(message),
            }
        }
    }

    /// The names of all blocks from the first on.
    fn names(&mut self, genesis: BlockHash) -> io::Result<Vec<BlockHash>> {
        let mut names = vec![genesis];
        loop {
            let hashes = vec![*names.last().expect("genesis is there")];
            let locator = Locator { version: 70_016, hashes, stop: BlockHash::ZERO };
            self.send(&Message::GetHeaders(locator))?;
            let headers = loop {
                if let Message::Headers(headers) = self.receive()? {
                    break headers;
                }
            };
            names.extend(headers.iter().map(caesure_wire::Header::hash));
            if headers.len() < 2_000 {
                return Ok(names.split_off(1));
            }
        }
    }

    fn download(&mut self, names: &[BlockHash]) -> io::Result<u64> {
        let (mut asked, mut came, mut bytes) = (0, 0, 0);
        while came < names.len() {
            if asked < names.len() && asked - came <= IN_FLIGHT / 2 {
                let end = names.len().min(came + IN_FLIGHT);
                let wanted = names[asked..end].iter();
                let wanted =
                    wanted.map(|name| Inventory { kind: Inventory::WITNESS_BLOCK, hash: name.0 });
                self.send(&Message::GetData(wanted.collect()))?;
                asked = end;
            }
            if let Message::Block(block) = self.receive()? {
                came += 1;
                bytes += block.len() as u64;
            }
        }
        Ok(bytes)
    }
}

/// Resident bytes, and seconds of processor time, of a process.
fn usage(pid: Option<&str>) -> Option<(f64, f64)> {
    let pid = pid?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some((kib * 1024.0, ticks / 100.0))
}

fn say(name: &str, value: f64, unit: &str) {
    println!("{name:<44} {value:>14.3} {unit}");
}

/// What a peer is there for.
struct Load {
    node: String,
    params: Params,
    is_download: bool,
    /// Passed when all are connected, and again when the measurement begins.
    barrier: Barrier,
    /// The connections, to be shut at the end.
    streams: Mutex<Vec<TcpStream>>,
    failed: AtomicUsize,
}

impl Load {
    /// One peer's life; the bytes of blocks that it got.
    fn peer(&self, nonce: u64) -> u64 {
        let ready = self.prepare(nonce);
        self.barrier.wait();
        self.barrier.wait();
        let done = ready.and_then(|(mut peer, names)| {
            if self.is_download {
                return peer.download(&names);
            }
            while peer.receive().is_ok() {}
            Ok(0)
        });
        done.unwrap_or_else(|error| {
            if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                println!("a peer failed: {error}");
            }
            0
        })
    }

    fn prepare(&self, nonce: u64) -> io::Result<(Peer, Vec<BlockHash>)> {
        let mut peer = Peer::connect(&self.node, self.params.magic, nonce)?;
        self.streams.lock().expect("no panic").push(peer.stream.try_clone()?);
        let names =
            if self.is_download { peer.names(self.params.genesis_hash)? } else { Vec::new() };
        Ok((peer, names))
    }
}

#[expect(clippy::disallowed_methods, reason = "measurements need a clock")]
fn main() {
    let variable = |name: &str| env::var(name).ok();
    let number = |name, or| variable(name).and_then(|it| it.parse().ok()).unwrap_or(or);
    let Some(node) = variable("CAESURE_BENCH_NODE") else {
        println!("left out: CAESURE_BENCH_NODE is not set");
        return;
    };
    let name = variable("CAESURE_BENCH_NETWORK").unwrap_or_else(|| "regtest".to_owned());
    let network = Network::ALL.into_iter().find(|network| network.name() == name);
    let count = number("CAESURE_BENCH_PEERS", 8);
    let pid = variable("CAESURE_BENCH_PID");
    let load = Load {
        node,
        params: Params::new(network.expect("CAESURE_BENCH_NETWORK is a network")),
        is_download: variable("CAESURE_BENCH_MODE").as_deref() == Some("download"),
        barrier: Barrier::new(count + 1),
        streams: Mutex::default(),
        failed: AtomicUsize::new(0),
    };
    let before = usage(pid.as_deref());
    thread::scope(|scope| {
        let start = |index: usize| {
            let builder = thread::Builder::new().stack_size(256 << 10);
            let load = &load;
            let work = move || load.peer(index as u64 + 1);
            builder.spawn_scoped(scope, work).expect("the system has threads")
        };
        let workers: Vec<_> = (0..count).map(start).collect();
        load.barrier.wait();
        let connected = usage(pid.as_deref());
        let begun = Instant::now();
        load.barrier.wait();
        if !load.is_download {
            thread::sleep(Duration::from_secs(number("CAESURE_BENCH_SECONDS", 20) as u64));
            for stream in &*load.streams.lock().expect("no panic") {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        let bytes: u64 = workers.into_iter().map(|it| it.join().expect("no panic")).sum();
        let wall = begun.elapsed().as_secs_f64();
        say("peers", count as f64, "");
        say("peers that failed", load.failed.load(Ordering::Relaxed) as f64, "");
        say("wall", wall, "s");
        if load.is_download {
            say("served", bytes as f64 / wall / 1e6, "MB/s");
        }
        let after = usage(pid.as_deref());
        if let (Some((at_first, _)), Some((memory, cpu)), Some((_, cpu_after))) =
            (before, connected, after)
        {
            say(
                "the node's memory a connected peer",
                (memory - at_first) / count as f64 / 1024.0,
                "KiB",
            );
            say("the node's processor time", (cpu_after - cpu) / wall * 100.0, "% of a core");
        }
    });
}
