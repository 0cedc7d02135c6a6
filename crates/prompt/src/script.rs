use std::fmt;
use std::sync::Arc;

use caesure_script::{
    Form, ParsedScript, address, assemble, classify, decode_number, disassemble, is_unspendable,
    parse_address, parse_script, push_int, push_kind, push_slice, unparse_script,
};
use caesure_text::hex;
use rhai::{Array, Dynamic, Engine, INT};

use crate::context::{Context, Res, fail, told};
use crate::help::plain;
use crate::show::quoted_bytes;
use crate::values::{Bytes, InputValue, OutputValue, index_of, int};

/// A parsed script, or a branch of one: nested tuples, or names of opcodes.
#[derive(Clone, Debug)]
pub(crate) struct Forms {
    script: Bytes,
    body: usize,
    is_pretty: bool,
}

impl Forms {
    fn parsed(&self) -> Res<ParsedScript<'_>> {
        parse_script(&self.script.bytes).map_err(told)
    }

    fn len(&self) -> Res<INT> {
        Ok(int(self.parsed()?.bodies()[self.body].len()))
    }

    fn at(&self, context: &Context, index: INT) -> Res<Dynamic> {
        let parsed = self.parsed()?;
        let forms = &parsed.bodies()[self.body];
        let form = &forms[index_of(index, forms.len())?];
        let body = |body: &usize| Dynamic::from(Self { body: *body, ..self.clone() });
        Ok(match form {
            Form::Conditional(sense, bodies) => {
                let head = [Dynamic::from_int(1), Dynamic::from_bool(*sense)];
                head.into_iter().chain(bodies.iter().map(body)).collect::<Array>().into()
            }
            form if self.is_pretty => Dynamic::from(name_of(form)),
            Form::Push(data, opcode) => Dynamic::from_array(vec![
                Dynamic::from_int(0),
                Dynamic::from(context.bytes(*data)?),
                int(push_kind(*opcode)).into(),
            ]),
            Form::Op(opcode) => {
                Dynamic::from_array(vec![Dynamic::from_int(2), int(*opcode).into()])
            }
            Form::CheckSig(opcode, code) => Dynamic::from_array(vec![
                Dynamic::from_int(3),
                int(*opcode).into(),
                Dynamic::from(context.bytes(*code)?),
            ]),
            Form::CodeSeparator => Dynamic::from_array(vec![Dynamic::from_int(4)]),
        })
    }
}

/// What `pprint_script` calls a form that holds no branches.
fn name_of(form: &Form<'_>) -> String {
    let opcode = match form {
        Form::Push([], _) => return String::new(),
        Form::Push(data, _) => return format!("0x{}", hex::encode(data)),
        Form::Op(opcode) | Form::CheckSig(opcode, _) => *opcode,
        _ => caesure_script::opcode::OP_CODESEPARATOR,
    };
    match caesure_script::opcode::name(opcode) {
        "OP_UNKNOWN" => format!("OP_INVALID_{opcode:02x}"),
        name => name.to_owned(),
    }
}

/// As the original printed them. Without recursion, so that no depth exhausts the call stack.
impl fmt::Display for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It was parsed before.
        let Ok(parsed) = self.parsed() else { return Err(fmt::Error) };
        let body = |index: usize| parsed.bodies().get(index).map_or(&[][..], Vec::as_slice).iter();
        let mut open = vec![(body(self.body), &[][..])];
        let mut separator = "";
        write!(f, "[")?;
        while let Some((forms, branches)) = open.last_mut() {
            match (forms.next(), *branches) {
                (Some(Form::Conditional(sense, bodies)), _) => {
                    match (self.is_pretty, *sense) {
                        (true, true) => write!(f, "{separator}['IF'")?,
                        (true, false) => write!(f, "{separator}['NOTIF'")?,
                        (false, true) => write!(f, "{separator}(1, True, [")?,
                        (false, false) => write!(f, "{separator}(1, False, [")?,
                    }
                    let (first, rest) = bodies.split_first().ok_or(fmt::Error)?;
                    open.push((body(*first), rest));
                    separator = if self.is_pretty { ", " } else { "" };
                }
                (Some(form), _) => {
                    write!(f, "{separator}")?;
                    self.write_form(f, form)?;
                    separator = ", ";
                }
                (None, [next, rest @ ..]) => {
                    (*forms, *branches) = (body(*next), rest);
                    write!(f, "{}", if self.is_pretty { ", 'ELSE'" } else { "], [" })?;
                    separator = if self.is_pretty { ", " } else { "" };
                }
                (None, []) => {
                    open.pop();
                    separator = ", ";
                    write!(f, "{}", if self.is_pretty || open.is_empty() { "]" } else { "])" })?;
                }
            }
        }
        Ok(())
    }
}

impl Forms {
    fn write_form(&self, f: &mut fmt::Formatter<'_>, form: &Form<'_>) -> fmt::Result {
        match form {
            form if self.is_pretty => write!(f, "'{}'", name_of(form)),
            Form::Push(data, opcode) => {
                write!(f, "(0, {}, {})", quoted_bytes(data), push_kind(*opcode))
            }
            Form::CheckSig(opcode, code) => write!(f, "(3, {opcode}, {})", quoted_bytes(code)),
            Form::Op(opcode) => write!(f, "(2, {opcode})"),
            _ => write!(f, "(4,)"),
        }
    }
}

