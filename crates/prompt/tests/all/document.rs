//! docs/prompt.md: what it shows is what comes.

use std::path::Path;

use caesure_prompt::ENTRIES;

use crate::node::session;

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/prompt.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_transcript_of_the_document_is_what_a_session_shows() {
    let document = document();
    let mut lines_typed = 0;
    for (at, part) in document.split("```").enumerate() {
        let Some(transcript) = part.strip_prefix("text\n>>> ").filter(|_| at % 2 == 1) else {
            continue;
        };
        let mut session = session();
        let mut shown = String::new();
        for line in format!(">>> {transcript}").lines() {
            let typed = line.strip_prefix(">>> ").or_else(|| line.strip_prefix("... "));
            let Some(typed) = typed.or_else(|| matches!(line, ">>>" | "...").then_some("")) else {
                continue;
            };
            shown.push_str(if session.is_incomplete() { "... " } else { ">>> " });
            shown.push_str(typed);
            shown = format!("{}\n{}", shown.trim_end(), session.line(typed));
            lines_typed += 1;
        }
        assert_eq!(shown, format!(">>> {transcript}"));
    }
    assert!(40 < lines_typed, "{lines_typed}");
}

#[test]
fn the_document_lists_what_the_prompt_has_and_nothing_else() {
    let document = document();
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<&str> = rows.collect();
    let expected: Vec<String> = ENTRIES
        .iter()
        .map(|it| {
            format!("| `{}` | {} | `{}` |", it.form, it.about, it.example.replace('|', "\\|"))
        })
        .collect();
    assert_eq!(rows, expected);
}
