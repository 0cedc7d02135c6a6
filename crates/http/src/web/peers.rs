//! Connections: all in a table, and all that is known of one.

use caesure_engine::Command;
use caesure_p2p::{Now, PeerChain, PeerId, PeerInfo, Subnet};
use caesure_text::hex;
use maud::{Markup, html};

use super::control::switched;
use super::text::{duration, size, time, whole};
use super::{Answer, Answered, Fault, Visit};
use crate::peers::{BAN_TIME, sanitized, service_names};

pub(crate) fn list(visit: &Visit<'_>) -> Answered {
    let mut peers: Vec<PeerInfo> =
        visit.look(|engine, _| engine.network().peers().cloned().collect())?;
    peers.sort_by_key(|peer| (peer.is_inbound(), peer.id));
    let inbound = peers.iter().filter(|peer| peer.is_inbound()).count();
    let columns = [
        "#",
        "Packets",
        "Address",
        "Port",
        "Height",
        "Services",
        "Relay",
        "Direction",
        "Protocol",
        "Version",
        "Name",
    ];
    let is_number = |name: &str| ["#", "Packets", "Port", "Height", "Protocol"].contains(&name);
    Answer::page(
        "Connections",
        html! {
            p { b { (peers.len() - inbound) } " outbound, " b { (inbound) } " inbound." }
            div.scroll tabindex="0" role="region" aria-label="Connections" { table {
                caption { "Connections, the outbound ones first" }
                thead { tr { @for name in columns {
                    th.num[is_number(name)] scope="col" { (name) }
                } } }
                tbody { @for peer in &peers { (row(visit, peer)) } }
            } }
        },
    )
}

fn row(visit: &Visit<'_>, peer: &PeerInfo) -> Markup {
    let version = peer.version.as_ref();
    let link = visit.link(&format!("peer/{}", peer.id));
    html! {
        tr {
            td.num { a href=(link) { (peer.id) } }
            td.num { (whole(peer.messages_sent + peer.messages_recv)) }
            th scope="row" { a.mono href=(link) { (peer.remote.address) } }
            td.num { (peer.remote.port) }
            td.num { (version.map_or_else(|| "–".to_owned(), |version| version.height.to_string())) }
            td.mono { (service_names(peer.services).join(" ")) }
            td { (if peer.relays_txs { "yes" } else { "no" }) }
            td { (peer.kind.name()) }
            td.num { (version.map_or_else(|| "–".to_owned(), |version| version.version.to_string())) }
            td.break { (agent(peer)) }
            td.break { (name(visit, peer)) }
        }
    }
}

/// What the peer calls itself.
fn agent(peer: &PeerInfo) -> String {
    let text = |version: &caesure_wire::Version| sanitized(&version.user_agent);
    peer.version.as_ref().map_or_else(String::new, text)
}

/// What others call the peer, where names are asked for.
fn name(visit: &Visit<'_>, peer: &PeerInfo) -> String {
    let address = peer.remote.socket_address();
    let found = address.and_then(|address| visit.site.backend.host_name(address.ip()));
    found.unwrap_or_else(|| "–".to_owned())
}

/// What is looked at for one page: the peer, its chain, and the heights of the best header that it
/// announced and of the last block that both have.
type Known = (PeerInfo, PeerChain, [Option<u32>; 2], Now);

fn find(visit: &Visit<'_>) -> Result<Known, Fault> {
    let id = visit.arg(0).and_then(|text| text.parse().ok()).map(PeerId);
    let id = id.ok_or_else(|| Fault::bad("The address of a peer's page ends with its number."))?;
    let known = visit.look(move |engine, now| {
        let (network, sync) = (engine.network(), engine.sync());
        let peer = network.peer(id)?.clone();
        let chain = sync.peer_chain(id).unwrap_or_default();
        let height = |id: Option<_>| id.map(|id| sync.tree().height(id));
        let heights = [height(chain.best_known), height(chain.last_common)];
        Some((peer, chain, heights, now))
    })?;
    known.ok_or_else(|| Fault::not_found("There is no such connection, or it is closed by now."))
}

