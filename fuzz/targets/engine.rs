//! Any sequence of connections, messages, chunks and times into the live engine: no panic, and
//! nothing grows beyond its bound.
#![no_main]

use std::time::Duration;

use caesure_consensus::{HeaderTree, Network, Params};
use caesure_engine::{ChainEvent, ChainRequest, Effect, Engine, EngineOptions, Input, Output};
use caesure_p2p::{BlockState, NetworkOptions, Now, PeerId, SavedFiles, SyncOptions, commands};
use caesure_wire::{Endpoint, FrameHeader, Message, NetAddress, Version};
use libfuzzer_sys::fuzz_target;

/// A version message that is taken.
fn version() -> Vec<u8> {
    let nowhere = || Endpoint { address: NetAddress::NONE, port: 0 };
    let version = Message::Version(Version {
        version: 70_016,
        services: 0x0409,
        time: 1_700_000_000,
        receiver: (0, nowhere()),
        sender: (0, nowhere()),
        nonce: 7,
        user_agent: Vec::new(),
        height: 0,
        relay: true,
    });
    let mut payload = Vec::new();
    version.encode_payload(&mut payload);
    payload
}

/// Does what the engine wants done, as far as it concerns the chain: whatever is sent is gone.
fn settle(engine: &mut Engine, now: Now) {
    let mut answers = Vec::new();
    for _ in 0..100_000 {
        let Some(output) = engine.poll(now) else {
            if answers.is_empty() {
                return;
            }
            answers.drain(..).for_each(|input| engine.handle(input, now));
            continue;
        };
        match output {
            Output::Network(Effect::Send { peer, bytes }) => {
                answers.push(Input::Written { peer, bytes: bytes.len() });
            }
            Output::Network(Effect::Dial { peer, .. }) => {
                answers.push(Input::DialFailed { peer, reason: "refused".to_owned() });
            }
            Output::Chain(ChainRequest::Block { hash, .. }) => {
                for event in [
                    ChainEvent::Stored { hash },
                    ChainEvent::Connected { hash },
                    ChainEvent::Tip { hash },
                ] {
                    answers.push(Input::Chain(event));
                }
            }
            Output::Chain(ChainRequest::Read { ticket, .. }) => {
                answers.push(Input::Chain(ChainEvent::Read { ticket, block: None }));
            }
            _ => {}
        }
    }
    panic!("the engine has no end of wishes");
}

fuzz_target!(|bytes: &[u8]| {
    let params = Params::new(Network::Regtest);
    let magic = params.magic;
    let frame = |command, payload: &[u8]| FrameHeader::frame(magic, command, payload);
    let tree = HeaderTree::new(&params);
    let mut now = Now { mono: Duration::from_secs(1), unix: 1_700_000_000 };
    let options = EngineOptions {
        network: NetworkOptions { v2: false, inbound: 6, ..NetworkOptions::new(params.clone()) },
        sync: SyncOptions {
            minimum_chain_work: params.minimum_chain_work,
            params,
            blocks_only: false,
            relays_before_tip: true,
            pruned: false,
        },
        saved: SavedFiles::default(),
        tip: tree.best(),
        tree,
        states: vec![BlockState { has_body: true, is_connected: true }],
        seed: [7; 32],
    };
    let mut engine = Engine::new(options, now);
    let mut rest = bytes;
    let mut next = 1;
    while let [kind, who, length, tail @ ..] = rest {
        let (payload, tail) = tail.split_at(tail.len().min(usize::from(*length) * 2));
        rest = tail;
        let peer = PeerId(u64::from(who % 8) * 2 + 1);
        let input = match kind {
            0..=15 => {
                let address = NetAddress::Ipv4([20, *who, 0, 1]);
                let remote = Endpoint { address, port: 18_444 };
                let peer = PeerId(next);
                next += 2;
                engine.handle(Input::Accepted { peer, remote: remote.clone(), local: remote }, now);
                settle(&mut engine, now);
                let hello = [frame("version", &version()), frame("verack", &[])];
                Input::Received { peer, bytes: hello.concat() }
            }
            16..=19 => Input::Closed { peer },
            20..=23 => Input::Received { peer, bytes: payload.to_vec() },
            24..=39 => {
                now.mono += Duration::from_millis(1 << (who % 22));
                now.unix += now.mono.as_secs() / 1_000;
                Input::Tick
            }
            _ => {
                let name = commands().nth((kind % 40).into()).unwrap_or("nobody");
                Input::Received { peer, bytes: frame(name, payload) }
            }
        };
        engine.handle(input, now);
        settle(&mut engine, now);
        assert!(engine.network().peers().count() <= 64);
        assert!(engine.sync().pending_bytes() < 1 << 20);
    }
});
