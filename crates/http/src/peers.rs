//! Methods about connections, addresses and bans.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;

use caesure_consensus::Network;
use caesure_engine::{Command, CommandError};
use caesure_hash::sha256;
use caesure_p2p::{
    BookEntry, ConnectionKind, MessageTotals, NetworkKind, Now, PeerChain, PeerId, PeerInfo,
    Random, Subnet,
};
use caesure_text::hex;
use caesure_wire::Endpoint;
use serde_json::{Value, json};

use crate::call::{Call, text_of};
use crate::error::{Answer, RpcError, code, fail, fail_if};
use crate::json::{Object, amount, object, real};

/// The version of the peer-to-peer protocol. Core: `PROTOCOL_VERSION`.
pub(crate) const PROTOCOL_VERSION: u32 = 70_017;

/// How long a ban lasts when nothing is said, in seconds. Core: `DEFAULT_MISBEHAVING_BANTIME`.
pub(crate) const BAN_TIME: u64 = 24 * 60 * 60;

/// Satoshi per 1,000 vbytes below which nothing is relayed. Core: `DEFAULT_MIN_RELAY_TX_FEE`,
/// `DEFAULT_INCREMENTAL_RELAY_FEE`.
const RELAY_FEE: i64 = 100;

/// The service bit of those who speak the encrypted transport.
const P2P_V2: u32 = 11;

const SERVICES: [(u32, &str); 6] = [
    (0, "NETWORK"),
    (2, "BLOOM"),
    (3, "WITNESS"),
    (6, "COMPACT_FILTERS"),
    (10, "NETWORK_LIMITED"),
    (P2P_V2, "P2P_V2"),
];

pub(crate) fn getconnectioncount(call: &mut Call<'_>) -> Answer {
    Ok(call.look(|engine, _| engine.network().peers().count())?.into())
}

pub(crate) fn getpeerinfo(call: &mut Call<'_>) -> Answer {
    call.look(|engine, now| {
        let sync = engine.sync();
        let height = |id: Option<_>| id.map_or(-1, |id| i64::from(sync.tree().height(id)));
        let peers = engine.network().peers().map(|peer| {
            let chain = sync.peer_chain(peer.id).unwrap_or_default();
            let heights = [height(chain.best_known), height(chain.last_common)];
            peer_json(peer, &chain, heights, now)
        });
        peers.collect()
    })
}

/// What `getpeerinfo` says of a peer; `heights` are those of the best header that it announced, and
/// of the last block that both have.
fn peer_json(peer: &PeerInfo, chain: &PeerChain, heights: [i64; 2], now: Now) -> Value {
    let unix = |time: Option<Now>| time.map_or(0, |time| time.unix);
    let version = peer.version.as_ref();
    let waiting = peer.ping_since.map(|since| now.mono.saturating_sub(since));
    let [ping, min_ping, waiting] = [peer.ping, peer.min_ping, waiting]
        .map(|time| time.filter(|time| !time.is_zero()).map(|time| real(time.as_secs_f64())));
    let fields = object(json!({
        "id": peer.id.0,
        "addr": peer.remote.to_string(),
        "addrbind": peer.local.to_string(),
        "addrlocal": peer.seen_local.as_ref().map(ToString::to_string),
        "network": peer.network,
        "services": format!("{:016x}", peer.services),
        "servicesnames": service_names(peer.services),
        "relaytxes": peer.relays_txs,
        "last_inv_sequence": u8::from(peer.relays_txs),
        "inv_to_send": chain.inv_to_send,
        "lastsend": unix(peer.last_send),
        "lastrecv": unix(peer.last_recv),
        "last_transaction": unix(peer.last_tx),
        "last_block": unix(peer.last_block),
        "bytessent": peer.bytes_sent,
        "bytesrecv": peer.bytes_recv,
        "conntime": peer.connected_at.unix,
        "timeoffset": peer.time_offset,
        "pingtime": ping,
        "minping": min_ping,
        "pingwait": waiting,
        "version": version.map_or(0, |version| version.version),
        "subver": version.map_or_else(String::new, |version| sanitized(&version.user_agent)),
        "inbound": peer.is_inbound(),
        "bip152_hb_to": chain.high_bandwidth_to,
        "bip152_hb_from": chain.high_bandwidth_from,
        "presynced_headers": chain.presync_height.map_or(-1, i64::from),
        "synced_headers": heights[0],
        "synced_blocks": heights[1],
        "inflight": chain.in_flight,
        "addr_relay_enabled": peer.addr_relay,
        "addr_processed": peer.addr_processed,
        "addr_rate_limited": peer.addr_rate_limited,
        "permissions": [],
        "minfeefilter": amount(chain.fee_filter),
        "bytessent_per_msg": bytes(&peer.sent_by_message),
        "bytesrecv_per_msg": bytes(&peer.recv_by_message),
        "connection_type": peer.kind.name(),
        "transport_protocol_type": peer.transport.name(),
        "session_id": peer.session_id.map_or_else(String::new, |id| hex::encode(&id)),
    }));
    fields.into()
}

