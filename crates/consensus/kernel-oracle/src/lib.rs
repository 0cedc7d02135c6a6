//! Asks Bitcoin Core's kernel library for its verdict on whole regtest blocks, for tests that
//! compare it with Caesure's.

use std::sync::{Arc, Mutex};

use bitcoinkernel::notifications::types::{
    BlockValidationResult, BlockValidationStateExt, ValidationMode,
};
use bitcoinkernel::{
    BlockValidationStateRef, ChainType, ChainstateManager, ChainstateManagerBuilder,
    ContextBuilder, Log, Logger,
};
use caesure_consensus::{Reject, RejectClass};

/// What Core said of the last block: its class, none for a valid block, and the lines of its log.
#[derive(Clone, Default)]
struct Said {
    class: Arc<Mutex<Option<Option<BlockValidationResult>>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Log for Said {
    fn log(&self, message: &str) {
        self.log.lock().unwrap().push(message.trim_end().to_owned());
    }
}

/// Core's chain on regtest. Only one of a process can keep its own log.
pub struct Core {
    manager: ChainstateManager,
    said: Said,
    _logger: Logger,
    _folder: tempfile::TempDir,
}

impl Core {
    /// Starts with block 0, and checks scripts on `threads` threads besides the one that calls.
    /// With any, Core names a script's fault after all others, as Caesure does.
    ///
    /// # Panics
    /// When the library does not start.
    #[must_use]
    pub fn new(threads: i32) -> Self {
        let said = Said::default();
        let logger = Logger::new(said.clone()).unwrap();
        let class = said.class.clone();
        let context = ContextBuilder::new()
            .chain_type(ChainType::Regtest)
            .with_block_checked_validation(move |_block, state: BlockValidationStateRef<'_>| {
                let verdict = match state.mode() {
                    ValidationMode::Valid => None,
                    _ => Some(state.result()),
                };
                *class.lock().unwrap() = Some(verdict);
            })
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name).to_str().unwrap().to_owned();
        let manager = ChainstateManagerBuilder::new(&context, &path("data"), &path("blocks"))
            .unwrap()
            .worker_threads(threads)
            .build()
            .unwrap();
        Self { manager, said, _logger: logger, _folder: folder }
    }

    /// Hands a block over; gives none when it is valid, else class and reason with more text.
    ///
    /// # Panics
    /// When Core says nothing.
    pub fn judge(&self, block: &[u8]) -> Option<(BlockValidationResult, String)> {
        *self.said.class.lock().unwrap() = None;
        self.said.log.lock().unwrap().clear();
        let block = bitcoinkernel::Block::new(block).unwrap();
        let _ = self.manager.process_block(&block);
        let class = self.said.class.lock().unwrap().expect("the block was checked")?;
        let log = self.said.log.lock().unwrap();
        let reason = log.iter().find_map(|line| {
            let (_, rest) = line
                .split_once("AcceptBlock FAILED (")
                .or_else(|| line.split_once("Block validation error: "))?;
            Some(rest.to_owned())
        });
        Some((class, reason.unwrap_or_else(|| panic!("no reason in {log:#?}"))))
    }
}

/// Compares Core's verdict with another; the text says how they differ.
///
/// # Errors
/// When validity, class or reason differ.
pub fn compare(
    core: Option<&(BlockValidationResult, String)>,
    reject: Option<Reject>,
) -> Result<(), String> {
    let is_same = match (core, reject) {
        (None, None) => true,
        (Some((class, text)), Some(reject)) => {
            let rest = text.strip_prefix(&reject.to_string());
            *class == core_class(reject.class())
                && rest.is_some_and(|rest| matches!(rest.get(..1), None | Some("," | ")")))
        }
        _ => false,
    };
    if is_same { Ok(()) } else { Err(format!("Core: {core:?}, we: {reject:?}")) }
}

fn core_class(class: RejectClass) -> BlockValidationResult {
    match class {
        RejectClass::Consensus => BlockValidationResult::Consensus,
        RejectClass::CachedInvalid => BlockValidationResult::CachedInvalid,
        RejectClass::InvalidHeader => BlockValidationResult::InvalidHeader,
        RejectClass::Mutated => BlockValidationResult::Mutated,
        RejectClass::MissingPrev => BlockValidationResult::MissingPrev,
        RejectClass::InvalidPrev => BlockValidationResult::InvalidPrev,
        RejectClass::TimeFuture => BlockValidationResult::TimeFuture,
        class => panic!("{class:?} is new"),
    }
}
