use crate::Error;

/// How deep values may be nested.
const MAX_DEPTH: usize = 32;

/// What a record is made of.
///
/// Text of the original's program, and of ours, is [`Bytes`](Self::Bytes).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    None,
    /// A truth.
    Bool(bool),
    /// A whole number of up to 128 bits.
    Integer(i128),
    /// A longer whole number: two's complement, highest byte first.
    BigInteger(Vec<u8>),
    /// Bytes, or text.
    Bytes(Vec<u8>),
    /// Text that was marked as such.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A tuple: an address and its port, say.
    Tuple(Vec<Self>),
    /// Keys and what they stand for, in the order of the file.
    Dict(Vec<(Self, Self)>),
    /// A set, in the order of the file.
    Set(Vec<Self>),
    /// A number of 64 bits with a fraction.
    Float(f64),
}

const BOOL: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BYTES: u8 = 0x04;
const NONE: u8 = 0x05;
const TEXT: u8 = 0x0c;
const LIST: u8 = 0x30;
const FLOAT: u8 = 0x83;
const TUPLE: u8 = 0xa0;
const DICT: u8 = 0xa1;
const SET: u8 = 0xa2;

impl Value {
    /// Makes a value of the text of a program.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    /// Appends the value as BER.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.extend_from_slice(&[NONE, 0]),
            Self::Bool(is) => put_bool(out, *is),
            Self::Integer(number) => put_integer(out, *number),
            Self::BigInteger(bytes) => put_bytes(out, INTEGER, bytes),
            Self::Bytes(bytes) => put_octets(out, bytes),
            Self::Text(text) => put_bytes(out, TEXT, text.as_bytes()),
            Self::List(items) => put_all(out, LIST, items),
            Self::Tuple(items) => put_all(out, TUPLE, items),
            Self::Set(items) => put_all(out, SET, items),
            Self::Dict(entries) => put_nested(out, DICT, |out| {
                for (key, value) in entries {
                    put_tuple(out, |out| {
                        key.encode(out);
                        value.encode(out);
                    });
                }
            }),
            Self::Float(number) => {
                out.extend_from_slice(&[FLOAT, 8]);
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
    }

    /// Takes the value that bytes begin with off them.
    ///
    /// # Errors
    /// When they are cut, nested more than 32 deep, or of a kind that there is not: indefinite
    /// lengths, and lengths of more than 2 GiB.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, Error> {
        decode(bytes, MAX_DEPTH)
    }
}

fn decode(bytes: &mut &[u8], depth: usize) -> Result<Value, Error> {
    let (tag, mut body) = take_item(bytes)?;
    let depth = depth.checked_sub(1).ok_or(Error::TooDeep)?;
    let body = &mut body;
    Ok(match tag {
        NONE if body.is_empty() => Value::None,
        BOOL if body.len() == 1 => Value::Bool(body[0] != 0),
        INTEGER if !body.is_empty() => integer(body),
        BYTES => Value::Bytes(body.to_vec()),
        TEXT => Value::Text(String::from_utf8(body.to_vec()).map_err(|_| Error::Malformed)?),
        LIST => Value::List(decode_all(body, depth)?),
        TUPLE => Value::Tuple(decode_all(body, depth)?),
        SET => Value::Set(decode_all(body, depth)?),
        DICT => {
            let pair = |entry| match entry {
                Value::Tuple(pair) => {
                    let [key, value] = pair.try_into().map_err(|_| Error::Malformed)?;
                    Ok((key, value))
                }
                _ => Err(Error::Malformed),
            };
            let entries = decode_all(body, depth)?.into_iter().map(pair);
            Value::Dict(entries.collect::<Result<_, _>>()?)
        }
        FLOAT => {
            let bytes = <[u8; 8]>::try_from(&**body).map_err(|_| Error::Malformed)?;
            Value::Float(f64::from_be_bytes(bytes))
        }
        _ => return Err(Error::Malformed),
    })
}

fn decode_all(body: &mut &[u8], depth: usize) -> Result<Vec<Value>, Error> {
    let mut items = Vec::new();
    while !body.is_empty() {
        items.push(decode(body, depth)?);
    }
    Ok(items)
}

fn integer(body: &[u8]) -> Value {
    if body.len() > 16 {
        return Value::BigInteger(body.to_vec());
    }
    let mut whole = if body[0] < 0x80 { [0; 16] } else { [0xff; 16] };
    whole[16 - body.len()..].copy_from_slice(body);
    Value::Integer(i128::from_be_bytes(whole))
}

/// Takes a tag and what it is of off the bytes.
pub(crate) fn take_item<'a>(bytes: &mut &'a [u8]) -> Result<(u8, &'a [u8]), Error> {
    let (&[tag, first], rest) = bytes.split_first_chunk().ok_or(Error::Cut)?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return Err(Error::Malformed);
        }
        let (length, rest) = rest.split_at_checked(count).ok_or(Error::Cut)?;
        let length = length.iter().fold(0u32, |length, &byte| length << 8 | u32::from(byte));
        if length > 1 << 31 {
            return Err(Error::Malformed);
        }
        (usize::try_from(length).map_err(|_| Error::Malformed)?, rest)
    };
    let (body, rest) = rest.split_at_checked(length).ok_or(Error::Cut)?;
    *bytes = rest;
    Ok((tag, body))
}

pub(crate) fn put_integer(out: &mut Vec<u8>, number: i128) {
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    // A leading byte that only says the sign is needed where the next does not say it.
    let spare = |i: &usize| bytes[*i] == sign && (bytes[i + 1] ^ sign) < 0x80;
    let first = (0..15).find(|i| !spare(i)).unwrap_or(15);
    out.extend_from_slice(&[INTEGER, 16 - u8::try_from(first).unwrap_or(0)]);
    out.extend_from_slice(&bytes[first..]);
}

pub(crate) fn put_bool(out: &mut Vec<u8>, is: bool) {
    out.extend_from_slice(&[BOOL, 1, if is { 0xff } else { 0 }]);
}

pub(crate) fn put_octets(out: &mut Vec<u8>, bytes: &[u8]) {
    put_bytes(out, BYTES, bytes);
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(length @ 0..=0x7f) => out.push(length),
        _ => {
            let bytes = length.to_be_bytes();
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            out.push(0x80 | u8::try_from(bytes.len() - zeros).unwrap_or(0));
            out.extend_from_slice(&bytes[zeros..]);
        }
    }
}

fn put_all(out: &mut Vec<u8>, tag: u8, items: &[Value]) {
    put_nested(out, tag, |out| items.iter().for_each(|item| item.encode(out)));
}

pub(crate) fn put_list(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    put_nested(out, LIST, put);
}

pub(crate) fn put_tuple(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    put_nested(out, TUPLE, put);
}

/// Appends what has a length that is known at its end.
fn put_nested(out: &mut Vec<u8>, tag: u8, put: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[tag, 0]);
    let begin = out.len();
    put(out);
    let length = out.len() - begin;
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        out[begin - 1] = short;
    } else {
        let mut head = Vec::with_capacity(5);
        put_length(&mut head, length);
        out.splice(begin - 1..begin, head);
    }
}
