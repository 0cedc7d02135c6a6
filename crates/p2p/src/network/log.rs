use core::time::Duration;

use super::{Effect, Network};
use crate::PeerId;

/// How many lines one connection may cause.
pub(super) const PEER_LINES: u8 = 8;
/// How many lines all peers together may cause at once, and one more each second.
const LINES: u64 = 60;

/// Bounds what peers write on our disk.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    /// Lines that may be written, less than none never.
    tokens: u64,
    /// The second up to which they were counted.
    second: u64,
    /// Lines that were left out since the last one.
    left_out: u64,
}

impl LogLimit {
    pub(super) const fn new(now: Duration) -> Self {
        Self { tokens: LINES, second: now.as_secs(), left_out: 0 }
    }

    /// Returns whether a line may be written, and how many were left out before it.
    fn take(&mut self, now: Duration) -> Option<u64> {
        let passed = now.as_secs().saturating_sub(self.second);
        self.tokens = self.tokens.saturating_add(passed).min(LINES);
        self.second = now.as_secs();
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                Some(core::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

impl Network {
    /// Says what we did.
    pub(super) fn log(&mut self, text: String) {
        self.effects.push_back(Effect::Log(text));
    }

    /// Says what a peer did, unless it or all peers together caused too much to be said already.
    pub(super) fn log_peer(&mut self, peer: PeerId, text: &str) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        let Some(left) = c.log_tokens.checked_sub(1) else { return };
        let Some(left_out) = self.log_limit.take(self.now.mono) else { return };
        c.log_tokens = left;
        let mut line = format!("peer {peer} ({}): {}", c.info.remote, escape(text.as_bytes()));
        if left_out > 0 {
            line += &format!(" ({left_out} lines on peers before this one are left out)");
        }
        self.log(line);
    }
}

/// Returns text of a peer's as one line of printable ASCII.
pub(super) fn escape(bytes: &[u8]) -> String {
    bytes.iter().take(256).flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}
