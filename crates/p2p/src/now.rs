use core::time::Duration;

/// The time of an input: handed in, never asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Since the process began; never steps back. Timeouts are measured by it.
    pub mono: Duration,
    /// The clock, in seconds since 1970, which a test may set (`setmocktime`). No peer moves it.
    pub unix: u64,
}
