//! A disk and the process on it: the program's validator, block store and ledger, without threads.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use caesure_consensus::Params;
use caesure_engine::{ChainEvent, ChainRequest, Engine, EngineOptions};
use caesure_p2p::{NetworkOptions, Now, Random, SavedFiles, SyncOptions};
use caesure_wire::{BlockHash, Endpoint};
use tempfile::TempDir;

use crate::chain::Origin;
use crate::memory::Memory;
use crate::opening::{Access, Settings, open_chain};
use crate::validator::Validator;

/// Files that grow at their end, and lose what was not synced.
const GROWING: [&str; 3] = ["blocks.bin", "ledger.log", "headers.bin"];
/// After so many requests everything is synced.
const SYNC_EVERY: u32 = 40;

pub(super) struct Machine {
    folder: TempDir,
    params: Params,
    validator: Option<Validator>,
    /// How long each growing file was when it was last synced.
    synced: BTreeMap<&'static str, u64>,
    requests: u32,
}

impl Machine {
    /// A machine whose disk has some blocks.
    pub(super) fn new(params: &Params, trunk: &[Arc<Vec<u8>>]) -> Self {
        let folder = tempfile::tempdir().expect("there is room for files");
        let params = params.clone();
        let (validator, synced) = (None, BTreeMap::new());
        let mut machine = Self { folder, params, validator, synced, requests: 0 };
        let mut chain = machine.open();
        let now = crate::clock::unix_time();
        for block in trunk {
            chain.offer(block, Origin::default(), now).expect("the disk takes it");
        }
        chain.finish().expect("the disk takes it");
        drop(chain);
        machine.note_lengths();
        machine
    }

    fn open(&self) -> crate::chain::Chain {
        let (horizon, memory, assumed_valid) = (20, Memory::of(16), BlockHash::ZERO);
        let settings = Settings { threads: 0, horizon, memory, assumed_valid };
        open_chain(self.folder.path(), self.params.clone(), Access::Write, &settings)
            .expect("a disk that a crash left can be opened")
    }

    /// Starts the process.
    pub(super) fn start(
        &mut self,
        listen: &Endpoint,
        connect: Vec<Endpoint>,
        saved: &BTreeMap<&'static str, Vec<u8>>,
        seed: [u8; 32],
        now: Now,
    ) -> Engine {
        let mut validator =
            Validator::new(self.open(), self.folder.path()).expect("the files are whole");
        while validator.step().expect("the disk can be read") {}
        let chain = &mut validator.chain;
        while chain.next_event().is_some() {}
        let tip = chain.ledger.tip().info().hash;
        let tip = chain.tree.find(&tip).expect("the tip's header is in the tree");
        let (tree, states) = (chain.tree.clone(), chain.states());
        self.validator = Some(validator);
        let file = |name: &str| saved.get(name).cloned();
        let network = NetworkOptions {
            v2: false,
            dns_seed: false,
            fixed_seeds: false,
            listen: vec![listen.clone()],
            connect,
            outbound: 4,
            inbound: 20,
            services: 0x0409,
            ..NetworkOptions::new(self.params.clone())
        };
        let sync = SyncOptions {
            params: self.params.clone(),
            minimum_chain_work: self.params.minimum_chain_work,
            blocks_only: false,
            relays_before_tip: false,
            pruned: false,
        };
        let saved = SavedFiles {
            peers: file("peers.bin"),
            bans: file("bans.bin"),
            anchors: file("anchors.bin"),
        };
        Engine::new(EngineOptions { network, sync, saved, tree, states, tip, seed }, now)
    }

    /// What the chain's thread makes of a request.
    pub(super) fn handle(&mut self, request: ChainRequest) -> Vec<ChainEvent> {
        let Some(validator) = &mut self.validator else { return Vec::new() };
        validator.handle(request).expect("the disk takes it");
        while validator.step().expect("the disk takes it") {}
        let mut events = Vec::new();
        while let Some(event) = validator.chain.next_event() {
            events.push(event);
        }
        self.requests += 1;
        if self.requests.is_multiple_of(SYNC_EVERY) {
            validator.chain.save().expect("the disk takes it");
            self.note_lengths();
        }
        events
    }

    fn chain(&self) -> &crate::chain::Chain {
        &self.validator.as_ref().expect("the process runs").chain
    }

    /// The block that the ledger is at.
    pub(super) fn tip(&self) -> BlockHash {
        self.chain().ledger.tip().info().hash
    }

    /// All blocks that are stored.
    pub(super) fn stored(&self) -> Vec<BlockHash> {
        self.chain().store.reader().bodies().map(|(hash, _)| hash).collect()
    }

    /// The hash of the set after a block.
    pub(super) fn set_hash(&self, block: &BlockHash) -> [u8; 32] {
        let world = self.chain().ledger.world(block).expect("a new tip has a world");
        world.hash_serialized_3().expect("the set can be read")
    }

    /// Ends the process as kill -9 does, or, if `loses`, as a power cut does: somewhere in what was
    /// not synced the files end.
    pub(super) fn crash(&mut self, loses: bool, random: &mut Random) {
        self.validator = None;
        if !loses {
            return;
        }
        for name in GROWING {
            let Ok(file) = fs::OpenOptions::new().write(true).open(self.folder.path().join(name))
            else {
                continue;
            };
            let len = file.metadata().expect("it is open").len();
            let kept = self.synced.get(name).copied().unwrap_or(0).min(len);
            file.set_len(kept + random.below(len - kept + 1)).expect("a file can be cut");
        }
    }

    fn note_lengths(&mut self) {
        for name in GROWING {
            let len = fs::metadata(self.folder.path().join(name)).map_or(0, |it| it.len());
            self.synced.insert(name, len);
        }
    }
}
