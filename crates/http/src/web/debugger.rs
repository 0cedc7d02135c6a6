//! The scripts of an input, step by step, with both stacks.

use std::ops::ControlFlow;

use caesure_consensus::Coin;
use caesure_script::{
    End, Failure, Flags, Instructions, ScriptSource, Step, TxContext, disassemble,
};
use caesure_wire::OutputView;
use maud::{Markup, html};

use super::describe::{cut, hash_type, input, output, short};
use super::transaction::Found;
use super::{Answer, Answered, Fault, Visit, text};

/// How many items of a stack, from its top, and how many instructions around the current one.
const ITEMS: usize = 40;
const AROUND: usize = 40;
/// How many conditionals are shown.
const CONDITIONS: usize = 40;

/// What is kept of the machine before an instruction.
struct Frame {
    source: ScriptSource,
    script: Vec<u8>,
    position: usize,
    stack: Stack,
    alt_stack: Stack,
    conditions: Vec<bool>,
    depth: usize,
    is_skipped: bool,
    ops_left: Option<usize>,
    code_start: usize,
}

/// The top of a stack, topmost first, and how many items it has.
struct Stack {
    top: Vec<(String, Option<String>)>,
    len: usize,
}

impl Stack {
    fn new(items: &[impl AsRef<[u8]>], source: ScriptSource) -> Self {
        let is_taproot = source == ScriptSource::Tapscript;
        let item = |item: &[u8]| (short(item), hash_type(item, is_taproot));
        let item = |bytes: &_| item(AsRef::as_ref(bytes));
        Self { top: items.iter().rev().take(ITEMS).map(item).collect(), len: items.len() }
    }
}

impl Frame {
    fn new(step: &Step<'_>) -> Self {
        Self {
            source: step.source,
            script: step.script.to_vec(),
            position: step.instruction.position,
            stack: Stack::new(step.stack, step.source),
            alt_stack: Stack::new(step.alt_stack, step.source),
            conditions: step.conditions.iter().take(CONDITIONS).copied().collect(),
            depth: step.conditions.len(),
            is_skipped: step.is_skipped(),
            ops_left: step.ops_left(),
            code_start: step.code_start,
        }
    }
}

/// A run of all scripts of an input.
struct Run {
    /// The machine before the step that is looked at; none when the run is at its end.
    frame: Option<Frame>,
    steps: usize,
    /// Each script that ran, the step that it began with, and its bytes.
    scripts: Vec<(ScriptSource, usize, usize)>,
    result: Result<(), Failure>,
    /// What the last one left.
    end: Option<End>,
}

impl Run {
    fn new(context: &TxContext<'_>, index: usize, flags: Flags, wanted: usize) -> Self {
        let (mut frame, mut steps) = (None, 0);
        let mut scripts: Vec<(ScriptSource, usize, usize)> = Vec::new();
        let (flow, end) = context.trace_input_to_end(index, flags, &mut |step| {
            if scripts.last().is_none_or(|(source, ..)| *source != step.source) {
                scripts.push((step.source, steps, step.script.len()));
            }
            if steps == wanted {
                frame = Some(Frame::new(step));
            }
            steps += 1;
            ControlFlow::Continue(())
        });
        let ControlFlow::Continue(result) = flow else { unreachable!("it is never stopped") };
        Self { frame, steps, scripts, result, end }
    }
}

pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    let (Some(block), Some(txid), Some(input), None) =
        (visit.arg(0), visit.arg(1), visit.arg(2), visit.arg(3))
    else {
        let text = "The debugger's address is debug/BLOCK/TXID/INPUT. A transaction's page has a link \
                    to it beside each input.";
        return Err(Fault::not_found(text));
    };
    let found = Found::new(visit, block, txid)?;
    let tx = found.tx();
    let count = tx.input_count();
    let index = input.parse().ok().filter(|index| *index < count);
    let index: usize = index.ok_or_else(|| {
        Fault::not_found(match count {
            1 => "The transaction has one input, number 0.".to_owned(),
            _ => format!("The transaction's inputs have numbers from 0 to {}.", count - 1),
        })
    })?;
    if tx.is_coinbase() {
        return Err(Fault::not_found(
            "A coinbase spends nothing: its input has no scripts that run.",
        ));
    }
    let coins: Option<Vec<&Coin>> = found.coins.iter().map(Option::as_ref).collect();
    let Some(coins) = coins else {
        let text = "Not all coins that this transaction spends are known, and signatures may depend on \
                    them all: they were never there, or the world of the block's parent is no longer held.";
        return Err(Fault::not_found(text));
    };
    let wanted = visit.param("step").unwrap_or("0");
    let wanted = if wanted == "end" { Some(usize::MAX) } else { wanted.parse().ok() };
    let wanted = wanted.ok_or_else(|| Fault::bad("step is a number, or end."))?;
    let spent: Vec<OutputView<'_>> = coins.iter().map(|coin| coin.output()).collect();
    let run = Run::new(&TxContext::new(tx, &spent), index, found.place.flags, wanted);
    let body = html! {
        (about(visit, &found, index, coins[index]))
        (verdict(&run.result))
        (steps(visit, &run, wanted))
        (machine(&run))
        (scripts(visit, &run))
        (witness(&found, index))
    };
    Answer::page(format!("Scripts of input {index}"), body)
}

fn about(visit: &Visit<'_>, found: &Found, index: usize, coin: &Coin) -> Markup {
    let prefixes = &found.place.params.address_prefixes;
    let tx = visit.link(&format!("tx/{}/{}", found.place.hash, found.txid));
    html! {
        p {
            "Input " b { (index) } " of transaction " a.hash href=(tx) { (found.txid) } " in block "
            (visit.block_link(&found.place.hash)) ", height " (found.place.height) "."
        }
        p { "It spends " (output(&coin.script_pubkey, prefixes)) " by " (input(found.tx(), index, Some(coin), prefixes)) "." }
        p.dim { "Flags: " span.mono.break { (found.place.flags) } }
    }
}

fn verdict(result: &Result<(), Failure>) -> Markup {
    html! {
        p role="status" {
            "Verdict: "
            @match result {
                Ok(()) => { b.good { "OK" } ", the input may spend the output." }
                Err(failure) => { b.bad { (failure.error.name()) } " – " (failure) "." }
            }
        }
    }
}

/// Links to other steps, which keep their place.
fn steps(visit: &Visit<'_>, run: &Run, wanted: usize) -> Markup {
    let at = wanted.min(run.steps);
    let link = |step: usize| step_link(visit, step);
    html! {
        nav.steps aria-label="Steps" #steps {
            @if 0 < at { a href=(link(0)) { "First" } a rel="prev" href=(link(at - 1)) { "Back" } }
            span {
                @if at < run.steps { "Step " b { (at) } " of " (run.steps) } @else { "The end, after " b { (text::count(run.steps, "step")) } }
            }
            @if at < run.steps { a rel="next" href=(link(at + 1)) { "Step" } a href=(link(run.steps)) { "End" } }
        }
    }
}

fn step_link(visit: &Visit<'_>, step: usize) -> String {
    let path = visit.address.strip_prefix("/admin/").unwrap_or_default();
    visit.link_with(path, &[("step", &step.to_string())]) + "#steps"
}

fn machine(run: &Run) -> Markup {
    let Some(frame) = &run.frame else {
        return html! {
            @if run.steps == 0 { p { "No instruction runs: the witness program alone decides." } }
            @else if run.result.is_ok() { p { "All scripts have run." } }
            @else { p { "The run has ended here: the verdict says why." } }
            @if let Some(End { source, stack: main, alt_stack }) = &run.end {
                p { "What the " (source) " has left:" }
                (stack("Stack", &Stack::new(main, *source)))
                (stack("Other stack", &Stack::new(alt_stack, *source)))
            }
        };
    };
    html! {
        p {
            "Next in the " b { (frame.source) } ", byte " (frame.position)
            @if frame.is_skipped { ", " b { "skipped" } ": it is in a branch that is not taken" }
            "."
        }
        div.row {
            (listing(frame))
            div {
                (stack("Stack", &frame.stack))
                (stack("Other stack", &frame.alt_stack))
                table {
                    caption { "State" }
                    tbody {
                        tr { th scope="row" { "Conditionals" } td { (conditions(frame)) } }
                        tr { th scope="row" { "Operations left" } td.num { (frame.ops_left.map_or_else(|| "no limit".to_owned(), |left| left.to_string())) } }
                        tr { th scope="row" { "Signed code from byte" } td.num { (frame.code_start) } }
                    }
                }
            }
        }
    }
}

