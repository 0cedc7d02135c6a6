//! The format, those who write it and those who read it.

mod catlog;
mod document;
mod format;
mod logging;
#[path = "../../../../node/tests/support/running.rs"]
mod running;

use caesure_eventlog::{Address, Event};

/// The time of the original's record in [`GOLDEN`].
const TIME: i64 = 1_424_995_815_123_456;

/// A record that the original wrote.
const GOLDEN: &str = "25f1bf4200000048a0460207051006b15dea00a03b04067365727665720407636f6e6e65637404\
    086f7574676f696e67a00f04093132372e302e302e310202208da00d0407312e322e332e340202208d";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).flat_map(u8::try_from).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn address(text: &str) -> Address {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

fn connect() -> Event {
    let (local, remote) = (address("127.0.0.1:8333"), address("1.2.3.4:8333"));
    Event::Connect { direction: "outgoing", local, remote }
}

/// A log with an event every so many microseconds.
fn log_of(count: u32, step: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for i in 0..count {
        let event = Event::BlockConnected { name: [i.to_le_bytes()[0] | 0x80; 32], height: i };
        event.encode(TIME + i64::from(i) * step, &mut out);
    }
    out
}
