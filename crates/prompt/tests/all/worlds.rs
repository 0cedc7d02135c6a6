use std::sync::Arc;
use std::sync::atomic::Ordering;

use caesure_prompt::{Command, Limits, Session};

use crate::node::{Node, session};
use crate::{fault, shown, type_in};

#[test]
fn a_line_reads_one_world_and_at_keeps_it() {
    let mut session = session();
    assert_eq!(type_in(&mut session, &["view().height", "view().is_pinned"]), "150\nfalse");
    assert_eq!(
        type_in(&mut session, &["at(120)", "db.last_block", "view().is_pinned"])
            .lines()
            .skip(1)
            .collect::<Vec<_>>(),
        ["120", "true"]
    );
    assert!(session.view().ends_with(" at 120"));
    assert!(fault(&mut session, "block(121)").contains("the tip read is at height 120"));
    assert_eq!(
        type_in(&mut session, &["blocks().len()", "at().height", "db.last_block"]),
        "121\n150\n150"
    );
}

#[test]
fn a_world_knows_its_coins_and_its_sums() {
    let lines = [
        "w = world()",
        "w.supply().issued == w.total + w.lost",
        "w.summary().total_amount == w.total",
        "w.summary().txouts == w.count",
        "c = w.coins(5)",
        "c.len()",
        "w.get(c[2].outpoint).value == c[2].value",
        "w.get(c[2].outpoint.txid.hex() + \":\" + c[2].outpoint.vout).height == c[2].height",
        "w.at(100).total < w.total",
        "world(\"tip-50\") == w.at(100)",
        "w.get(w.hash.hex() + \":0\")",
    ];
    assert_eq!(shown(&lines), "true\ntrue\ntrue\n5\ntrue\ntrue\ntrue\ntrue");
}

#[test]
fn two_worlds_differ_by_what_the_blocks_between_made_and_spent() {
    let lines = [
        "d = world(149).diff(world())",
        "s = 0; for c in d.added { s += c.value }; for c in d.removed { s -= c.value }",
        "s == world().total - world(149).total",
        "d.added.len() > 1 && d.removed.len() > 0",
        "e = world().diff(world(149)); e.added.len() == d.removed.len()",
    ];
    assert_eq!(shown(&lines), "true\ntrue\ntrue");
    assert!(fault(&mut session(), "world(0).diff(world())").contains("150 blocks apart"));
}

#[test]
fn a_block_is_tried_on_its_parents_world_and_nothing_is_kept() {
    let mut session = session();
    let lines = [
        "r = world(149).try_block(block(150))",
        "[r.valid, r.reason, r.height]",
        "r.fees == world().fees - world(149).fees",
    ];
    assert_eq!(type_in(&mut session, &lines), "[true, '', 150]\ntrue");
    assert!(fault(&mut session, "world(148).try_block(block(150))").contains("try it on world(\""));
    let cases = [
        // A byte of the last output's lock time, and of a signature, which no header names.
        ("h = block(150).raw.hex(); h = h.sub_string(0, h.len() - 2) + \"01\"", "bad-txnmrklroot"),
        ("h = block(150).raw.hex(); h = h.sub_string(0, h.len() - 2)", "cannot be decoded"),
        ("h = block(150).raw.hex(); h = \"ff\" + h.sub_string(2)", "high-hash"),
    ];
    for (line, reason) in cases {
        session.line(line);
        let shown = type_in(&mut session, &["world(149).try_block(h).reason"]);
        assert!(shown.contains(reason), "{shown}");
    }
    assert_eq!(type_in(&mut session, &["db.last_block"]), "150");
}

