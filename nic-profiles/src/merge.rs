//! An operator's file over a shipped one, with every value's place in the text
//! that it came from.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Puts what `over` states in the place of what `base` states. Tables are
/// merged; `rule` and `cap` lists are merged by their `id` or `fact`; any other
/// list is replaced.
pub fn merge<'i>(base: &mut DeTable<'i>, over: DeTable<'i>) {
    for (key, value) in over {
        let name = key.get_ref().to_string();
        match (base.get_mut(name.as_str()), value) {
            (Some(old), new) if old.get_ref().is_table() && new.get_ref().is_table() => {
                if let (DeValue::Table(old), DeValue::Table(new)) =
                    (old.get_mut(), new.into_inner())
                {
                    merge(old, new);
                }
            }
            (Some(old), new) if name == "rule" => merge_list(old, new, "id"),
            (Some(old), new) if name == "cap" => merge_list(old, new, "fact"),
            (Some(old), new) => *old = new,
            (None, new) => {
                base.insert(key, new);
            }
        }
    }
}

fn merge_list<'i>(old: &mut Spanned<DeValue<'i>>, new: Spanned<DeValue<'i>>, by: &str) {
    if !old.get_ref().is_array() || !new.get_ref().is_array() {
        *old = new;
        return;
    }
    let (DeValue::Array(old), DeValue::Array(new)) = (old.get_mut(), new.into_inner()) else {
        return;
    };
    let mut rows: Vec<_> = std::mem::replace(old, toml::de::DeArray::new())
        .into_iter()
        .collect();
    for row in new {
        let id = id_of(&row, by);
        let same = rows
            .iter()
            .position(|known| id.is_some() && id_of(known, by) == id);
        match same {
            Some(at) => rows[at] = row,
            None => rows.push(row),
        }
    }
    for row in rows {
        old.push(row);
    }
}

fn id_of(row: &Spanned<DeValue<'_>>, by: &str) -> Option<String> {
    let id = row.get_ref().get(by)?.get_ref().as_str()?;
    Some(id.to_owned())
}