/// Bytes by message.
fn bytes(totals: &BTreeMap<&'static str, MessageTotals>) -> Value {
    totals.iter().map(|(name, it)| ((*name).to_owned(), Value::from(it.bytes))).collect()
}

/// Core: `GetServicesNames`.
pub(crate) fn service_names(services: u64) -> Vec<String> {
    let name = |bit: u32| {
        let known = SERVICES.iter().find(|(known, _)| *known == bit);
        known.map_or_else(|| format!("UNKNOWN[2^{bit}]"), |(_, name)| (*name).to_owned())
    };
    (0..64).filter(|bit| services >> bit & 1 == 1).map(name).collect()
}

/// Leaves out what could do harm where it is shown. Core: `SanitizeString`.
pub fn sanitized(bytes: &[u8]) -> String {
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b" .,;-_/:?@()".contains(byte);
    bytes.iter().copied().filter(is_safe).map(char::from).collect()
}

pub(crate) fn getnettotals(call: &mut Call<'_>) -> Answer {
    let (totals, now) = call.look(|engine, now| (engine.network().totals(), now.unix))?;
    Ok(json!({
        "totalbytesrecv": totals.received,
        "totalbytessent": totals.sent,
        "timemillis": now * 1000,
        "uploadtarget": {
            "timeframe": 86_400,
            "target": 0,
            "target_reached": false,
            "serve_historical_blocks": true,
            "bytes_left_in_cycle": 0,
            "time_left_in_cycle": 0,
        },
    }))
}

pub(crate) fn getnetworkinfo(call: &mut Call<'_>) -> Answer {
    let about = call.backend.about().clone();
    let proxy = about.proxy.as_ref().map(ToString::to_string);
    let networks = NetworkKind::ROUTABLE.map(|kind| {
        let is_reachable = match kind {
            NetworkKind::Ipv4 | NetworkKind::Ipv6 => true,
            NetworkKind::Onion => proxy.is_some(),
            _ => false,
        };
        let proxy = proxy.as_deref().filter(|_| is_reachable).unwrap_or_default();
        json!({
            "name": kind.name(),
            "limited": !is_reachable,
            "reachable": is_reachable,
            "proxy": proxy,
            "proxy_randomize_credentials": !proxy.is_empty(),
        })
    });
    call.look(move |engine, _| {
        let network = engine.network();
        let services = network.services();
        let (all, inbound) = network.peers().fold((0_u64, 0_u64), |(all, inbound), peer| {
            (all + 1, inbound + u64::from(peer.is_inbound()))
        });
        let local = network.local_addresses().map(|(endpoint, score)| {
            let address = endpoint.address.to_string();
            json!({ "address": address, "port": endpoint.port, "score": score })
        });
        json!({
            "version": about.version,
            "subversion": about.user_agent,
            "protocolversion": PROTOCOL_VERSION,
            "localservices": format!("{services:016x}"),
            "localservicesnames": service_names(services),
            "localrelay": about.relays_txs,
            "timeoffset": 0,
            "networkactive": network.is_active(),
            "connections": all,
            "connections_in": inbound,
            "connections_out": all - inbound,
            "networks": networks,
            "relayfee": amount(RELAY_FEE),
            "incrementalfee": amount(RELAY_FEE),
            "localaddresses": local.collect::<Vec<_>>(),
            "warnings": [],
        })
    })
}

