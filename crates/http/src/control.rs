//! Methods about the server itself, and those that set its clock.

use std::time::Duration;

use caesure_consensus::Network;
use caesure_p2p::{ConnectionKind, PeerInfo};
use serde_json::{Value, json};

use crate::call::Call;
use crate::error::{Answer, code, fail, fail_if};
use crate::table::{Method, list};

/// The greatest time that a header can have.
const MAX_TIME: i64 = u32::MAX as i64;

pub(crate) fn help(call: &mut Call<'_>) -> Answer {
    let name = call.text_or(0, "");
    if name.is_empty() {
        return Ok(list().into());
    }
    let text = match Method::find(name) {
        Some(method) => method.help().trim_end().to_owned(),
        None => format!("help: unknown command: {name}"),
    };
    Ok(text.into())
}

pub(crate) fn stop(call: &mut Call<'_>) -> Answer {
    call.backend.stop();
    Ok("Caesure stopping".into())
}

pub(crate) fn uptime(call: &mut Call<'_>) -> Answer {
    let started = call.backend.about().started;
    Ok(call.look(move |_, now| now.mono.saturating_sub(started).as_secs())?.into())
}

pub(crate) fn getrpcinfo(call: &mut Call<'_>) -> Answer {
    let log = call.backend.about().log_file.as_ref();
    let log = log.map_or_else(String::new, |path| path.display().to_string());
    let active = call.backend.calls().active().into_iter();
    let active =
        active.map(|(method, time)| json!({ "method": method, "duration": time.as_micros() }));
    Ok(json!({ "active_commands": active.collect::<Value>(), "logpath": log }))
}

pub(crate) fn getcaesureinfo(call: &mut Call<'_>) -> Answer {
    let (worlds, resources) = (call.backend.worlds(), call.backend.resources());
    let about = call.backend.about();
    let (started, user_agent, pruned) = (about.started, about.user_agent.clone(), about.is_pruned);
    let (tip, root) = (*worlds.tip().info(), worlds.root());
    let (held, forks) = (worlds.worlds().len(), worlds.leaves().len());
    let queues = resources.queues.iter().map(
        |queue| json!({ "name": queue.name, "depth": queue.depth, "capacity": queue.capacity }),
    );
    let queues: Value = queues.collect();
    let blocks = call.backend.disk_use();
    call.look(move |engine, now| {
        let (sync, network) = (engine.sync(), engine.network());
        let tree = sync.tree();
        let in_flight =
            |peer: &PeerInfo| sync.peer_chain(peer.id).map_or(0, |chain| chain.in_flight.len());
        let (peers, totals) = (network.peers(), network.totals());
        let inbound = network.peers().filter(|peer| peer.kind == ConnectionKind::Inbound).count();
        json!({
            "subversion": user_agent,
            "chain": tree.params().network.name(),
            "uptime": now.mono.saturating_sub(started).as_secs(),
            "blocks": tip.height,
            "bestblockhash": tip.hash.to_string(),
            "time": tree.find(&tip.hash).map(|id| tree.header(id).time),
            "headers": tree.height(tree.best()),
            "initialblockdownload": sync.is_initial_download(),
            "pruned": pruned,
            "blocks_in_flight": network.peers().map(in_flight).sum::<usize>(),
            "worlds": {
                "held": held,
                "forks": forks,
                "oldest_height": root.height,
                "oldest": root.hash.to_string(),
            },
            "peers": { "inbound": inbound, "outbound": peers.count() - inbound },
            "bytes": { "received": totals.received, "sent": totals.sent },
            "disk": { "blocks": blocks, "ledger": resources.ledger, "free": resources.free },
            "memory": { "resident": resources.memory, "limit": resources.memory_limit },
            "queues": queues,
        })
    })
}

pub(crate) fn setmocktime(call: &mut Call<'_>) -> Answer {
    let text = "setmocktime is for regression testing (-regtest mode) only";
    fail_if(call.params()?.network != Network::Regtest, code::MISC_ERROR, text)?;
    let time: i64 = call.int(0)?;
    let Some(time) = u64::try_from(time).ok().filter(|_| time <= MAX_TIME) else {
        let text = format!("Mocktime must be in the range [0, {MAX_TIME}], not {time}.");
        return fail(code::INVALID_PARAMETER, text);
    };
    call.backend.set_mock_time(time);
    Ok(Value::Null)
}

pub(crate) fn mockscheduler(call: &mut Call<'_>) -> Answer {
    let text = "mockscheduler is for regression testing (-regtest mode) only";
    fail_if(call.params()?.network != Network::Regtest, code::MISC_ERROR, text)?;
    let delta: i64 = call.int(0)?;
    let Some(delta) = u64::try_from(delta).ok().filter(|delta| (1..=3600).contains(delta)) else {
        let text = "delta_time must be between 1 and 3600 seconds (1 hr)";
        return fail(code::MISC_ERROR, text);
    };
    call.backend.run_scheduler(Duration::from_secs(delta));
    Ok(Value::Null)
}
