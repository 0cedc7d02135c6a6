//! Methods about the server itself, and those that set its clock.

use std::time::Duration;

use caesure_consensus::Network;
use serde_json::{Value, json};

use crate::call::Call;
use crate::error::{Answer, code, fail};
use crate::table::{Effect, Method, list};

/// The greatest time that a header can have.
const MAX_TIME: i64 = u32::MAX as i64;

pub(crate) static METHODS: [Method; 6] = [
    method(
        "control",
        "help",
        "command:str=all_commands",
        help,
        "Lists all methods, or tells of one.",
    ),
    method("control", "stop", "wait:num.", stop, "Has the node stop."),
    method(
        "control",
        "uptime",
        "",
        uptime,
        "Returns for how many seconds the node has been running.",
    ),
    method("control", "getrpcinfo", "", getrpcinfo, "Returns what the server is doing: this call."),
    method(
        "hidden",
        "setmocktime",
        "timestamp:num!",
        setmocktime,
        "Sets the clock to a time, or lets it run again when that is 0. Regtest only.",
    ),
    method(
        "hidden",
        "mockscheduler",
        "delta_time:num!",
        mockscheduler,
        "Has done now what is due within so many seconds. Regtest only.",
    ),
];

const fn method(
    category: &'static str,
    name: &'static str,
    args: &'static str,
    run: fn(&mut Call<'_>) -> Answer,
    about: &'static str,
) -> Method {
    Method { category, name, args, effect: Effect::None, run, about }
}

fn help(call: &mut Call<'_>) -> Answer {
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

fn stop(call: &mut Call<'_>) -> Answer {
    call.backend.stop();
    Ok("Caesure stopping".into())
}

fn uptime(call: &mut Call<'_>) -> Answer {
    let started = call.backend.about().started;
    Ok(call.look(move |_, now| now.mono.saturating_sub(started).as_secs())?.into())
}

fn getrpcinfo(call: &mut Call<'_>) -> Answer {
    let log = call.backend.about().log_file.as_ref();
    let log = log.map_or_else(String::new, |path| path.display().to_string());
    let active = [json!({ "method": "getrpcinfo", "duration": 0 })];
    Ok(json!({ "active_commands": active, "logpath": log }))
}

fn setmocktime(call: &mut Call<'_>) -> Answer {
    if call.params()?.network != Network::Regtest {
        let text = "setmocktime is for regression testing (-regtest mode) only";
        return fail(code::MISC_ERROR, text);
    }
    let time: i64 = call.int(0)?;
    let Some(time) = u64::try_from(time).ok().filter(|_| time <= MAX_TIME) else {
        let text = format!("Mocktime must be in the range [0, {MAX_TIME}], not {time}.");
        return fail(code::INVALID_PARAMETER, text);
    };
    call.backend.set_mock_time(time);
    Ok(Value::Null)
}

fn mockscheduler(call: &mut Call<'_>) -> Answer {
    if call.params()?.network != Network::Regtest {
        let text = "mockscheduler is for regression testing (-regtest mode) only";
        return fail(code::MISC_ERROR, text);
    }
    let delta: i64 = call.int(0)?;
    let Some(delta) = u64::try_from(delta).ok().filter(|delta| (1..=3600).contains(delta)) else {
        let text = "delta_time must be between 1 and 3600 seconds (1 hr)";
        return fail(code::MISC_ERROR, text);
    };
    call.backend.run_scheduler(Duration::from_secs(delta));
    Ok(Value::Null)
}
