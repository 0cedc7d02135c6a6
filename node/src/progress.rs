use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::thread::scope;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sd_notify::{NotifyState, notify};

use crate::chain::Chain;
use crate::{Error, clock};

const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Between two looks of a bar that nobody moves.
const TICK: Duration = Duration::from_millis(100);

static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// The newest bar, to write beside it or to take it away.
pub(crate) fn bar() -> ProgressBar {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner);
    bar.clone().unwrap_or_else(ProgressBar::hidden)
}

fn set_bar(bar: &ProgressBar) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
}

/// Does work of unknown length. At a terminal it is named once it has lasted for a second.
pub(crate) fn watch<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    show_late(what, "{spinner} {msg}, {elapsed}", 0, |_| work())
}

/// Does work that moves a bar on: up to `total`, or counting where that is 0. At a terminal it is
/// shown once it has lasted for a second.
pub(crate) fn measure<T>(
    what: &'static str,
    total: u64,
    work: impl FnOnce(&ProgressBar) -> T,
) -> T {
    let template = match total {
        0 => "{spinner} {msg}: {human_pos}, {elapsed}",
        _ => "{msg} {bar:32} {percent:>3}%, {eta} left",
    };
    show_late(what, template, total, work)
}

/// Moves a bar on now and then, for what comes by the million.
pub(crate) fn show_count(bar: &ProgressBar, count: u64) {
    if count.is_multiple_of(4096) {
        bar.set_position(count);
    }
}

fn show_late<T>(
    what: &'static str,
    template: &str,
    total: u64,
    work: impl FnOnce(&ProgressBar) -> T,
) -> T {
    // A service manager has no terminal, and a start may take long.
    let _ = notify(&[NotifyState::Status(what)]);
    let bar = ProgressBar::hidden().with_message(what);
    bar.set_length(total);
    set_bar(&bar);
    if !stderr().is_terminal() {
        return work(&bar);
    }
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let (done, ended) = bounded::<()>(0);
    let lasts = |time| ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
    scope(|scope| {
        scope.spawn(|| {
            if lasts(LINE_INTERVAL) {
                bar.set_draw_target(ProgressDrawTarget::stderr());
                while lasts(TICK) {
                    bar.tick();
                }
                bar.finish_and_clear();
            }
        });
        let result = work(&bar);
        drop(done);
        result
    })
}

/// A bar when standard error is a terminal, a line a second elsewhere.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    start: Instant,
    shown: Instant,
    synced: Instant,
}

impl Progress {
    /// `total` is in the unit of [`show`](Self::show)'s `done`; 0 when it is not known.
    pub(crate) fn new(total: u64) -> Self {
        let start = clock::instant();
        let bar = stderr().is_terminal().then(|| {
            let template =
                if total == 0 { "{spinner} {msg}" } else { "{bar:32} {percent:>3}% {msg}" };
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total.max(1)).with_style(style)
        });
        bar.iter().for_each(set_bar);
        Self { bar, total, start, shown: start, synced: start }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Shows how far the chain is, if it is time. Once a second other processes may see it too.
    pub(crate) fn show(&mut self, done: u64, chain: &mut Chain) -> Result<(), Error> {
        let (height, counts) = (chain.tip_height(), &chain.counts);
        let interval = self.bar.as_ref().map_or(LINE_INTERVAL, |_| LINE_INTERVAL / 10);
        if self.shown.elapsed() < interval {
            return Ok(());
        }
        self.shown = clock::instant();
        let seconds = self.seconds();
        #[expect(clippy::cast_precision_loss, reason = "rates for the eye")]
        let (rate, signatures) =
            (counts.bytes as f64 / 1e6 / seconds, counts.signatures as f64 / seconds);
        let mut line = format!(
            "{} blocks, height {height}, {rate:.1} MB/s, {signatures:.0} signatures/s",
            counts.connected,
        );
        if 0 < done && done <= self.total {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let left = seconds * ((self.total - done) as f64 / done as f64);
            line += &format!(", {} left", HumanDuration(Duration::from_secs_f64(left)));
        }
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(line);
            }
            None => eprintln!("{line}"),
        }
        if self.synced.elapsed() < LINE_INTERVAL {
            return Ok(());
        }
        self.synced = clock::instant();
        chain.sync()
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
