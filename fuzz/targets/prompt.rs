#![cfg_attr(fuzzing, no_main)]
//! Any lines give replies, in bounded time and memory, and the session goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use caesure_consensus::{Network, Params};
use caesure_prompt::{Limits, Now, Outcome, Session, Source, Still};
use libfuzzer_sys::fuzz_target;

static TURNS: AtomicU64 = AtomicU64::new(0);

static NODE: LazyLock<Arc<Still>> = LazyLock::new(|| {
    let now = Box::new(|| {
        let mono = Duration::from_millis(TURNS.fetch_add(1, Ordering::Relaxed));
        Now { mono, unix: 1_700_000_000 }
    });
    Arc::new(Still { now, ..Still::new(Params::new(Network::Regtest)) })
});

fuzz_target!(|text: &str| {
    let limits = Limits {
        operations: 20_000,
        text: 10_000,
        list: 1_000,
        map: 1_000,
        memory: 1 << 20,
        blocks: 1 << 20,
        output: 10_000,
        ..Limits::default()
    };
    let mut session = Session::new(Arc::clone(&NODE) as Arc<dyn Source>, limits);
    for line in text.lines() {
        let reply = session.line(line);
        assert_eq!(session.is_incomplete(), reply.outcome == Outcome::Incomplete);
        if let Outcome::Error(fault) = reply.outcome {
            assert!(!fault.text.is_empty());
        }
    }
    session.cancel();
    assert_eq!(session.line("1 + 1").outcome, Outcome::Value("2".to_owned()));
});

#[cfg(not(fuzzing))]
fn main() {}
