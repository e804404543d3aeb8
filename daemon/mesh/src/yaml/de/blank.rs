//! The value that stands in for one that could not be read.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Visitor};

use super::Wrong;

/// Reads as absent, zero, empty.
pub struct Blank;

macro_rules! blank {
    ($($method:ident: $visitor:ident => $visit:expr;)*) => {
        $(fn $method<V: Visitor<'n>>(self, $visitor: V) -> Result<V::Value, Wrong> { $visit })*
    };
}

fn empty_map<'n, V: Visitor<'n>>(visitor: V) -> Result<V::Value, Wrong> {
    visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
}

fn empty_list<'n, V: Visitor<'n>>(visitor: V) -> Result<V::Value, Wrong> {
    visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<&str>()))
}

impl<'n> Deserializer<'n> for Blank {
    type Error = Wrong;

    blank! {
        deserialize_any: v => v.visit_unit();
        deserialize_bool: v => v.visit_bool(false);
        deserialize_i8: v => v.visit_i64(0);
        deserialize_i16: v => v.visit_i64(0);
        deserialize_i32: v => v.visit_i64(0);
        deserialize_i64: v => v.visit_i64(0);
        deserialize_u8: v => v.visit_u64(0);
        deserialize_u16: v => v.visit_u64(0);
        deserialize_u32: v => v.visit_u64(0);
        deserialize_u64: v => v.visit_u64(0);
        deserialize_f32: v => v.visit_f64(0.0);
        deserialize_f64: v => v.visit_f64(0.0);
        deserialize_char: v => v.visit_char(' ');
        deserialize_str: v => v.visit_str("");
        deserialize_string: v => v.visit_str("");
        deserialize_identifier: v => v.visit_str("");
        deserialize_bytes: v => v.visit_bytes(&[]);
        deserialize_byte_buf: v => v.visit_bytes(&[]);
        deserialize_option: v => v.visit_none();
        deserialize_unit: v => v.visit_unit();
        deserialize_seq: v => empty_list(v);
        deserialize_map: v => empty_map(v);
        deserialize_ignored_any: v => v.visit_unit();
    }

    fn deserialize_unit_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        v: V,
    ) -> Result<V::Value, Wrong> {
        v.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        v: V,
    ) -> Result<V::Value, Wrong> {
        v.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'n>>(self, _: usize, v: V) -> Result<V::Value, Wrong> {
        empty_list(v)
    }

    fn deserialize_tuple_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        _: usize,
        v: V,
    ) -> Result<V::Value, Wrong> {
        empty_list(v)
    }

    fn deserialize_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, Wrong> {
        empty_map(v)
    }

    fn deserialize_enum<V: Visitor<'n>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Wrong> {
        Err(Wrong("no such choice".to_owned()))
    }
}
