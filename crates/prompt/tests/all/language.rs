use caesure_prompt::{ENTRIES, Outcome};

use crate::node::{node, session};
use crate::{fault, shown, type_in};

#[test]
fn names_spring_up_by_assignment_and_the_last_value_has_one() {
    assert_eq!(shown(&["db.last_block"]), "150");
    assert_eq!(
        shown(&["db.last_block", "db.by_num(_)", "b = _", "b.height + 1"]).lines().last(),
        Some("151")
    );
    assert_eq!(shown(&["1 + 1", "_ * _", "a = _", "a"]), "2\n4\n4");
    assert_eq!(shown(&["let x = 3; x += 1; x"]), "4");
}

#[test]
fn a_statement_without_a_value_shows_nothing_and_leaves_the_last_value() {
    assert_eq!(shown(&["7", "x = 1", "()", "for i in 0..3 { }", "", "_"]), "7\n7");
}

#[test]
fn an_underscore_still_begins_the_default_case_of_a_switch() {
    assert_eq!(
        shown(&["5", "switch 1 { 1 => _, _ => 9 }", "switch 2 { 1 => _, _ => 9 }"]),
        "5\n5\n9"
    );
}

#[test]
fn an_input_goes_on_until_it_is_whole_or_an_empty_line_comes() {
    let mut session = session();
    assert_eq!(session.line("fn twice(x) {").outcome, Outcome::Incomplete);
    assert!(session.is_incomplete());
    assert_eq!(session.line("  x * 2").outcome, Outcome::Incomplete);
    assert_eq!(session.line("}").outcome, Outcome::Nothing);
    assert_eq!(type_in(&mut session, &["twice(21)"]), "42");
    assert_eq!(session.line("[1,").outcome, Outcome::Incomplete);
    assert!(matches!(session.line("").outcome, Outcome::Error(_)), "an empty line ends it");
    assert_eq!(session.line("[1,").outcome, Outcome::Incomplete);
    session.cancel();
    assert_eq!(type_in(&mut session, &["2"]), "2");
}

#[test]
fn an_expression_that_lacks_its_end_goes_on_and_one_that_is_wrong_does_not() {
    let mut session = session();
    for (first, rest, shown) in [
        ("1 +", "2", "3"),
        ("1 + // one and", "2", "3"),
        ("true &&", "false", "false"),
        ("block(3).", "height", "3"),
        ("switch 1", "{ _ => 3 }", "3"),
        ("x =", "3; x", "3"),
        ("fn three()", "{ 3 } three()", "3"),
        ("\"a\" + /* b */", "\"b\"", "'ab'"),
        ("if false { 3 } else", "{ 4 }", "4"),
    ] {
        assert_eq!(session.line(first).outcome, Outcome::Incomplete, "{first}");
        assert_eq!(type_in(&mut session, &[rest]), shown, "{first}");
    }
    assert_eq!(session.line("1 +").outcome, Outcome::Incomplete);
    assert_eq!(fault(&mut session, ""), "error at 2:1: Syntax error: Script is incomplete");
    for wrong in ["1 2", "\"open", ")", "1 + )", "1 +* 2", "let 3"] {
        assert!(matches!(session.line(wrong).outcome, Outcome::Error(_)), "{wrong}");
    }
}

#[test]
fn an_error_says_where_it_is_also_behind_an_underscore() {
    let mut session = session();
    session.line("1");
    assert_eq!(
        fault(&mut session, "_ + _ + nothing").split(':').take(2).collect::<Vec<_>>(),
        ["error at 1", "9"]
    );
    session.line("for i in 0..2 {");
    session.line("  blok(1)");
    let Outcome::Error(fault) = session.line("}").outcome else { panic!("it fails") };
    assert_eq!((fault.line, fault.column), (2, 3));
    assert!(fault.text.contains("is block meant?"), "{}", fault.text);
}

#[test]
fn an_unknown_name_suggests_the_nearest() {
    let mut session = session();
    session.line("treasure = 1");
    for (line, near) in [
        ("tresure", "treasure"),
        ("by_nun(1)", "by_num"),
        ("block(1).hieght", "height"),
        ("db.last_blok", "last_block"),
    ] {
        let fault = fault(&mut session, line);
        assert!(fault.ends_with(&format!("; is {near} meant?")), "{fault}");
    }
    for line in ["xyzzyplugh", "x = 1; x.y", "block(0) < block(1)", "blocks(\"a\")"] {
        assert!(!fault(&mut session, line).contains("meant"), "{line}");
    }
}

