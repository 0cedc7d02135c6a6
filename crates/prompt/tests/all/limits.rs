use std::time::Duration;

use caesure_prompt::{Limits, Session};

use crate::node::node;
use crate::{fault, type_in};

fn small() -> Limits {
    Limits {
        operations: 1_000_000,
        time: Duration::from_secs(3600),
        text: 100_000,
        list: 1_000,
        map: 1_000,
        memory: 100_000,
        depth: 16,
        variables: 32,
        blocks: 100_000,
        output: 10_000,
    }
}

/// Types a line that has no end; it ends with this error, and the session goes on.
fn check(line: &str, expected: &str) {
    let mut session = Session::new(node(), small());
    session.line("before = 5");
    let fault = fault(&mut session, line);
    assert!(fault.contains(expected), "{line}: {fault}");
    assert_eq!(type_in(&mut session, &["before"]), "5", "{line}");
}

#[test]
fn what_loops_for_ever_ends_by_its_operations() {
    check("loop { }", "more than 1000000 operations");
    check("while true { before += 0 }", "operations");
    check("for i in 0..9223372036854775807 { before += 0 }", "operations");
    check("loop { block(1) }", "operations");
    check("for i in 0..1000000 { blocks().count_txs() }", "operations");
}

#[test]
fn what_allocates_without_end_ends_by_its_size() {
    check("s = \"x\"; loop { s += s }", "Length of string");
    check("s = \"x\"; s.pad(1000000000, \"y\")", "Length of string");
    check("a = []; loop { a.push(1) }", "Size of array");
    check("a = [1]; loop { a += a }", "Size of array");
    check("a = []; a.pad(1000000000, 1)", "Size of array");
    check("a = []; loop { a = [a] }", "Size of array");
    check("b = blob(1000000000)", "Size of array");
    check("m = #{}; i = 0; loop { m[i.to_string()] = 1; i += 1 }", "a map has over");
    check(
        "a = [0, 0]; b = []; b.pad(900, 1); a.pad(900, 0); for i in 0..900 { a[i] = b }; loop { }",
        "variables hold over",
    );
    check("a = []; loop { a.push(|x| x) }", "Size of array");
    check("loop { let v = 1; }", "operations");
    check(
        "a = []; for i in 0..32 { a.push(\"x\".to_string() + i); }; s = \"\"; loop { s += a }",
        "Length of string",
    );
    check("loop { print(\"x\") }", "bytes printed");
    check("block(0).txs.map(|t| { loop { } })", "operations");
}

#[test]
fn a_function_holds_no_values_that_nobody_counts() {
    check("f = |x| x; f.curry(1)", "Expecting name");
    check("let big = \"x\"; fn g() { let v = 1; |x| v }; g().call(1)", "v");
}

#[test]
fn blocks_that_are_held_are_counted_by_their_bytes() {
    check(
        "a = []; loop { for b in blocks() { a.push(b) } }",
        "blocks and transactions of over 100000 bytes are held",
    );
    check("a = []; r = block(150).raw.hex(); loop { a.push(bytes(r)) }", "are held");
    // What is let go can be held again.
    let mut session = Session::new(node(), small());
    assert!(!session.line("for i in 0..50 { for b in blocks(100, 150) { b.len() } }").is_error());
}

#[test]
fn what_recurses_without_end_ends_by_its_depth() {
    check("fn f(x) { f(x) } f(1)", "overflow");
    check("fn f(x) { g(x) } fn g(x) { f(x) } f(1)", "overflow");
    let deep = format!("{}1{}", "(".repeat(1000), ")".repeat(1000));
    check(&deep, "omplex");
}

#[test]
fn what_reaches_out_is_not_there() {
    for line in
        ["eval(\"1\")", "import \"x\" as y;", "sleep(1000000)", "timestamp()", "open(\"x\")"]
    {
        let mut session = Session::new(node(), small());
        assert!(session.line(line).is_error(), "{line}");
    }
}

#[test]
fn a_line_ends_after_its_time() {
    let limits = Limits { operations: u64::MAX, time: Duration::from_secs(2), ..small() };
    let mut session = Session::new(node(), limits);
    assert!(fault(&mut session, "loop { }").contains("longer than 2 s"));
    assert!(fault(&mut session, "loop { blocks().count_txs() }").contains("longer than 2 s"));
}

#[test]
fn a_line_is_stopped_from_another_thread() {
    let limits = Limits { operations: u64::MAX, ..small() };
    for line in ["loop { }", "loop { blocks().sum_outputs() }", "loop { world().count }"] {
        let mut session = Session::new(node(), limits);
        let interrupt = session.interrupt();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    interrupt.stop();
                    std::thread::yield_now();
                }
            });
            let fault = fault(&mut session, line);
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(fault.contains("interrupted"), "{line}: {fault}");
        });
    }
}

#[test]
fn an_input_that_never_ends_is_refused() {
    let mut session = Session::new(node(), small());
    let line = "x".repeat(1000);
    session.line("[");
    let refused =
        (0..1000).find_map(|_| Some(session.line(&line)).filter(|reply| reply.is_error()));
    assert!(refused.unwrap().to_string().contains("too long"));
    assert_eq!(type_in(&mut session, &["1"]), "1");
}

/// What a line says under other limits.
fn said(limits: Limits, line: &str) -> String {
    Session::new(node(), limits).line(line).to_string()
}

#[test]
fn every_limit_is_one_by_itself() {
    let deep = |n| format!("fn f(x) {{ if x > 0 {{ f(x - 1) }} else {{ 7 }} }} f({n})");
    assert_eq!(said(small(), &deep(12)), "7\n");
    assert!(said(small(), &deep(17)).contains("overflow"));
    let many = |text: &dyn Fn(u32) -> String| (0..40).map(text).collect::<String>();
    let variables = many(&|n| format!("let a{n} = 0; "));
    assert!(said(small(), &variables).contains("Too many variables"));
    let functions = many(&|n| format!("fn f{n}() {{ }} "));
    assert!(said(small(), &functions).contains("functions"), "{}", said(small(), &functions));
    let texts = "a = \"x\"; a.pad(60000, \"y\"); b = a + \"\"; loop { a.len() }";
    assert!(said(small(), texts).contains("variables hold over"));
    let blobs = "a = blob(60000); b = blob(60000); loop { a.len() }";
    let long = Limits { list: 100_000, ..small() };
    assert!(said(long, blobs).contains("variables hold over"));
    let short = Limits { list: 100, ..small() };
    assert!(said(short, "blocks().list()").contains("more than 100 items"));
    let few = Limits { operations: 100, ..small() };
    assert!(said(few, "world().count").contains("more than 100 operations"));
    let brief = Limits { time: Duration::from_millis(50), ..small() };
    assert!(said(brief, "world().count").contains("longer than 0 s"));
}

#[test]
fn what_a_line_used_is_the_next_ones_again() {
    let mut session = Session::new(node(), Limits { operations: 600, ..small() });
    for _ in 0..9 {
        assert!(!session.line("blocks().count_txs()").is_error());
    }
    for _ in 0..99 {
        assert!(!session.line("let x = 1").is_error());
    }
    let interrupt = session.interrupt();
    interrupt.stop();
    assert!(fault(&mut session, "n = 0; for i in 0..100 { n += 1 }").contains("interrupted"));
    assert_eq!(type_in(&mut session, &["1"]), "1");
    interrupt.stop();
    session.cancel();
    assert_eq!(type_in(&mut session, &["n = 0; for i in 0..100 { n += 1 }", "2"]), "2");
}
