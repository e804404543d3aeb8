//! Messages as JSON and back, by their tables. Nothing that no table names gets
//! through, in either direction.

use serde_json::{Map, Value};

use super::{Attr, Attrs, Form, Kind, Table, push, text, unsigned};

/// A message's named parts.
pub fn to_json(form: &Form, message: &[u8]) -> Value {
    let mut map = Map::new();
    for (name, ..) in form.header {
        map.insert((*name).to_owned(), form.field(message, name).into());
    }
    attrs_to_json(form.attrs, form.attrs(message), &mut map);
    Value::Object(map)
}

fn attrs_to_json(table: &Table, attrs: Attrs<'_>, map: &mut Map<String, Value>) {
    for (id, bytes) in attrs.iter() {
        let Some(Attr(_, name, kind)) = table.attrs.iter().find(|attr| attr.0 == id) else {
            continue;
        };
        let Some(value) = value_to_json(*kind, bytes, attrs) else {
            continue;
        };
        match map.get_mut(*name) {
            None => {
                map.insert((*name).to_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
}

fn value_to_json(kind: Kind, bytes: &[u8], siblings: Attrs<'_>) -> Option<Value> {
    let nest = |table: &Table| {
        let mut map = Map::new();
        attrs_to_json(table, Attrs(bytes), &mut map);
        Value::Object(map)
    };
    Some(match kind {
        Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 | Kind::Uint => unsigned(bytes)?.into(),
        Kind::Flag => true.into(),
        Kind::Text => text(bytes).into(),
        Kind::Bytes => hex(bytes).into(),
        Kind::Nest(table) => nest(table),
        Kind::Select(id, tables) => nest(selected(tables, &siblings.text(id)?)?),
    })
}

fn selected(tables: &[(&str, &'static Table)], word: &str) -> Option<&'static Table> {
    tables.iter().find(|table| table.0 == word).map(|t| t.1)
}

/// The message that has these parts; what is wrong with them otherwise.
pub fn from_json(form: &Form, value: &Value) -> Result<Vec<u8>, String> {
    let map = value.as_object().ok_or("a message is an object")?;
    let mut message = vec![0; form.header_len];
    for (name, at, width) in form.header {
        let number = map.get(*name).and_then(Value::as_u64).unwrap_or(0);
        let bytes = number_bytes(number, *width);
        let too_wide = || format!("{name}: {number} does not fit {width} bytes");
        let slot = message
            .get_mut(*at..at + bytes.len())
            .filter(|_| bytes.len() == *width);
        slot.ok_or_else(too_wide)?.copy_from_slice(&bytes);
    }
    let attrs = map
        .iter()
        .filter(|(name, _)| !form.header.iter().any(|field| field.0 == *name));
    attrs_from_json(form.attrs, attrs, map, &mut message)?;
    Ok(message)
}

fn attrs_from_json<'a>(
    table: &Table,
    attrs: impl Iterator<Item = (&'a String, &'a Value)>,
    siblings: &Map<String, Value>,
    to: &mut Vec<u8>,
) -> Result<(), String> {
    for (name, value) in attrs {
        let attr = table.attrs.iter().find(|attr| attr.1 == name);
        let Attr(id, _, kind) =
            attr.ok_or_else(|| format!("{}: no attribute {name:?}", table.prefix))?;
        let many = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in many {
            let bytes = value_from_json(table, *kind, value, siblings);
            push(to, *id, &bytes.map_err(|why| format!("{name}: {why}"))?);
        }
    }
    Ok(())
}

fn value_from_json(
    table: &Table,
    kind: Kind,
    value: &Value,
    siblings: &Map<String, Value>,
) -> Result<Vec<u8>, String> {
    let number = || value.as_u64().ok_or("not a number".to_owned());
    let words = || value.as_str().ok_or("not a text".to_owned());
    let nest = |inner: &Table| {
        let map = value.as_object().ok_or("not an object")?;
        let mut bytes = Vec::new();
        attrs_from_json(inner, map.iter(), map, &mut bytes)?;
        Ok::<_, String>(bytes)
    };
    Ok(match kind {
        Kind::U8 => number_bytes(number()?, 1),
        Kind::U16 => number_bytes(number()?, 2),
        Kind::U32 | Kind::Uint => number_bytes(number()?, 4),
        Kind::U64 => number_bytes(number()?, 8),
        Kind::Flag => Vec::new(),
        Kind::Text => [words()?.as_bytes(), &[0]].concat(),
        Kind::Bytes => unhex(words()?)?,
        Kind::Nest(inner) => nest(inner)?,
        Kind::Select(id, tables) => {
            let beside = table.attrs.iter().find(|attr| attr.0 == id);
            let word = beside.and_then(|attr| match siblings.get(attr.1)? {
                Value::Array(words) => words.first()?.as_str(),
                word => word.as_str(),
            });
            nest(
                word.and_then(|word| selected(tables, word))
                    .ok_or("no table")?,
            )?
        }
    })
}

/// A number in `width` bytes, or in more where it needs them: a kernel that
/// widens an attribute is still recorded right.
fn number_bytes(number: u64, width: usize) -> Vec<u8> {
    let needed = (8 - number.leading_zeros() as usize / 8).next_power_of_two();
    let width = width.max(needed);
    let bytes = number.to_ne_bytes();
    match cfg!(target_endian = "little") {
        true => bytes[..width].to_vec(),
        false => bytes[8 - width..].to_vec(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits = |at| {
        text.get(at..at + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or_else(|| "not pairs of hexadecimal digits".to_owned())
    };
    (0..text.len()).step_by(2).map(digits).collect()
}