#[test]
fn a_call_that_does_not_fit_says_what_would() {
    let mut session = session();
    for (line, expected) in [
        ("bcrepr(\"a\")", "bcrepr(SATOSHI) does not take (text)"),
        ("block(0).txs.filter(5)", "LIST.filter(FUNCTION) does not take (LIST, number)"),
        ("by_nun(1)", "there is no function by_nun for (number); is by_num meant?"),
        ("block(0) + 1.5", "+ does not work on (BLOCK, fraction)"),
        ("block(0).foo", "there is no foo in a BLOCK"),
        ("block(1.5)", "a block is named by height, hash or tip-N, not by (fraction)"),
        ("parse_script(5)", "bytes, hexadecimal, an input or an output is wanted, not (number)"),
        ("compute_reward(-1)", "a height is from 0 to 4294967295"),
    ] {
        let fault = fault(&mut session, line);
        assert!(fault.ends_with(expected), "{line}: {fault}");
    }
}

#[test]
fn functions_see_the_variables_of_the_session() {
    let lines = [
        "h = 2",
        "blocks(0, 5).filter(|b| b.height > h).len()",
        "h = 3; blocks(0, 5).filter(|b| b.height > h).len()",
    ];
    assert_eq!(shown(&lines), "2\n1");
}

#[test]
fn every_entry_of_the_help_has_an_example_that_works_and_is_listed() {
    let all = shown(&["help()"]);
    let mut session = session();
    for entry in ENTRIES {
        assert!(all.contains(entry.form), "{}", entry.form);
        let reply = session.line(entry.example);
        assert!(
            !reply.is_error() && reply.outcome != Outcome::Incomplete,
            "{}: {reply}",
            entry.example
        );
        assert!(session.names().iter().any(|name| name == entry.name()));
        let line = format!("help(\"{}\")", entry.name());
        assert!(session.line(&line).printed.contains(entry.example), "{line}");
        session.line("at()");
    }
    node().commands.lock().unwrap().clear();
}

#[test]
fn blocks_are_named_by_height_hash_and_distance_from_the_tip() {
    let lines = [
        "block(147) == block(\"tip-3\")",
        "block(block(147).hash) == block(147)",
        "block(block(147).hash.hex()).height",
        "by_num(-1).height",
        "block(147).next[0].prev.height",
    ];
    assert_eq!(shown(&lines), "true\ntrue\n147\n150\n147");
    assert_eq!(
        shown(&["next(149)[0].prev_block == prev(150)", "len(db.num_block[10])"]),
        "true\n1"
    );
    let mut session = session();
    assert_eq!(
        fault(&mut session, "block(151)"),
        "error at 1:1: there is no block 151; the tip read is at height 150"
    );
}

#[test]
fn the_fee_is_what_is_spent_less_what_is_paid() {
    let lines = [
        "fees = 0",
        "for b in blocks() { for t in b.txs { fees += t.fee } }",
        "fees == world().fees",
        "fees > 0",
        "s = 0; for i in block(150).txs[1].inputs { s += i.spent.value }",
        "s - block(150).txs[1].value == block(150).txs[1].fee",
    ];
    assert_eq!(shown(&lines), "true\ntrue\ntrue");
}

#[test]
fn a_native_fold_gives_what_the_interpreter_adds_up() {
    let lines = [
        "r = blocks(100, 151)",
        "n = 0; v = 0; i = 0; w = 0",
        "for b in r { n += b.len(); for t in b.txs { v += t.value; i += t.inputs.len(); w += t.size } }",
        "[r.count_txs() - n, r.sum_outputs() - v, r.count_inputs() - i, r.sum_size() - w]",
        "blocks(3, 3).count_txs()",
    ];
    assert_eq!(shown(&lines), "[0, 0, 0, 0]\n0");
    let mut session = session();
    assert!(fault(&mut session, "blocks(0, 2).fold_native(\"x\")").contains("lock_bytes"));
    assert!(fault(&mut session, "blocks(0, 152)").contains("no height 151"));
    assert!(fault(&mut session, "block(0).txs.count_txs()").contains("ranges"));
}

#[test]
fn scripts_have_the_originals_forms() {
    let script = "5163526751676168536100";
    let line = format!("p = parse_script(\"{script}\"); p");
    let tuples = "[(0, '\\x01', 0), (1, True, [(0, '\\x02', 0)], [(0, '\\x01', 0)], [(2, 97)]), (0, '\\x03', 0), (2, 97), (0, '', 0)]";
    let names = "['0x01', ['IF', '0x02', 'ELSE', '0x01', 'ELSE', 'OP_NOP'], '0x03', 'OP_NOP', '']";
    let lines = [
        &line[..],
        "pprint_script(_)",
        "unparse_script(p).hex()",
        "p[1][2]",
        "p[1][1]",
        "p[0][1]",
        "p.len()",
    ];
    let expected = format!("{tuples}\n{names}\n'{script}'\n[(0, '\\x02', 0)]\ntrue\n'\\x01'\n5");
    assert_eq!(shown(&lines), expected);
    assert_eq!(shown(&["parse_script(\"abacbb\")"]), "[(4,), (3, 172, '\\xac\\xbb'), (2, 187)]");
    assert_eq!(shown(&["pprint_script(\"646768\")"]), "[['NOTIF', 'ELSE']]");
    let mut session = session();
    assert!(fault(&mut session, "parse_script(\"63\")").starts_with("error at 1:1: "));
}