/// Reads an address; a name is looked up. The port is the network's unless it is given.
fn endpoint(call: &Call<'_>, text: &str) -> Result<Endpoint, RpcError> {
    let port = call.params()?.default_port;
    if let Ok(endpoint) = Endpoint::parse(text, port) {
        return Ok(endpoint);
    }
    let found = match text.contains(':') {
        true => text.to_socket_addrs(),
        false => (text, port).to_socket_addrs(),
    };
    let first = found.ok().and_then(|mut found| found.next());
    first.map(Endpoint::from).ok_or_else(|| {
        let text = format!("Error: the name {text} is not known");
        RpcError::new(code::CLIENT_INVALID_IP_OR_SUBNET, text)
    })
}

pub(crate) fn addnode(call: &mut Call<'_>) -> Answer {
    let what = call.text(1)?;
    if !["add", "remove", "onetry"].contains(&what) {
        return call.misused();
    }
    let v2 = call.arg(2).as_bool();
    let has_v2 = call.look(|engine, _| engine.network().services() >> P2P_V2 & 1 == 1)?;
    let text = "Error: v2transport requested but not enabled (see -v2transport)";
    fail_if(v2 == Some(true) && !has_v2, code::INVALID_PARAMETER, text)?;
    let endpoint = endpoint(call, call.text(0)?)?;
    match what {
        "add" => {
            let add = Command::AddNode { endpoint, v2 };
            call.command(add, code::CLIENT_NODE_ALREADY_ADDED)
        }
        "remove" => call.command(Command::RemoveNode(endpoint), code::CLIENT_NODE_NOT_ADDED),
        _ => {
            let kind = ConnectionKind::Manual;
            // Whether it comes about shows itself later.
            let _ = call.backend.command(Command::Connect { endpoint, kind, v2 });
            Ok(Value::Null)
        }
    }
}

pub(crate) fn addconnection(call: &mut Call<'_>) -> Answer {
    let text = "addconnection is for regression testing (-regtest mode) only.";
    fail_if(call.params()?.network != Network::Regtest, code::MISC_ERROR, text)?;
    let (address, name) = (call.text(0)?, call.text(1)?.trim());
    let kinds = [
        ConnectionKind::OutboundFull,
        ConnectionKind::BlockRelay,
        ConnectionKind::AddrFetch,
        ConnectionKind::Feeler,
    ];
    let Some(kind) = kinds.into_iter().find(|kind| kind.name() == name) else {
        return fail(code::INVALID_PARAMETER, call.method.help());
    };
    let (endpoint, v2) = (endpoint(call, address)?, Some(call.flag_or(2, false)?));
    let connect = Command::Connect { endpoint, kind, v2 };
    call.command(connect, code::CLIENT_NODE_CAPACITY_REACHED)?;
    Ok(json!({ "address": address, "connection_type": name }))
}

pub(crate) fn disconnectnode(call: &mut Call<'_>) -> Answer {
    let not_found = || fail(code::CLIENT_NODE_NOT_CONNECTED, "Node not found in connected nodes");
    let address = call.arg(0).as_str();
    let wish = match (address, call.arg(1).is_null()) {
        (Some(address), true) => match Endpoint::parse(address, 0) {
            Ok(endpoint) => Command::DisconnectAddress(endpoint),
            Err(_) => return not_found(),
        },
        (None | Some(""), false) => match u64::try_from(call.int::<i64>(1)?) {
            Ok(peer) => Command::DisconnectPeer(PeerId(peer)),
            Err(_) => return not_found(),
        },
        _ => {
            let text = "Only one of address and nodeid should be provided.";
            return fail(code::INVALID_PARAMS, text);
        }
    };
    call.command(wish, code::CLIENT_NODE_NOT_CONNECTED)
}

