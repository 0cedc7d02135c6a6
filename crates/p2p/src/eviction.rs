use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::{ConnectionKind, NetworkKind, PeerId};

/// What decides whether a peer may be dropped for a new one. Core: `NodeEvictionCandidate`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct EvictionCandidate {
    /// The peer.
    pub peer: PeerId,
    /// When it connected, by any clock.
    pub connected_at: Duration,
    /// The shortest time that a ping took; `Duration::MAX` where there was none.
    pub min_ping: Duration,
    /// When it last gave a new block, 0 if never.
    pub last_block: Duration,
    /// When it last gave a transaction that was taken, 0 if never.
    pub last_tx: Duration,
    /// Whether it offers what we want of a peer.
    pub has_services: bool,
    /// Whether it asked for transactions.
    pub relays_txs: bool,
    /// The hash of its [`crate::net_group`] under a secret key.
    pub keyed_net_group: u64,
    /// Whether it is discouraged.
    pub prefer_evict: bool,
    /// Whether it is on our own machine.
    pub is_local: bool,
    /// The network that it came by.
    pub network: NetworkKind,
    /// Why there is a connection.
    pub kind: ConnectionKind,
}

/// Returns the inbound peer that makes room for another, if any may be dropped. What an attacker
/// cannot forge protects a peer: the group it comes from, its distance, useful work, its age. Of the
/// rest, the largest group loses its youngest. Core: `SelectNodeToEvict`.
#[must_use]
pub fn select_peer_to_evict(mut candidates: Vec<EvictionCandidate>) -> Option<PeerId> {
    candidates.retain(|c| c.kind == ConnectionKind::Inbound);
    let youngest_first = |c: &EvictionCandidate| Reverse(c.connected_at);
    let all = |_: &EvictionCandidate| true;
    protect_last(&mut candidates, 4, |c| c.keyed_net_group, all);
    protect_last(&mut candidates, 8, |c| Reverse(c.min_ping), all);
    let by_tx = |c: &EvictionCandidate| (c.last_tx, c.relays_txs, youngest_first(c));
    protect_last(&mut candidates, 4, by_tx, all);
    let by_block = |c: &EvictionCandidate| (c.last_block, c.has_services, youngest_first(c));
    let blocks_only = |c: &EvictionCandidate| (!c.relays_txs, by_block(c));
    let is_useful = |c: &EvictionCandidate| !c.relays_txs && c.has_services;
    protect_last(&mut candidates, 8, blocks_only, is_useful);
    protect_last(&mut candidates, 4, by_block, all);
    protect_by_ratio(&mut candidates);
    if candidates.iter().any(|c| c.prefer_evict) {
        candidates.retain(|c| c.prefer_evict);
    }
    let mut groups: BTreeMap<u64, (usize, Option<(Duration, PeerId)>)> = BTreeMap::new();
    for c in &candidates {
        let (count, youngest) = groups.entry(c.keyed_net_group).or_default();
        *count += 1;
        *youngest = (*youngest).max(Some((c.connected_at, c.peer)));
    }
    groups.into_values().max()?.1.map(|(_, peer)| peer)
}

/// Protects half of the candidates: by age, but up to a quarter by disadvantaged network, of which
/// those with fewest peers come first and leave what they do not use to the next. Core:
/// `ProtectEvictionCandidatesByRatio`.
fn protect_by_ratio(candidates: &mut Vec<EvictionCandidate>) {
    let total = candidates.len() / 2;
    // None: our own machine, whatever the network.
    let kinds = [Some(NetworkKind::Cjdns), Some(NetworkKind::I2p), None, Some(NetworkKind::Onion)];
    let belongs = |c: &EvictionCandidate, kind: Option<NetworkKind>| {
        kind.map_or(c.is_local, |kind| c.network == kind)
    };
    let mut networks =
        kinds.map(|kind| (candidates.iter().filter(|c| belongs(c, kind)).count(), kind));
    networks.sort_by_key(|&(count, _)| count);
    let limit = total / 2;
    let mut protected = 0;
    while protected < limit {
        let before_round = protected;
        let present = networks.iter().filter(|(count, _)| *count > 0).count();
        if present == 0 {
            break;
        }
        let each = ((limit - protected) / present).max(1);
        for (count, kind) in networks.iter_mut().filter(|(count, _)| *count > 0) {
            let before = candidates.len();
            let rank = |c: &EvictionCandidate| (belongs(c, *kind), Reverse(c.connected_at));
            protect_last(candidates, each, rank, |c| belongs(c, *kind));
            let delta = before - candidates.len();
            protected += delta;
            *count -= delta;
            if protected >= limit {
                break;
            }
        }
        if protected == before_round {
            break;
        }
    }
    protect_last(candidates, total - protected, |c| Reverse(c.connected_at), |_| true);
}

/// Sorts, and takes those of the last `count` out for which a condition holds.
fn protect_last<K: Ord>(
    candidates: &mut Vec<EvictionCandidate>,
    count: usize,
    key: impl Fn(&EvictionCandidate) -> K,
    condition: impl Fn(&EvictionCandidate) -> bool,
) {
    candidates.sort_by_key(key);
    let start = candidates.len().saturating_sub(count);
    let last = candidates.split_off(start);
    candidates.extend(last.into_iter().filter(|c| !condition(c)));
}

#[cfg(test)]
mod tests;