#[test]
fn a_script_of_a_million_nested_branches_harms_nobody() {
    let mut session = session();
    session.line("s = \"63\"; for i in 0..19 { s += s }");
    session.line("e = \"68\"; for i in 0..19 { e += e }");
    assert!(!session.line("len(parse_script(s + e))").is_error());
    assert!(!session.line("p = parse_script(s + e)[0][2]; pprint_script(p)").is_error());
}

#[test]
fn what_is_not_text_is_shown_without_what_moves_a_cursor() {
    assert_eq!(shown(&["\"a\\u001b[2Jb\""]), "'a\\x1b[2Jb'");
    assert_eq!(
        shown(&["[\"it's\", 1, true, 1.5, #{a: [()]}]"]),
        "[\"it's\", 1, true, 1.5, #{a: [()]}]"
    );
}

#[test]
fn the_node_tells_of_its_peers_its_counters_and_its_log() {
    assert_eq!(
        shown(&["peers()[0].address", "peers()[0].in_flight", "peers()[0].ping"]),
        "'192.0.2.7:18444'\n[7, ()]\n0.25"
    );
    assert_eq!(
        shown(&["log(9, \"peer\")", "log(1)"]),
        "['peer 3 connected', 'peer 3 version']\n['peer 3 version']"
    );
    assert!(shown(&["counters().headers > 150"]).ends_with("true"));
}

#[test]
fn parts_of_scripts_say_how_they_are_pushed_and_what_is_checked() {
    let lines = [
        "parse_script(\"4c0105\")[0][2]",
        "parse_script(\"4d010005\")[0][2]",
        "parse_script(\"4e0100000005\")[0][2]",
        "s = \"4b\"; s.pad(152, \"0\"); parse_script(s)[0][2]",
        "parse_script(\"abacbb\")[1]",
        "parse_script(\"abacbb\")[0]",
        "unparse_script(parse_script(\"4c0105\"), true).hex()",
    ];
    assert_eq!(shown(&lines), "2\n3\n4\n1\n[3, 172, '\\xac\\xbb']\n[4]\n'55'");
    let branch = "unparse_script(parse_script(\"516368\")[1][2])";
    assert!(fault(&mut session(), branch).contains("a branch is not a script"));
}

#[test]
fn every_field_is_added_up_natively_as_by_the_interpreter() {
    let lines = [
        "r = blocks(100, 151); o = 0; l = 0; u = 0; w = 0",
        "for b in r { for t in b.txs { o += t.outputs.len(); for it in t.outputs { l += it.script.len() } for it in t.inputs { u += it.script.len(); w += it.witness.len() } } }",
        "[r.count_outputs() - o, r.fold_native(\"lock_bytes\") - l, r.fold_native(\"unlock_bytes\") - u, r.fold_native(\"witness_items\") - w]",
        "[blocks(-3, -1).len(), blocks(0, -1).len(), blocks(151).len()]",
        "block(0).txs[-1].is_coinbase",
    ];
    assert_eq!(shown(&lines), "[0, 0, 0, 0]\n[2, 150, 0]\ntrue");
}

#[test]
fn what_is_no_script_is_dumped_as_hexadecimal_and_long_lists_are_cut() {
    let tx = format!(
        "01000000 01{}ffffffff 0163ffffffff 010000000000000000 0163 00000000",
        "00".repeat(32)
    );
    let dumped = shown(&[&format!("tx(\"{}\").dump()", tx.replace(' ', ""))]);
    assert_eq!(dumped.matches("'63'").count(), 2, "{dumped}");
    assert_eq!(shown(&["bcrepr(-1)"]), "'-0.00000001'");
    assert!(shown(&["world().coins(101)"]).ends_with(", and 1 more]"));
}

#[test]
fn branches_are_told_apart() {
    let lines = [
        "bad = 0",
        "for h in 0..150 { for name in db.num_block[h] { for n in next(name) { if n.prev_block != name { bad += 1 } } } }",
        "bad",
        "for t in tips() { if !t.is_read { print(t.fork_height < t.height) } }",
    ];
    let shown = shown(&lines);
    assert!(shown.starts_with("0\ntrue") && !shown.contains("false"), "{shown}");
}

#[test]
fn constants_stay_and_names_without_a_value_do_not() {
    let mut session = session();
    session.line("const K = 1");
    assert!(session.line("K = 2").is_error());
    session.line("gone = 1");
    session.line("gone = ()");
    assert!(session.line("gone").is_error());
}