pub(crate) fn one(visit: &Visit<'_>) -> Answered {
    let (peer, chain, heights, now) = find(visit)?;
    let mut rows = facts(visit, &peer, &chain, heights, now);
    rows.extend(traffic(&peer, &chain, now));
    let mut names: Vec<&str> =
        peer.sent_by_message.keys().chain(peer.recv_by_message.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let buttons = html! {
        form method="post" action=(visit.link(&format!("peer/{}", peer.id))) {
            (visit.token())
            button name="do" value="disconnect" { "Disconnect" } " "
            button name="do" value="ban" { "Ban the address for a day" }
        }
    };
    Answer::live(
        format!("Peer {}", peer.id),
        switched(visit, &buttons),
        html! {
            div.scroll tabindex="0" role="region" aria-label="What is known of it" { table {
                caption { "What is known of it" }
                tbody { @for (name, value) in &rows { tr {
                    th scope="row" { (name) }
                    td.mono.break { (value) }
                } } }
            } }
            div.scroll tabindex="0" role="region" aria-label="By message" { table {
                caption { "Messages and bytes by message" }
                thead { tr {
                    th scope="col" { "Message" } th.num scope="col" { "Sent" } th.num scope="col" { "Bytes sent" }
                    th.num scope="col" { "Received" } th.num scope="col" { "Bytes received" }
                } }
                tbody { @for name in names { tr {
                    th.mono scope="row" { (name) }
                    @for totals in [&peer.sent_by_message, &peer.recv_by_message] {
                        @let it = totals.get(name).copied().unwrap_or_default();
                        td.num { (whole(it.messages)) } td.num { (whole(it.bytes)) }
                    }
                } } }
            } }
        },
    )
}

fn none() -> String {
    "–".to_owned()
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// What is known of a peer, as names and values: who it is, and which blocks it has.
fn facts(
    visit: &Visit<'_>,
    peer: &PeerInfo,
    chain: &PeerChain,
    heights: [Option<u32>; 2],
    now: Now,
) -> Vec<(&'static str, String)> {
    let height = |height: Option<u32>| height.map_or_else(none, |height| height.to_string());
    let version = peer.version.as_ref();
    let in_flight = chain.in_flight.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    vec![
        ("Address", peer.remote.to_string()),
        ("Name", name(visit, peer)),
        ("Network", peer.network.to_owned()),
        ("Our address", peer.local.to_string()),
        (
            "Our address, as it sees it",
            peer.seen_local.as_ref().map_or_else(none, ToString::to_string),
        ),
        ("Direction", peer.kind.name().to_owned()),
        (
            "Connected",
            format!(
                "{} UTC, {} ago",
                time(peer.connected_at.unix),
                duration(now.mono.saturating_sub(peer.connected_at.mono))
            ),
        ),
        ("Handshake done", yes(peer.is_ready)),
        ("Version", agent(peer)),
        ("Protocol", version.map_or_else(none, |version| version.version.to_string())),
        ("Protocol that both speak", peer.common_version.to_string()),
        ("Services", format!("{:016x} {}", peer.services, service_names(peer.services).join(" "))),
        ("Transport", peer.transport.name().to_owned()),
        ("Session", peer.session_id.map_or_else(none, |id| hex::encode(&id))),
        (
            "Height when it connected",
            version.map_or_else(none, |version| version.height.to_string()),
        ),
        ("Best header announced", height(heights[0])),
        ("Last block in common", height(heights[1])),
        ("Headers looked at before they are kept, up to", height(chain.presync_height)),
        ("Blocks in flight", if in_flight.is_empty() { "–".to_owned() } else { in_flight }),
    ]
}

/// The rest: what is relayed, how quick it is, and how much came and went.
fn traffic(peer: &PeerInfo, chain: &PeerChain, now: Now) -> Vec<(&'static str, String)> {
    let ago = |at: Option<Now>| {
        at.map_or_else(none, |at| format!("{} ago", duration(now.mono.saturating_sub(at.mono))))
    };
    vec![
        ("We have it announce compactly", yes(chain.high_bandwidth_to)),
        ("It has us announce compactly", yes(chain.high_bandwidth_from)),
        ("Relays transactions", yes(peer.relays_txs)),
        ("Announces by wtxid", yes(peer.wtxid_relay)),
        ("Least fee rate, satoshi per 1,000 vbytes", chain.fee_filter.to_string()),
        ("Transactions to announce", chain.inv_to_send.to_string()),
        ("Addresses relayed", yes(peer.addr_relay)),
        ("Takes addrv2", yes(peer.addrv2)),
        (
            "Addresses taken, and passed over",
            format!("{}, {}", peer.addr_processed, peer.addr_rate_limited),
        ),
        (
            "Ping, and the quickest",
            format!(
                "{}, {}",
                peer.ping.map_or_else(none, duration),
                peer.min_ping.map_or_else(none, duration)
            ),
        ),
        (
            "Ping under way for",
            peer.ping_since.map_or_else(none, |since| duration(now.mono.saturating_sub(since))),
        ),
        ("Its clock is ahead by", format!("{} s", peer.time_offset)),
        (
            "Messages sent, received",
            format!("{}, {}", whole(peer.messages_sent), whole(peer.messages_recv)),
        ),
        ("Bytes sent, received", format!("{}, {}", size(peer.bytes_sent), size(peer.bytes_recv))),
        ("Last sent", ago(peer.last_send)),
        ("Last received", ago(peer.last_recv)),
        ("Last new block", ago(peer.last_block)),
        ("Last new transaction", ago(peer.last_tx)),
        ("Too much waits to be sent", yes(peer.is_full)),
    ]
}

/// Disconnects or bans.
pub(crate) fn act(visit: &Visit<'_>) -> Answered {
    let (peer, _, _, now) = find(visit)?;
    match visit.field("do") {
        Some("disconnect") => visit.command(Command::DisconnectPeer(peer.id))?,
        Some("ban") => {
            let single = Subnet::single(peer.remote.address.clone());
            let single =
                single.ok_or_else(|| Fault::bad("An address of its kind cannot be banned."))?;
            let (address, prefix) = (single.address().clone(), single.prefix());
            visit.command(Command::Ban { address, prefix, until: now.unix + BAN_TIME })?;
        }
        _ => return Err(Fault::bad("A peer can be disconnected or banned.")),
    }
    Ok(Answer::Redirect(visit.link("connections")))
}
