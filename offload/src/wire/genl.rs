//! Generic netlink itself: families by name (linux/genetlink.h).

use super::{Attr, Form, Kind, Table};

/// The family of families has a fixed number.
pub const GENL_ID_CTRL: u16 = 16;
/// Which families there are.
pub const CTRL_CMD_GETFAMILY: u8 = 3;
/// Bytes of `struct genlmsghdr`, which precedes all attributes.
pub const HEADER: usize = 4;

pub const OP: &Table = &Table {
    prefix: "CTRL_ATTR_OP_",
    attrs: &[Attr(1, "id", Kind::U32), Attr(2, "flags", Kind::U32)],
};

pub const GROUP: &Table = &Table {
    prefix: "CTRL_ATTR_MCAST_GRP_",
    attrs: &[Attr(1, "name", Kind::Text), Attr(2, "id", Kind::U32)],
};

/// Arrays of nests: the type counts from 1, so the first 64 are named by it.
macro_rules! numbered {
    ($table:expr; $($n:literal)*) => {
        &[$(Attr($n, stringify!($n), Kind::Nest($table))),*]
    };
}

const OPS: &Table = &Table {
    prefix: "",
    attrs: numbered!(OP; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
        28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57
        58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87
        88 89 90 91 92 93 94 95 96),
};

const GROUPS: &Table = &Table {
    prefix: "",
    attrs: numbered!(GROUP; 1 2 3 4 5 6 7 8),
};

pub const FAMILY: &Form = &Form {
    header: &[],
    header_len: HEADER,
    attrs: &Table {
        prefix: "CTRL_ATTR_",
        attrs: &[
            Attr(1, "family_id", Kind::U16),
            Attr(2, "family_name", Kind::Text),
            Attr(3, "version", Kind::U32),
            Attr(6, "ops", Kind::Nest(OPS)),
            Attr(7, "mcast_groups", Kind::Nest(GROUPS)),
        ],
    },
};