pub(crate) fn getaddednodeinfo(call: &mut Call<'_>) -> Answer {
    let wanted = call.arg(0).as_str().map(|text| endpoint(call, text)).transpose()?;
    let is_all = wanted.is_none();
    let nodes: Vec<Value> = call.look(move |engine, _| {
        let network = engine.network();
        let nodes = network.added_nodes();
        let nodes = nodes.filter(|node| wanted.as_ref().is_none_or(|it| *it == node.endpoint));
        let nodes = nodes.map(|node| {
            let peer = node.peer.and_then(|peer| network.peer(peer));
            let addresses = peer.map(|peer| {
                let direction = if peer.is_inbound() { "inbound" } else { "outbound" };
                json!({ "address": peer.remote.to_string(), "connected": direction })
            });
            json!({
                "addednode": node.endpoint.to_string(),
                "connected": peer.is_some(),
                "addresses": addresses.into_iter().collect::<Vec<_>>(),
            })
        });
        nodes.collect()
    })?;
    let text = "Error: Node has not been added.";
    fail_if(nodes.is_empty() && !is_all, code::CLIENT_NODE_NOT_ADDED, text)?;
    Ok(nodes.into())
}

pub(crate) fn setban(call: &mut Call<'_>) -> Answer {
    let what = call.text(1)?.to_owned();
    if !["add", "remove"].contains(&&*what) {
        return call.misused();
    }
    let Ok(subnet) = call.text(0)?.parse::<Subnet>() else {
        return fail(code::CLIENT_INVALID_IP_OR_SUBNET, "Error: Invalid IP/Subnet");
    };
    let (address, prefix) = (subnet.address().clone(), subnet.prefix());
    if what == "remove" {
        let unban = Command::Unban { address, prefix };
        return call.command(unban, code::CLIENT_INVALID_IP_OR_SUBNET);
    }
    let is_single = Subnet::single(address.clone()).as_ref() == Some(&subnet);
    let (is_banned, now) = call.look(move |engine, now| {
        let bans = engine.network().bans();
        let is_banned = bans.is_subnet_banned(&subnet, now.unix)
            || is_single && bans.is_banned(subnet.address(), now.unix);
        (is_banned, now.unix)
    })?;
    let text = "Error: IP/Subnet already banned";
    fail_if(is_banned, code::CLIENT_NODE_ALREADY_ADDED, text)?;
    let time: i64 = call.int_or(2, 0)?;
    let is_absolute = call.flag_or(3, false)?;
    let given = u64::try_from(time).unwrap_or(0);
    let text = "Error: Absolute timestamp is in the past";
    fail_if(is_absolute && given < now, code::INVALID_PARAMETER, text)?;
    let until = match given {
        0 => now + BAN_TIME,
        _ if is_absolute => given,
        _ => now.saturating_add(given),
    };
    call.command(Command::Ban { address, prefix, until }, code::CLIENT_NODE_ALREADY_ADDED)
}

pub(crate) fn listbanned(call: &mut Call<'_>) -> Answer {
    call.look(|engine, now| {
        let bans = engine.network().bans().iter().filter(|(_, ban)| now.unix <= ban.until);
        let bans = bans.map(|(subnet, ban)| {
            json!({
                "address": subnet.to_string(),
                "ban_created": ban.created,
                "banned_until": ban.until,
                "ban_duration": ban.until.saturating_sub(ban.created),
                "time_remaining": ban.until - now.unix,
            })
        });
        bans.collect()
    })
}

pub(crate) fn clearbanned(call: &mut Call<'_>) -> Answer {
    call.command(Command::ClearBans, code::MISC_ERROR)
}

pub(crate) fn setnetworkactive(call: &mut Call<'_>) -> Answer {
    call.command(Command::SetActive(call.flag_or(0, true)?), code::MISC_ERROR)?;
    Ok(call.look(|engine, _| engine.network().is_active())?.into())
}