#[test]
fn a_transaction_is_tried_in_the_next_block_of_a_world() {
    let mut session = session();
    let lines = [
        "t = block(150).txs[1]",
        "r = world(149).try_tx(t)",
        "[r.valid, r.fee == t.fee, r.vsize == t.vsize]",
    ];
    assert_eq!(type_in(&mut session, &lines), "[true, true, true]");
    assert_eq!(
        type_in(&mut session, &["world().try_tx(t).reason"]),
        "'bad-txns-inputs-missingorspent'"
    );
    assert_eq!(
        type_in(&mut session, &["world().try_tx(block(150).txs[0]).reason"]),
        "'bad-cb-multiple'"
    );
    assert!(
        type_in(&mut session, &["world().try_tx(\"00\").reason"]).contains("cannot be decoded")
    );
    let lines = [
        "bad = \"\"",
        "for b in blocks(120, 151) { for t in b.txs { if t.inputs[0].script.len() > 60 && bad == \"\" { let h = t.raw.hex(); let s = t.inputs[0].script.hex(); let x = s.sub_string(0, 20) + \"00\" + s.sub_string(22); h.replace(s, x); bad = world(b.height - 1).try_tx(h).reason } } }",
        "bad",
    ];
    assert!(type_in(&mut session, &lines).contains("block-script-verify-flag-failed"));
}

#[test]
fn commands_are_told_to_the_node_and_can_be_switched_off() {
    let node = Arc::new(Node::new(2));
    let mut session = Session::new(node.clone(), Limits::default());
    let lines = [
        "connect(\"192.0.2.1\")",
        "disconnect(3)",
        "ban(\"192.0.2.0/24\", 60)",
        "unban(\"192.0.2.0/24\")",
        "ban(\"192.0.2.1\")",
        "save()",
        "stop()",
    ];
    assert_eq!(type_in(&mut session, &lines), ["'done'"; 7].join("\n"));
    let expected = [
        Command::Connect("192.0.2.1".into()),
        Command::Disconnect("3".into()),
        Command::Ban("192.0.2.0/24".into(), 60),
        Command::Unban("192.0.2.0/24".into()),
        Command::Ban("192.0.2.1".into(), 86_400),
        Command::Save,
        Command::Stop,
    ];
    assert_eq!(*node.commands.lock().unwrap(), expected);
    node.takes_commands.store(false, Ordering::Relaxed);
    assert!(fault(&mut session, "stop()").contains("switched off"));
    assert!(fault(&mut session, "ban(\"192.0.2.1\", 0)").contains("above 0"));
    assert_eq!(node.commands.lock().unwrap().len(), 7);
}

#[test]
fn rules_that_need_no_coins_and_those_of_lock_times_are_tried_too() {
    let empty = format!("0100000001{}0000000000ffffffff0000000000", "11".repeat(32));
    let mut session = session();
    session.line("h = block(150).txs[1].raw.hex(); w = world(149)");
    let cases = [
        (format!("w.try_tx(\"{empty}\").reason"), "bad-txns-vout-empty"),
        ("w.try_tx(h.sub_string(0, h.len() - 8) + \"ffffff7f\").reason".into(), "bad-txns-nonfinal"),
        (
            "h = \"02000000\" + h.sub_string(8); h.replace(\"fdffffff\", \"ffff0000\"); w.try_tx(h).reason".into(),
            "bad-txns-nonfinal",
        ),
    ];
    for (line, reason) in cases {
        assert_eq!(type_in(&mut session, &[&line]), format!("'{reason}'"), "{line}");
    }
    let lines = [
        "h = block(150).raw.hex(); r = \"high-hash\"",
        "for n in 10..60 { if r == \"high-hash\" { let x = h.sub_string(0, 136) + \"00000000\" + h.sub_string(144, 8) + n + h.sub_string(154); r = w.try_block(x).reason } }",
        "r",
    ];
    assert_eq!(type_in(&mut session, &lines), "'time-too-old'");
}

#[test]
fn a_world_that_is_not_held_is_refused_with_the_oldest_that_is() {
    let hash = shown(&["print(block(5).hash.hex())"]);
    let mut session = Session::new(Arc::new(Node::new(2)), Limits::default());
    let genesis = type_in(&mut session, &["print(block(0).hash.hex())"]);
    let fault = fault(&mut session, &format!("world(\"{hash}\")"));
    assert!(fault.ends_with(&format!("the oldest is {genesis} at height 0")), "{fault}");
    let above = crate::fault(&mut crate::node::session(), "world().at(151)");
    assert!(above.contains("the world is at height 150"), "{above}");
}
