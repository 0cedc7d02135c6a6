//! Charts of what was counted, drawn here.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use maud::{Markup, html};

use super::samples::{Sample, rate};
use super::text::{bytes, duration, number, whole};
use super::{Answer, Answered, Visit};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 140.0;
/// What is left free for the words: on the left, above, below.
const MARGIN: [f64; 3] = [80.0, 12.0, 22.0];

/// How a value is shown.
type Show = fn(f64) -> String;

/// A line of a chart: what it is called, and its values, one where there is one.
struct Line {
    label: &'static str,
    values: Vec<Option<f64>>,
}

pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    let samples = visit.site.samples();
    let is_day = visit.param("span") == Some("day");
    let ring = if is_day { &samples.day } else { &samples.hour };
    let [hour, day] = ["hour", "day"].map(|span| visit.link_with("charts", &[("span", span)]));
    let rates = |count| {
        let pairs = ring.iter().zip(ring.iter().skip(1));
        pairs.map(|(first, last)| rate(first, last, count)).collect::<Vec<_>>()
    };
    let traffic = [
        Line { label: "received", values: rates(|it| it.received) },
        Line { label: "sent", values: rates(|it| it.sent) },
    ];
    let line = |label, values| [Line { label, values }];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
    let count: Show = |value| whole(value as u64);
    let per_second: Show = |value| format!("{}/s", number(value));
    let bytes_per_second: Show = |value| format!("{}/s", bytes(value));
    Answer::live(
        "Charts",
        html! {
            p {
                "Over the last "
                a href=(hour) aria-current=[(!is_day).then_some("true")] { "hour" } " or "
                a href=(day) aria-current=[is_day.then_some("true")] { "day" } "."
            }
        },
        html! {
            @if ring.len() < 2 { p { "Nothing is drawn before two samples are taken: wait ten seconds." } }
            @else { div.charts {
                (chart("Bytes a second", &traffic, ring, bytes_per_second))
                (chart("Blocks a second", &line("blocks", rates(|it| it.height)), ring, per_second))
                (chart("Transactions a second", &line("transactions", rates(|it| it.txs)), ring, per_second))
                (chart("Peers", &line("peers", values(ring, |it| it.peers)), ring, count))
                (chart("Memory", &line("memory", values(ring, |it| it.memory)), ring, bytes))
            } }
        },
    )
}

#[expect(clippy::cast_precision_loss, reason = "a chart is no finer than its pixels")]
fn values(ring: &VecDeque<Sample>, value: fn(&Sample) -> u64) -> Vec<Option<f64>> {
    ring.iter().skip(1).map(|sample| Some(value(sample) as f64)).collect()
}

/// Draws lines over the time of the samples, from nothing to the most.
fn chart(title: &str, lines: &[Line], ring: &VecDeque<Sample>, show: Show) -> Markup {
    let all = || lines.iter().flat_map(|line| line.values.iter().flatten());
    let most = all().copied().fold(0.0, f64::max);
    let scale = if most == 0.0 { 1.0 } else { most };
    let [left, top, below] = MARGIN;
    let bottom = HEIGHT - below;
    let (first, last) = (ring.front(), ring.back());
    let span = first.zip(last).map_or(Duration::ZERO, |(first, last)| last.at - first.at);
    let latest = lines.iter().map(|line| {
        let now = line.values.last().copied().flatten();
        format!("{} {}", line.label, now.map_or("not known".to_owned(), show))
    });
    let words = format!("Now: {}. At most: {}.", latest.collect::<Vec<_>>().join(", "), show(most));
    html! {
        figure {
            figcaption { b { (title) } " " span.dim { (words) } }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT) role="img"
                aria-label=(format!("{title}. {words}"))
            {
                line.axis x1=(left) y1=(bottom) x2=(WIDTH) y2=(bottom) {}
                line.axis x1=(left) y1=(top) x2=(WIDTH) y2=(top) stroke-dasharray="2 4" {}
                text x=(left - 6.0) y=(top + 4.0) text-anchor="end" { (show(most)) }
                text x=(left - 6.0) y=(bottom) text-anchor="end" { "0" }
                text x=(left) y=(HEIGHT - 6.0) { (format!("{} ago", duration(span))) }
                text x=(WIDTH) y=(HEIGHT - 6.0) text-anchor="end" { "now" }
                @for (index, line) in lines.iter().enumerate() {
                    polyline.(format!("line{index}")) points=(points(line, scale)) {}
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are few samples")]
fn points(line: &Line, scale: f64) -> String {
    let [left, top, below] = MARGIN;
    let step = (WIDTH - left) / (line.values.len().max(2) - 1) as f64;
    let mut points = String::new();
    for (index, value) in line.values.iter().enumerate() {
        let Some(value) = value else { continue };
        let x = left + step * index as f64;
        let y = HEIGHT - below - (HEIGHT - below - top) * value / scale;
        // Writing to a text does not fail.
        let _ = write!(points, "{x:.1},{y:.1} ");
    }
    points
}
