//! The program's layers together, without sockets.

mod machine;
mod model;
mod scenarios;
mod simulation;

use std::ffi::OsStr;
use std::process::{Command, Output};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use caesure_consensus::{Network, Params};
use caesure_wire::BlockHash;

use crate::memory::Memory;
use crate::opening::{Access, Settings, open_chain};

/// Held while a child process runs. Until its program has begun, it holds the locks of all files that are
/// open here: a test that opened one of them again would find it locked.
static STARTS: RwLock<()> = RwLock::new(());

/// Held while files are opened and locked.
pub(crate) fn no_start() -> RwLockReadGuard<'static, ()> {
    STARTS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one test of this program alone in a process of its own, which a variable tells of it.
pub(crate) fn run_alone(test: &str, variable: &str, value: impl AsRef<OsStr>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    output(command.args(["--exact", test, "--nocapture"]).env(variable, value))
}

fn output(command: &mut Command) -> Output {
    // That it was started does not say that its program runs; that it has ended does.
    let _starts = STARTS.write().unwrap_or_else(PoisonError::into_inner);
    command.output().unwrap()
}

#[test]
fn a_child_that_is_started_holds_no_lock_of_a_base_that_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let params = Params::new(Network::Regtest);
    let memory = Memory { script_cache: 0, ..Memory::of(64) };
    let settings = Settings { threads: 0, horizon: 10, memory, assumed_valid: BlockHash::ZERO };
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            for _ in 0..50 {
                assert!(output(&mut Command::new("true")).status.success());
            }
        });
        while !starting.is_finished() {
            open_chain(folder.path(), params.clone(), Access::Write, &settings).unwrap();
        }
    });
}
