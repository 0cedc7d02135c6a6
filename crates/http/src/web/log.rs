//! The newest records of the log.

use caesure_eventlog::{Filter, text};
use maud::html;

use super::{Answer, Answered, Visit};

/// How many records are shown.
const SHOWN: usize = 200;

pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    let Some(tail) = visit.site.backend.log() else {
        return Answer::page(
            "Log",
            html! { p { "This node keeps no records of its log in memory." } },
        );
    };
    let (facility, contains) = (visit.param("facility"), visit.param("text"));
    let filter = Filter {
        facilities: facility
            .map(|names| names.split([',', ' ']).map(Into::into).collect())
            .unwrap_or_default(),
        contains: contains.unwrap_or_default().to_owned(),
    };
    let entries = tail.last(SHOWN, &filter);
    let known: std::collections::BTreeSet<String> = tail
        .last(usize::MAX, &Filter::default())
        .iter()
        .map(|it| it.record.facility().to_owned())
        .collect();
    Answer::live(
        "Log",
        html! {
            form method="get" action="/admin/log" role="search" {
                @if let Some(at) = visit.param("at") { input type="hidden" name="at" value=(at); }
                label for="facility" { "Facility" }
                input #facility name="facility" list="facilities" value=(facility.unwrap_or_default()) autocomplete="off";
                datalist #facilities { @for name in &known { option value=(name) {} } }
                label for="text" { "Text in it" }
                input #text name="text" value=(contains.unwrap_or_default()) autocomplete="off";
                " " button { "Show" }
            }
        },
        html! {
            @if entries.is_empty() { p { "No record of the " (tail.next_sequence()) " so far is like that, or is still held." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="Records" { table.log {
                    caption { "The newest first" }
                    thead { tr { th.num scope="col" { "#" } th scope="col" { "Time" } th scope="col" { "Record" } } }
                    tbody { @for entry in entries.iter().rev() { tr {
                        td.num { (entry.sequence) }
                        td.num { (text::time(entry.record.time)) }
                        td.mono.break { (text::items(&entry.record.items, false)) }
                    } } }
                } }
            }
        },
    )
}
