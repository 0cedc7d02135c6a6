//! The frame that all pages share.

use maud::{DOCTYPE, Markup, html};

use super::visit::address;
use super::{Fault, Group, PAGES, Visit};

/// The look of all pages.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The script of all pages: without it they say the same, and stand still.
pub(crate) const SCRIPT: &str = include_str!("live.js");

/// The sign of all pages: a stroke between the halves of a verse.
pub(crate) const ICON: &str = include_str!("icon.svg");

/// The longest time after which a page may be asked to load itself again, in seconds.
const REFRESH_MAX: u32 = 3600;

/// Puts a page into the frame.
pub(crate) fn frame(visit: &Visit<'_>, title: &str, [still, body]: &[Markup; 2]) -> Markup {
    let refresh = visit.param("refresh").and_then(|text| text.parse::<u32>().ok());
    let refresh = refresh.map(|seconds| seconds.clamp(1, REFRESH_MAX));
    let events = visit.page.is_live.then(|| events(visit));
    whole(
        title,
        refresh,
        &html! {
            (menu(visit, "Menu"))
            main #main {
                h1 { (title) }
                (still)
                div #live data-events=[events] { (body) }
            }
            (menu(visit, "Menu, below"))
            (footer(visit, refresh))
        },
    )
}

/// The address of the events that keep a page as it is now.
fn events(visit: &Visit<'_>) -> String {
    let kept = visit.query.iter().map(|(name, value)| (&**name, &**value));
    address("/admin/events", [("of", &*visit.address)].into_iter().chain(kept))
}

/// Says why there is no page, in a frame that needs no world.
pub(crate) fn fault(fault: &Fault) -> Markup {
    whole(
        "No such page",
        None,
        &html! {
            nav aria-label="Menu" { ul { li { a href="/admin/" { "Status" } } } }
            main #main {
                h1 { "This cannot be shown" }
                p.fault role="alert" { (fault.text) }
            }
        },
    )
}

fn whole(title: &str, refresh: Option<u32>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); }
                title { (title) " – Caesure" }
                link rel="icon" href="/favicon.ico" type="image/svg+xml";
                link rel="stylesheet" href="/admin/style.css";
                script src="/admin/live.js" defer {}
            }
            body {
                a.skip href="#main" { "To the content" }
                (body)
            }
        }
    }
}

fn menu(visit: &Visit<'_>, label: &str) -> Markup {
    html! {
        nav aria-label=(label) {
            @for group in [Group::Node, Group::Chain, Group::Tools] {
                ul {
                    @for page in PAGES.iter().filter(|page| page.group == group) {
                        @let current = (page.name == visit.page.name).then_some("page");
                        li { a href=(visit.link(page.name)) aria-current=[current] { (page.label) } }
                    }
                }
            }
        }
    }
}

/// Names the world that the page is of, and offers to stay with it, or to follow the tip.
fn footer(visit: &Visit<'_>, refresh: Option<u32>) -> Markup {
    let info = visit.world.info();
    let pinned = info.hash.to_string();
    let without = |left_out: &'static str, more: &[(&str, &str)]| {
        let kept = visit.query.iter().filter(|(name, _)| name != left_out);
        let kept = kept.map(|(name, value)| (&**name, &**value));
        address(&visit.address, kept.chain(more.iter().copied()))
    };
    html! {
        footer {
            p {
                "World at height " b { (info.height) } ", block " (visit.block_link(&info.hash)) ". "
                @if visit.param("at").is_some() {
                    a href=(without("at", &[])) { "Follow the tip" }
                } @else {
                    a href=(without("at", &[("at", &pinned)])) { "Stay with this world" }
                }
                " · "
                @if refresh.is_some() {
                    a href=(without("refresh", &[])) { "Stop loading again" }
                } @else {
                    a href=(without("refresh", &[("refresh", "5")])) { "Load again every 5 seconds" }
                }
            }
        }
    }
}
