use caesure_eventlog::{Record, Shape, Value, text};
use serde_json::{Map, Number, Value as Json};

/// How a record is shown.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Text { big: bool, has_colours: bool },
    Json,
}

/// Returns a record as a line without its end.
pub(crate) fn record(record: &Record, form: Form) -> String {
    match form {
        Form::Text { big, has_colours: false } => text::line(record, big),
        Form::Text { big, has_colours: true } => {
            let (facility, rest) = record.items.split_at(record.items.len().min(1));
            let (time, colour) = (text::time(record.time), colour(record.facility()));
            let (facility, rest) = (text::items(facility, big), text::items(rest, big));
            format!("\x1b[2m{time}\x1b[0m \x1b[{colour}m{facility}\x1b[0m {rest}")
        }
        Form::Json => json(record).to_string(),
    }
}

/// Red for what failed, else one of five for each facility.
fn colour(facility: &str) -> u8 {
    match facility {
        "stderr" | "exception" => 31,
        _ => 32 + facility.bytes().fold(0, |sum: u8, byte| sum.wrapping_add(byte)) % 5,
    }
}

/// An event of ours has its fields by name, any other record its items.
fn json(record: &Record) -> Json {
    let mut object = Map::new();
    object.insert("time".to_owned(), text::utc(record.time).into());
    match Shape::of(record) {
        Some(shape) => {
            object.insert("facility".to_owned(), shape.facility.into());
            if !shape.name.is_empty() {
                object.insert("event".to_owned(), shape.name.into());
            }
            let items = &record.items[record.items.len() - shape.fields.len()..];
            for ((name, ..), item) in shape.fields.iter().zip(items) {
                object.insert((*name).to_owned(), value(item));
            }
        }
        None => {
            object.insert("items".to_owned(), record.items.iter().map(value).collect());
        }
    }
    Json::Object(object)
}

fn value(item: &Value) -> Json {
    let bytes = |bytes: &[u8]| {
        text::as_text(bytes).map_or_else(|| text::hex(bytes), ToOwned::to_owned).into()
    };
    match item {
        Value::Bool(is) => Json::Bool(*is),
        // Beyond these, readers of JSON differ.
        Value::Integer(number) => match i64::try_from(*number) {
            Ok(number) => number.into(),
            Err(_) => u64::try_from(*number).map_or_else(|_| number.to_string().into(), Json::from),
        },
        Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::BigInteger(number) | Value::Bytes(number) => bytes(number),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            items.iter().map(value).collect()
        }
        Value::Dict(entries) => {
            let pair = |(key, of): &(Value, Value)| Json::from(vec![value(key), value(of)]);
            entries.iter().map(pair).collect()
        }
        _ => Json::Null,
    }
}