/// The script that a value is or has: bytes, hexadecimal, an input's or an output's.
pub(crate) fn script_of(context: &Context, value: &Dynamic) -> Res<Bytes> {
    if let Some(bytes) = value.read_lock::<Bytes>() {
        Ok(bytes.clone())
    } else if let Some(InputValue(tx, at)) = value.clone().try_cast() {
        context.bytes(tx.view().input(at).script_sig)
    } else if let Some(OutputValue(tx, at)) = value.clone().try_cast() {
        context.bytes(tx.view().output(at).script_pubkey)
    } else if value.is_string() {
        bytes_of(context, &value.to_string())
    } else {
        fail(format!(
            "bytes, hexadecimal, an input or an output is wanted, not ({})",
            plain(value.type_name())
        ))
    }
}

fn bytes_of(context: &Context, text: &str) -> Res<Bytes> {
    let bytes = hex::decode(text.trim().trim_start_matches("0x"));
    context.bytes(bytes.map_err(|error| told(format!("not hexadecimal: {error}")))?)
}

/// Teaches the interpreter scripts.
pub(crate) fn register(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    let c = with();
    engine.register_type_with_name::<Forms>("SCRIPT").register_type_with_name::<Bytes>("BYTES");
    engine.register_fn("parse_script", move |it: Dynamic| -> Res<Forms> {
        let script = script_of(&c, &it)?;
        parse_script(&script.bytes).map_err(told)?;
        Ok(Forms { script, body: 0, is_pretty: false })
    });
    let c = with();
    engine.register_fn("pprint_script", move |it: Dynamic| -> Res<Forms> {
        if let Some(forms) = it.read_lock::<Forms>() {
            return Ok(Forms { is_pretty: true, ..forms.clone() });
        }
        let script = script_of(&c, &it)?;
        parse_script(&script.bytes).map_err(told)?;
        Ok(Forms { script, body: 0, is_pretty: true })
    });
    let c = with();
    let unparse = move |forms: Forms, is_minimal: bool| match forms.body {
        0 => c.bytes(unparse_script(&forms.parsed()?, is_minimal)),
        _ => fail("a branch is not a script; unparse_script takes the whole"),
    };
    let exact = unparse.clone();
    engine.register_fn("unparse_script", unparse);
    engine.register_fn("unparse_script", move |forms: Forms| exact(forms, false));
    engine.register_fn("len", |forms: &mut Forms| forms.len());
    let c = with();
    engine.register_indexer_get(move |forms: &mut Forms, at: INT| forms.at(&c, at));
    register_bytes(engine, context);
    register_texts(engine, context);
}

fn register_bytes(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    let c = with();
    engine.register_fn("bytes", move |text: &str| bytes_of(&c, text));
    engine.register_fn("hex", |it: &mut Bytes| hex::encode(&it.bytes));
    engine.register_fn("len", |it: &mut Bytes| int(it.bytes.len()));
    engine.register_fn("==", |a: Bytes, b: Bytes| a.bytes == b.bytes);
    engine.register_fn("!=", |a: Bytes, b: Bytes| a.bytes != b.bytes);
    engine.register_indexer_get(|it: &mut Bytes, at: INT| -> Res<INT> {
        Ok(it.bytes[index_of(at, it.bytes.len())?].into())
    });
    let c = with();
    engine.register_fn("dhash", move |it: Dynamic| -> Res<Bytes> {
        c.bytes(caesure_hash::sha256d(&script_of(&c, &it)?.bytes))
    });
    let c = with();
    engine.register_fn("rhash", move |it: Dynamic| -> Res<Bytes> {
        c.bytes(caesure_hash::hash160(&script_of(&c, &it)?.bytes))
    });
    let c = with();
    engine.register_fn("make_push_str", move |it: Dynamic| -> Res<Bytes> {
        let mut script = Vec::new();
        push_slice(&mut script, &script_of(&c, &it)?.bytes);
        c.bytes(script)
    });
    let c = with();
    engine.register_fn("make_push_int", move |number: INT| -> Res<Bytes> {
        let mut script = Vec::new();
        push_int(&mut script, number);
        c.bytes(script)
    });
    let c = with();
    engine.register_fn("render_int", move |number: INT| {
        c.bytes(caesure_script::encode_number(number))
    });
    let c = with();
    engine.register_fn("unrender_int", move |it: Dynamic| -> Res<INT> {
        decode_number(&script_of(&c, &it)?.bytes, false, 8).map_err(told)
    });
}

fn register_texts(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    let c = with();
    engine.register_fn("asm", move |it: Dynamic| -> Res<String> {
        Ok(disassemble(&script_of(&c, &it)?.bytes))
    });
    let c = with();
    engine.register_fn("assemble", move |text: &str| c.bytes(assemble(text).map_err(told)?));
    let c = with();
    engine.register_fn("address", move |it: Dynamic| -> Res<Dynamic> {
        let found = address(&script_of(&c, &it)?.bytes, &c.source.params().address_prefixes);
        Ok(found.map_or(Dynamic::UNIT, Into::into))
    });
    let c = with();
    engine.register_fn("lock_script", move |text: &str| {
        let script = parse_address(text, &c.source.params().address_prefixes);
        c.bytes(script.map_err(told)?)
    });
    let c = with();
    engine.register_fn("script_type", move |it: Dynamic| -> Res<String> {
        Ok(classify(&script_of(&c, &it)?.bytes).name().to_owned())
    });
    let c = with();
    engine.register_fn("is_unspendable", move |it: Dynamic| -> Res<bool> {
        Ok(is_unspendable(&script_of(&c, &it)?.bytes))
    });
}