fn conditions(frame: &Frame) -> String {
    if frame.depth == 0 {
        return "none open".to_owned();
    }
    let taken = |is_taken: &bool| if *is_taken { "taken" } else { "not taken" };
    let names: Vec<&str> = frame.conditions.iter().map(taken).collect();
    let more = if frame.conditions.len() < frame.depth { ", …" } else { "" };
    names.join(", ") + more
}

/// The instructions around the current one.
fn listing(frame: &Frame) -> Markup {
    let mut lines = Vec::new();
    let mut instructions = Instructions::new(&frame.script);
    let mut position = 0;
    let mut behind = 0;
    while let Some(item) = instructions.next() {
        let next = instructions.position().max(position);
        if frame.position < position {
            behind += 1;
        }
        lines.push(position..next);
        if position < frame.position && AROUND < lines.len() {
            lines.remove(0);
        }
        if item.is_err() || AROUND <= behind {
            break;
        }
        position = next;
    }
    html! {
        table.code {
            caption { (frame.source) ", " (text::count(frame.script.len(), "byte")) }
            thead { tr { th.num scope="col" { "Byte" } th scope="col" { "Instruction" } } }
            tbody { @for bytes in lines {
                tr aria-current=[(bytes.start == frame.position).then_some("step")] {
                    td.num { (bytes.start) }
                    td.mono.break {
                        @if bytes.start == frame.position { b { "▶ " } }
                        (cut(&disassemble(&frame.script[bytes])))
                    }
                }
            } }
        }
    }
}

fn stack(name: &str, stack: &Stack) -> Markup {
    html! {
        table.code {
            caption { (name) ", " (text::count(stack.len, "item")) ", the top first" }
            tbody {
                @for (index, (item, kind)) in stack.top.iter().enumerate() {
                    tr {
                        td.num { (stack.len - 1 - index) }
                        td.mono.break {
                            @if item.is_empty() { span.dim { "(empty)" } } @else { (item) }
                            @if let Some(kind) = kind { " " span.dim { "[" (kind) "]" } }
                        }
                    }
                }
                @if stack.top.is_empty() { tr { td colspan="2" { span.dim { "(nothing)" } } } }
                @if stack.top.len() < stack.len { tr { td colspan="2" { "and " (stack.len - stack.top.len()) " more" } } }
            }
        }
    }
}

fn scripts(visit: &Visit<'_>, run: &Run) -> Markup {
    html! {
        table {
            caption { "Scripts that run" }
            thead { tr { th scope="col" { "Script" } th.num scope="col" { "Bytes" } th.num scope="col" { "From step" } } }
            tbody { @for (source, step, size) in &run.scripts { tr {
                th scope="row" { (source) }
                td.num { (size) }
                td.num { a href=(step_link(visit, *step)) { (step) } }
            } } }
        }
    }
}

fn witness(found: &Found, index: usize) -> Markup {
    let items = found.tx().witness(index);
    let (count, shown) = (items.len(), items.take(ITEMS));
    html! {
        @if 0 < count {
            table.code {
                caption { "Witness, " (text::count(count, "item")) }
                tbody {
                    @for (at, item) in shown.enumerate() { tr {
                        td.num { (at) }
                        td.mono.break { @if item.is_empty() { "(empty)" } @else { (short(item)) } }
                    } }
                    @if ITEMS < count { tr { td colspan="2" { "and " (count - ITEMS) " more" } } }
                }
            }
        }
    }
}
