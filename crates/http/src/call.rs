//! One call of a method: its arguments, and the view of the chain that it reads.

use std::str::FromStr;
use std::sync::Arc;

use caesure_consensus::{HeaderId, HeaderTree, Params};
use caesure_engine::{Command, CommandError, Engine};
use caesure_ledger::World;
use caesure_p2p::Now;
use caesure_text::hex;
use caesure_wire::BlockHash;
use serde_json::Value;

use crate::Backend;
use crate::backend;
use crate::error::{Answer, RpcError, code, fail};
use crate::table::{Method, type_name};

/// What lasts over the calls of a batch.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The world that the first read found at the tip.
    pub(crate) pin: Option<World>,
    /// The height and the hash of the world that was read last.
    pub(crate) view: Option<(u32, BlockHash)>,
}

/// A call.
pub(crate) struct Call<'a> {
    pub(crate) backend: &'a Arc<dyn Backend>,
    pub(crate) session: &'a mut Session,
    pub(crate) method: &'static Method,
    pub(crate) args: Vec<Value>,
    pub(crate) at: Option<Value>,
}

impl Call<'_> {
    /// Looks into the engine.
    pub(crate) fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine, Now) -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        let found = backend::look(&**self.backend, look);
        found.ok_or_else(|| RpcError::new(code::CLIENT_NOT_CONNECTED, "Shutting down"))
    }

    /// Looks into the header tree.
    pub(crate) fn tree<T: Send + 'static>(
        &self,
        look: impl FnOnce(&HeaderTree) -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        self.look(move |engine, _| look(engine.sync().tree()))
    }

    /// Returns the parameters of the network.
    pub(crate) fn params(&self) -> Result<Params, RpcError> {
        self.tree(|tree| tree.params().clone())
    }

    /// Returns the world that is read: that of `at`, or the pinned one, or the tip's, which is
    /// pinned.
    pub(crate) fn world(&mut self) -> Result<World, RpcError> {
        let worlds = self.backend.worlds();
        let tip = self.session.pin.get_or_insert_with(|| worlds.tip()).clone();
        let world = match self.at.take() {
            None => tip,
            Some(at) => {
                let hash = self.block_at(&at, &tip)?;
                self.at = Some(at);
                worlds.world(&hash).ok_or_else(|| {
                    let root = worlds.root();
                    let (height, oldest) = (root.height, root.hash);
                    let text = format!(
                        "The chain and coins at block {hash} are no longer held; the oldest block \
                         that they are held of is {oldest}, height {height}"
                    );
                    RpcError::new(code::MISC_ERROR, text)
                })?
            }
        };
        self.session.view = Some((world.info().height, world.info().hash));
        Ok(world)
    }

    /// The block that `at` names: by hash, by height on the chain of `tip`, or as `tip-N`.
    fn block_at(&self, at: &Value, tip: &World) -> Result<BlockHash, RpcError> {
        let text = match at {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return fail(code::TYPE_ERROR, "at is a block hash, a height or tip-N"),
        };
        let (tip, name) = (tip.info().hash, text.clone());
        let found = self.tree(move |tree| {
            let id = tree.find_named(&name, tree.find(&tip)?)?;
            Some(tree.hash(id))
        })?;
        match found {
            Some(hash) => Ok(hash),
            None if text.parse::<BlockHash>().is_ok() => not_found(),
            None => {
                let text =
                    format!("at is a block hash, a height up to the tip's or tip-N, not {text}");
                fail(code::INVALID_PARAMETER, text)
            }
        }
    }

    /// Returns the block at a height of the chain that ends with `tip`.
    pub(crate) fn ancestor(
        &self,
        tip: BlockHash,
        height: u32,
    ) -> Result<Option<BlockHash>, RpcError> {
        self.tree(move |tree| Some(tree.hash(tree.ancestor(tree.find(&tip)?, height)?)))
    }

    /// Has a command done; its error gets a code and keeps its words.
    pub(crate) fn command(&self, command: Command, code: i32) -> Answer {
        let done = self.backend.command(command);
        done.map_or_else(|error| fail(code, text_of(error)), |()| Ok(Value::Null))
    }

    /// Finds a header, or fails in Core's words.
    pub(crate) fn known(&self, hash: BlockHash) -> Result<HeaderId, RpcError> {
        self.tree(move |tree| tree.find(&hash))?.map_or_else(not_found, Ok)
    }

    /// Returns an argument, null where it was left out.
    pub(crate) fn arg(&self, index: usize) -> &Value {
        self.args.get(index).unwrap_or(&Value::Null)
    }

    pub(crate) fn text(&self, index: usize) -> Result<&str, RpcError> {
        self.arg(index).as_str().ok_or_else(|| wrong_type(self.arg(index), "string"))
    }

    /// Returns a text that may be left out.
    pub(crate) fn text_or<'a>(&'a self, index: usize, default: &'a str) -> &'a str {
        self.arg(index).as_str().unwrap_or(default)
    }

    pub(crate) fn flag_or(&self, index: usize, default: bool) -> Result<bool, RpcError> {
        match self.arg(index) {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(*flag),
            value => Err(wrong_type(value, "bool")),
        }
    }

    /// Returns a whole number. Core: `UniValue::getInt`.
    pub(crate) fn int<T: FromStr>(&self, index: usize) -> Result<T, RpcError> {
        let Value::Number(number) = self.arg(index) else {
            return Err(wrong_type(self.arg(index), "number"));
        };
        let out_of_range = |_| RpcError::new(code::MISC_ERROR, "JSON integer out of range");
        number.to_string().parse().map_err(out_of_range)
    }

    pub(crate) fn int_or<T: FromStr>(&self, index: usize, default: T) -> Result<T, RpcError> {
        if self.arg(index).is_null() { Ok(default) } else { self.int(index) }
    }

    /// Returns a level of detail. Core: `ParseVerbosity`.
    pub(crate) fn verbosity(&self, index: usize, default: i32) -> Result<i32, RpcError> {
        match self.arg(index) {
            Value::Bool(flag) => Ok((*flag).into()),
            _ => self.int_or(index, default),
        }
    }

    /// Returns a hash; `name` is what the error calls it.
    pub(crate) fn hash(&self, index: usize, name: &str) -> Result<BlockHash, RpcError> {
        hash(self.arg(index), name)
    }

    /// Returns bytes from hexadecimal digits. Core: `ParseHexV`.
    pub(crate) fn bytes(&self, index: usize, name: &str) -> Result<Vec<u8>, RpcError> {
        let text = self.text_or(index, "");
        hex::decode(text).ok().filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
            let text = format!("{name} must be hexadecimal string (not '{text}')");
            RpcError::new(code::INVALID_PARAMETER, text)
        })
    }

    /// Fails with the method's help, as Core does where an argument has none of its values.
    pub(crate) fn misused<T>(&self) -> Result<T, RpcError> {
        fail(code::MISC_ERROR, self.method.help())
    }
}

