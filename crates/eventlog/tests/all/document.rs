use std::fs;

use caesure_eventlog::{Class, Event};

/// The tables of docs/event-log.md, as the types have them.
fn tables() -> String {
    let mut text = String::new();
    for shape in Event::SHAPES {
        let name = if shape.name.is_empty() { String::new() } else { format!(" `{}`", shape.name) };
        text += &format!(
            "\n### `{}`{name}\n\n{}{}\n",
            shape.facility,
            shape.doc.trim(),
            match shape.class {
                Class::Rare => "",
                Class::Told => " *At a terminal in words.*",
                Class::Peer => " *Limited in rate.*",
                Class::Often => " *Limited in rate; at a terminal with `-v` alone.*",
                Class::Trace => " *At request.*",
            }
        );
        if !shape.fields.is_empty() {
            text += "\n| item | type | meaning |\n|---|---|---|\n";
        }
        for (field, kind, doc) in shape.fields {
            text += &format!("| {} | {kind} | {} |\n", field.replace('_', " "), doc.trim());
        }
    }
    text
}

#[test]
fn the_document_has_the_shape_of_every_event() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/event-log.md");
    let text = fs::read_to_string(path).unwrap();
    let (before, _) = text.split_once("\n### ").expect("there is a table");
    let made = format!("{before}{}", tables());
    if std::env::var_os("CAESURE_BLESS").is_some() {
        fs::write(path, &made).unwrap();
    } else {
        assert!(text == made, "docs/event-log.md is old: CAESURE_BLESS=1 writes it anew");
    }
}

#[test]
fn no_two_events_have_the_same_beginning() {
    let mut names: Vec<_> = Event::SHAPES.iter().map(|it| (it.facility, it.name)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
