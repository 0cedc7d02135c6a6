//! Threads, and the queues between them.

use maud::html;

use super::text::{duration, size};
use super::{Answer, Answered, Visit};

pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    let (threads, resources) = (visit.site.backend.threads(), visit.site.backend.resources());
    Answer::page(
        "Threads",
        html! {
            p { "Memory: " b { (size(resources.memory)) } "." }
            div.scroll tabindex="0" role="region" aria-label="Queues" { table {
                caption { "Queues" }
                thead { tr { th scope="col" { "Queue" } th.num scope="col" { "Waiting" } th.num scope="col" { "Room" } } }
                tbody { @for queue in &resources.queues { tr {
                    th scope="row" { (queue.name) }
                    td.num { (queue.depth) }
                    td.num { (queue.capacity) }
                } } }
            } }
            div.scroll tabindex="0" role="region" aria-label="Threads" { table {
                caption { "Threads" }
                thead { tr {
                    th.num scope="col" { "#" } th scope="col" { "Name" } th scope="col" { "State" }
                    th.num scope="col" { "Time on a processor" }
                } }
                tbody { @for thread in &threads { tr {
                    td.num { (thread.id) }
                    th scope="row" { (thread.name) }
                    td { (thread.state) }
                    td.num { (duration(thread.busy)) }
                } } }
            } }
        },
    )
}