/// The sentence of a command's error.
pub(crate) fn text_of(error: CommandError) -> String {
    match error {
        CommandError::NotFound(text)
        | CommandError::Duplicate(text)
        | CommandError::Refused(text) => text,
    }
}

/// Core: `ParseHashV`.
pub(crate) fn hash(value: &Value, name: &str) -> Result<BlockHash, RpcError> {
    let text = value.as_str().ok_or_else(|| wrong_type(value, "string"))?;
    text.parse().or_else(|_| {
        let length = text.len();
        let text = if length == 64 {
            format!("{name} must be hexadecimal string (not '{text}')")
        } else {
            format!("{name} must be of length 64 (not {length}, for '{text}')")
        };
        fail(code::INVALID_PARAMETER, text)
    })
}

pub(crate) fn not_found<T>() -> Result<T, RpcError> {
    fail(code::INVALID_ADDRESS_OR_KEY, "Block not found")
}

/// The ledger or the block file cannot be read.
pub(crate) fn unreadable(error: impl std::fmt::Display) -> RpcError {
    RpcError::new(code::INTERNAL_ERROR, error.to_string())
}

/// A value of another type than is expected.
pub(crate) fn wrong_type(value: &Value, expected: &str) -> RpcError {
    let found = type_name(value);
    let text = format!("JSON value of type {found} is not of expected type {expected}");
    RpcError::new(code::TYPE_ERROR, text)
}
