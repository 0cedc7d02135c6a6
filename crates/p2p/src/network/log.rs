use core::time::Duration;

use super::{Effect, Network};
use crate::PeerId;

/// How many lines one connection may cause.
pub(super) const PEER_LINES: u8 = 8;
/// How many lines all peers together may cause at once, and one more each second.
pub(super) const LINES: f64 = 60.0;

/// How often something may still be done that is limited in rate.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) left: f64,
    counted_at: Duration,
}

impl Tokens {
    pub(super) const fn new(left: f64, now: Duration) -> Self {
        Self { left, counted_at: now }
    }

    /// Counts in what the time since brought, up to a number; above that, what is left stays.
    pub(super) fn refill(&mut self, now: Duration, per_second: f64, most: f64) {
        let since = now.saturating_sub(self.counted_at).as_secs_f64();
        if self.left < most {
            self.left = (self.left + since * per_second).min(most);
        }
        self.counted_at = now;
    }

    /// Returns whether it may be done, which is then counted.
    pub(super) fn take(&mut self) -> bool {
        let is_left = self.left >= 1.0;
        self.left -= if is_left { 1.0 } else { 0.0 };
        is_left
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
        self.log_limit.refill(self.now.mono, 1.0, LINES);
        if !self.log_limit.take() {
            self.lines_left_out += 1;
            return;
        }
        c.log_tokens = left;
        let mut line = format!("peer {peer} ({}): {}", c.info.remote, escape(text.as_bytes()));
        let left_out = core::mem::take(&mut self.lines_left_out);
        if left_out > 0 {
            line += &format!(" ({left_out} lines on peers before this one are left out)");
        }
        self.log(line);
    }
}

/// Returns text of a peer's as one line of printable ASCII.
fn escape(bytes: &[u8]) -> String {
    bytes.iter().take(256).flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}
