//! What the node counted over the last day, for charts and rates.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Backend;
use crate::backend::look;

/// Between two samples of the last hour.
pub(crate) const STEP: Duration = Duration::from_secs(5);
/// How many samples are held of the last hour; of the last day one in twelve, twice as many.
const HOUR: usize = 720;
const DAY: usize = 1440;
/// Every so many samples one is kept for the day.
const THIN: u64 = 12;
/// Over how much time a rate is taken, where it is one number.
const RATE: usize = 12;

/// What was counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// The time, by the node's clock that never goes back.
    pub(crate) at: Duration,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// The height of the tip.
    pub(crate) height: u64,
    /// Transactions connected since the start.
    pub(crate) txs: u64,
    pub(crate) peers: u64,
    /// Bytes of memory.
    pub(crate) memory: u64,
}

impl Sample {
    /// Counts; none when the node stops.
    pub(crate) fn take(backend: &dyn Backend) -> Option<Self> {
        let (txs, memory) = (backend.connected_txs(), backend.resources().memory);
        look(backend, move |engine, now| {
            let (network, sync) = (engine.network(), engine.sync());
            let totals = network.totals();
            Self {
                at: now.mono,
                received: totals.received,
                sent: totals.sent,
                height: sync.tree().height(sync.tip()).into(),
                txs,
                peers: network.peers().count() as u64,
                memory,
            }
        })
    }
}

/// The samples that are held, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    taken: u64,
    pub(crate) hour: VecDeque<Sample>,
    pub(crate) day: VecDeque<Sample>,
}

impl Samples {
    pub(crate) fn push(&mut self, sample: Sample) {
        if self.taken.is_multiple_of(THIN) {
            push(&mut self.day, sample, DAY);
        }
        push(&mut self.hour, sample, HOUR);
        self.taken += 1;
    }

    /// How much a count grew a second over the last minute; none before there are two samples.
    pub(crate) fn rate(&self, count: fn(&Sample) -> u64) -> Option<f64> {
        let last = self.hour.back()?;
        let first = self.hour.iter().rev().nth(RATE.min(self.hour.len() - 1))?;
        rate(first, last, count)
    }
}

/// How much a count grew a second between two samples; none where no time passed.
pub(crate) fn rate(first: &Sample, last: &Sample, count: fn(&Sample) -> u64) -> Option<f64> {
    let seconds = last.at.saturating_sub(first.at).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown to three digits")]
    let grown = count(last).saturating_sub(count(first)) as f64;
    (0.0 < seconds).then(|| grown / seconds)
}

fn push(ring: &mut VecDeque<Sample>, sample: Sample, room: usize) {
    if ring.len() == room {
        ring.pop_front();
    }
    ring.push_back(sample);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64) -> Sample {
        Sample { at: Duration::from_secs(seconds), height: seconds * 3, ..Sample::default() }
    }

    #[test]
    fn a_day_of_samples_is_bounded_and_rates_are_of_the_last_minute() {
        let mut samples = Samples::default();
        assert_eq!(samples.rate(|it| it.height), None);
        samples.push(sample(0));
        assert_eq!(samples.rate(|it| it.height), None);
        samples.push(sample(5));
        assert_eq!(samples.rate(|it| it.height), Some(3.0));
        for step in 2..40_000 {
            samples.push(sample(step * 5));
        }
        assert_eq!((samples.hour.len(), samples.day.len()), (720, 1440));
        assert_eq!(samples.hour[1].at - samples.hour[0].at, STEP);
        assert_eq!(samples.day[1].at - samples.day[0].at, STEP * 12);
        samples.push(Sample { height: 0, ..sample(200_000) });
        assert_eq!(samples.rate(|it| it.height), Some(0.0), "a reorganisation is no rate");
    }
}
