use caesure_wire::Header;

use crate::transaction_rules::ensure;
use crate::{Deployment, HeaderId, HeaderTree, Params, Reject, Target};

/// How many seconds a header's time may be ahead of the clock. Core: `MAX_FUTURE_BLOCK_TIME`.
pub const MAX_FUTURE_BLOCK_TIME: u32 = 2 * 60 * 60;

/// How many seconds the first block of a difficulty period may be before its parent. Spec:
/// BIP-0094. Core: `MAX_TIMEWARP`.
const MAX_TIMEWARP: u32 = 600;

/// A header's place: what it is judged by, besides itself.
pub(crate) struct HeaderContext<'a> {
    pub(crate) tree: &'a HeaderTree,
    pub(crate) parent: HeaderId,
    pub(crate) now: u32,
}

type Rule = fn(&Header, &HeaderContext<'_>) -> Result<(), Reject>;

/// Core: `ContextualCheckBlockHeader`. The order decides which reason is reported.
const HEADER_RULES: [Rule; 5] = [
    has_the_required_target,
    is_after_the_median_time,
    does_not_warp_time,
    is_not_from_the_future,
    has_a_version_in_force,
];

/// Deployments that retire the versions below a number.
const VERSIONS: [(i32, Deployment); 3] =
    [(2, Deployment::HeightInCoinbase), (3, Deployment::DerSig), (4, Deployment::Cltv)];

/// Checks a header by itself: its hash MUST meet its target, and the target MUST be in range.
/// Core: `CheckBlockHeader`, `CheckProofOfWork`.
///
/// # Errors
/// [`Reject::HighHash`].
pub fn check_header(header: &Header, params: &Params) -> Result<(), Reject> {
    let target = Target::from_compact(header.bits).filter(|target| *target <= params.pow_limit);
    ensure(target.is_some_and(|target| target.is_met_by(&header.hash())), Reject::HighHash)
}

pub(crate) fn check_header_context(
    header: &Header,
    context: &HeaderContext<'_>,
) -> Result<(), Reject> {
    HEADER_RULES.iter().try_for_each(|rule| rule(header, context))
}

/// A header MUST have the target that the chain requires.
fn has_the_required_target(header: &Header, context: &HeaderContext<'_>) -> Result<(), Reject> {
    let bits = context.tree.required_bits(context.parent, header.time);
    ensure(header.bits == bits, Reject::BadDiffbits)
}

/// A header's time MUST be after the median of the eleven headers before.
fn is_after_the_median_time(header: &Header, context: &HeaderContext<'_>) -> Result<(), Reject> {
    ensure(context.tree.median_time_past(context.parent) < header.time, Reject::TimeTooOld)
}

/// Where BIP-0094 holds, the first header of a difficulty period MUST NOT be more than 600 s before
/// its parent.
fn does_not_warp_time(header: &Header, context: &HeaderContext<'_>) -> Result<(), Reject> {
    let (params, parent) = (context.tree.params(), context.parent);
    let height = context.tree.height(parent) + 1;
    let is_first = height.is_multiple_of(params.difficulty_interval());
    let is_early = header.time < context.tree.header(parent).time.saturating_sub(MAX_TIMEWARP);
    ensure(!(params.enforces_bip94 && is_first && is_early), Reject::TimeTimewarpAttack)
}

/// A header's time MUST NOT be over two hours ahead of the clock.
fn is_not_from_the_future(header: &Header, context: &HeaderContext<'_>) -> Result<(), Reject> {
    let latest = context.now.saturating_add(MAX_FUTURE_BLOCK_TIME);
    ensure(header.time <= latest, Reject::TimeTooNew)
}

/// A header's version MUST NOT be one that a deployment retired.
fn has_a_version_in_force(header: &Header, context: &HeaderContext<'_>) -> Result<(), Reject> {
    let height = context.tree.height(context.parent) + 1;
    let is_retired = VERSIONS.iter().any(|(version, deployment)| {
        header.version < *version && context.tree.params().is_active(*deployment, height)
    });
    ensure(!is_retired, Reject::BadVersion(header.version))
}

impl HeaderTree {
    /// Returns the compact target that a child of `parent` with the given time must have.
    /// Core: `GetNextWorkRequired`.
    ///
    /// # Panics
    /// When the id is another tree's.
    #[must_use]
    pub fn required_bits(&self, parent: HeaderId, time: u32) -> u32 {
        let params = self.params();
        let last = self.header(parent);
        let interval = params.difficulty_interval();
        if (self.height(parent) + 1).is_multiple_of(interval) {
            return self.retarget(parent);
        }
        if !params.allows_min_difficulty {
            return last.bits;
        }
        let limit = params.pow_limit.to_compact();
        let late = u64::from(last.time) + 2 * u64::from(params.pow_target_spacing);
        if late < time.into() {
            return limit;
        }
        let mut id = parent;
        while self.header(id).bits == limit && !self.height(id).is_multiple_of(interval) {
            id = self.parent(id).expect("block 0 begins a period");
        }
        self.header(id).bits
    }

    fn retarget(&self, parent: HeaderId) -> u32 {
        let params = self.params();
        let last = self.header(parent);
        if params.has_no_retargeting {
            return last.bits;
        }
        let height = self.height(parent) + 1 - params.difficulty_interval();
        let first = self.ancestor(parent, height).expect("the period is below the parent");
        let first = self.header(first);
        // Where blocks of the easiest target are allowed, only the first shows the real one.
        let bits = if params.enforces_bip94 { first.bits } else { last.bits };
        retarget(bits, first.time, last.time, params)
    }
}

/// Returns the compact target that follows a difficulty period from its target and the times of its
/// first and last block. Core: `CalculateNextWorkRequired`.
///
/// # Panics
/// When `bits` is no target.
#[must_use]
pub fn retarget(bits: u32, first_time: u32, last_time: u32, params: &Params) -> u32 {
    let timespan = params.pow_target_timespan;
    let actual = last_time.saturating_sub(first_time).clamp(timespan / 4, timespan * 4);
    let target = Target::from_compact(bits).expect("an accepted header has a target");
    target.scale(actual, timespan).min(params.pow_limit).to_compact()
}

/// Returns whether the compact target `new` of the header at `height` can follow `old`, whatever the
/// times of the headers are: it stays within a difficulty period, and changes by a factor of at
/// most four between two. Where blocks of the easiest target are allowed, everything can follow.
/// Core: `PermittedDifficultyTransition`.
#[must_use]
pub fn is_permitted_transition(height: u32, old: u32, new: u32, params: &Params) -> bool {
    if params.allows_min_difficulty {
        return true;
    }
    if !height.is_multiple_of(params.difficulty_interval()) {
        return old == new;
    }
    let (Some(old), Some(new)) = (Target::from_compact(old), Target::from_compact(new)) else {
        return false;
    };
    let timespan = params.pow_target_timespan;
    let after = |actual| {
        let target = old.scale(actual, timespan).min(params.pow_limit);
        Target::from_compact(target.to_compact())
    };
    after(timespan / 4) <= Some(new) && Some(new) <= after(timespan * 4)
}
