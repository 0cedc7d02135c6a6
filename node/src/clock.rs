//! The one place that reads the clock.
#![expect(clippy::disallowed_methods, reason = "node hands the time down; nothing below it asks")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Returns the seconds since 1970.
pub(crate) fn unix_time() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Returns a point in time to measure from.
pub(crate) fn instant() -> Instant {
    Instant::now()
}