pub(crate) fn getnodeaddresses(call: &mut Call<'_>) -> Answer {
    let Ok(count) = usize::try_from(call.int_or::<i32>(0, 1)?) else {
        return fail(code::INVALID_PARAMETER, "Address count out of range");
    };
    let name = call.arg(1).as_str();
    let kind = NetworkKind::ROUTABLE.into_iter().find(|kind| Some(kind.name()) == name);
    if let (Some(name), None) = (name, kind) {
        return fail(code::INVALID_PARAMETER, format!("Network not recognized: {name}"));
    }
    call.look(move |engine, now| {
        // Any order will do that differs from call to call.
        let mut random = Random::new(sha256(&now.mono.as_nanos().to_le_bytes()));
        let book = engine.network().address_book();
        let found = book.addresses(count, 0, kind, &mut random, now.unix);
        let found = found.iter().map(|it| {
            json!({
                "time": it.time,
                "services": it.services,
                "address": it.endpoint.address.to_string(),
                "port": it.endpoint.port,
                "network": NetworkKind::class_of(&it.endpoint.address).name(),
            })
        });
        found.collect()
    })
}

pub(crate) fn getaddrmaninfo(call: &mut Call<'_>) -> Answer {
    call.look(|engine, _| {
        let book = engine.network().address_book();
        let counts = |name: &str, [new, tried]: [usize; 2]| {
            (name.to_owned(), json!({ "new": new, "tried": tried, "total": new + tried }))
        };
        let mut all = [0, 0];
        let each = NetworkKind::ROUTABLE.map(|kind| {
            let (new, tried) = book.count(kind);
            all = [all[0] + new, all[1] + tried];
            counts(kind.name(), [new, tried])
        });
        let all = counts("all_networks", all);
        each.into_iter().chain([all]).collect::<Object>().into()
    })
}

pub(crate) fn getrawaddrman(call: &mut Call<'_>) -> Answer {
    call.look(|engine, _| {
        let book = engine.network().address_book();
        let table = |tried: bool| -> Object {
            let entry = |(bucket, place, it)| (format!("{bucket}/{place}"), entry_json(it));
            book.table(tried).map(entry).collect()
        };
        json!({ "new": table(false), "tried": table(true) })
    })
}

/// Core: `AddrmanEntryToJSON`.
fn entry_json(entry: &BookEntry) -> Value {
    let endpoint = &entry.address.endpoint;
    json!({
        "address": endpoint.address.to_string(),
        "port": endpoint.port,
        "services": entry.address.services,
        "time": entry.address.time,
        "network": NetworkKind::class_of(&endpoint.address).name(),
        "source": entry.source.to_string(),
        "source_network": NetworkKind::class_of(&entry.source).name(),
    })
}

pub(crate) fn addpeeraddress(call: &mut Call<'_>) -> Answer {
    let Ok(address) = call.text(0)?.parse() else {
        return fail(code::CLIENT_INVALID_IP_OR_SUBNET, "Invalid IP address");
    };
    let endpoint = Endpoint { address, port: call.int(1)? };
    let tried = call.flag_or(2, false)?;
    match call.backend.command(Command::AddAddress { endpoint, tried }) {
        Ok(()) => Ok(json!({ "success": true })),
        Err(error) => Ok(json!({ "error": text_of(error), "success": false })),
    }
}

pub(crate) fn sendmsgtopeer(call: &mut Call<'_>) -> Answer {
    let peer: i64 = call.int(0)?;
    let name = call.text(1)?.to_owned();
    let text = "Error: msg_type too long, max length is 12";
    fail_if(12 < name.len(), code::INVALID_PARAMETER, text)?;
    let Ok(payload) = hex::decode(call.text(2)?) else {
        return fail(code::INVALID_PARAMETER, "Error parsing input for msg");
    };
    let peer = PeerId(u64::try_from(peer).unwrap_or(u64::MAX));
    match call.backend.command(Command::SendMessage { peer, name, payload }) {
        Ok(()) => Ok(json!({})),
        Err(CommandError::NotFound(_)) => {
            fail(code::MISC_ERROR, "Error: Could not send message to peer")
        }
        Err(error) => fail(code::INVALID_PARAMETER, text_of(error)),
    }
}
