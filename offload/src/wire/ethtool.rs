//! The family `ethtool` (linux/ethtool_netlink.h). Requests and replies are
//! numbered apart, so these are requests only; answers are matched by sequence.

use super::{Attr, Form, Kind, Table, genl};

pub const STRSET_GET: u8 = 1;
pub const LINKMODES_GET: u8 = 4;
pub const LINKSTATE_GET: u8 = 6;
pub const FEATURES_GET: u8 = 11;
pub const PRIVFLAGS_GET: u8 = 13;
pub const RINGS_GET: u8 = 15;
pub const CHANNELS_GET: u8 = 17;
pub const TSINFO_GET: u8 = 25;
pub const RSS_GET: u8 = 38;

/// By name, for the test that compares them with the kernel's headers.
pub const COMMANDS: &[(&str, u8)] = &[
    ("ETHTOOL_MSG_STRSET_GET", STRSET_GET),
    ("ETHTOOL_MSG_LINKMODES_GET", LINKMODES_GET),
    ("ETHTOOL_MSG_LINKSTATE_GET", LINKSTATE_GET),
    ("ETHTOOL_MSG_FEATURES_GET", FEATURES_GET),
    ("ETHTOOL_MSG_PRIVFLAGS_GET", PRIVFLAGS_GET),
    ("ETHTOOL_MSG_RINGS_GET", RINGS_GET),
    ("ETHTOOL_MSG_CHANNELS_GET", CHANNELS_GET),
    ("ETHTOOL_MSG_TSINFO_GET", TSINFO_GET),
    ("ETHTOOL_MSG_RSS_GET", RSS_GET),
];

/// Sends bit sets as words; their names come from string sets.
pub const FLAG_COMPACT_BITSETS: u32 = 1;
/// The string set of features' names.
pub const SS_FEATURES: u32 = 4;
/// The string set of RSS hash functions.
pub const SS_RSS_HASH_FUNCS: u32 = 5;
/// The string set of time stamping modes.
pub const SS_TS_CAPS: u32 = 12;

/// In front of every request and reply.
pub const HEADER: &Table = &Table {
    prefix: "ETHTOOL_A_HEADER_",
    attrs: &[
        Attr(1, "dev_index", Kind::U32),
        Attr(2, "dev_name", Kind::Text),
        Attr(3, "flags", Kind::U32),
    ],
};

const BIT: &Table = &Table {
    prefix: "ETHTOOL_A_BITSET_BIT_",
    attrs: &[
        Attr(1, "index", Kind::U32),
        Attr(2, "name", Kind::Text),
        Attr(3, "value", Kind::Flag),
    ],
};

const BITS: &Table = &Table {
    prefix: "ETHTOOL_A_BITSET_BITS_",
    attrs: &[Attr(1, "bit", Kind::Nest(BIT))],
};

const BITSET: &Table = &Table {
    prefix: "ETHTOOL_A_BITSET_",
    attrs: &[
        Attr(1, "nomask", Kind::Flag),
        Attr(2, "size", Kind::U32),
        Attr(3, "bits", Kind::Nest(BITS)),
        Attr(4, "value", Kind::Bytes),
        Attr(5, "mask", Kind::Bytes),
    ],
};

const STRING: &Table = &Table {
    prefix: "ETHTOOL_A_STRING_",
    attrs: &[Attr(1, "index", Kind::U32), Attr(2, "value", Kind::Text)],
};

const STRINGS: &Table = &Table {
    prefix: "ETHTOOL_A_STRINGS_",
    attrs: &[Attr(1, "string", Kind::Nest(STRING))],
};

pub const STRINGSET: &Table = &Table {
    prefix: "ETHTOOL_A_STRINGSET_",
    attrs: &[
        Attr(1, "id", Kind::U32),
        Attr(2, "count", Kind::U32),
        Attr(3, "strings", Kind::Nest(STRINGS)),
    ],
};

const STRINGSETS: &Table = &Table {
    prefix: "ETHTOOL_A_STRINGSETS_",
    attrs: &[Attr(1, "stringset", Kind::Nest(STRINGSET))],
};

const fn form(attrs: &'static Table) -> Form {
    Form {
        header: &[],
        header_len: genl::HEADER,
        attrs,
    }
}

pub const STRSET: &Form = &form(&Table {
    prefix: "ETHTOOL_A_STRSET_",
    attrs: &[
        Attr(1, "header", Kind::Nest(HEADER)),
        Attr(2, "stringsets", Kind::Nest(STRINGSETS)),
    ],
});

pub const LINKMODES: &Form = &form(&Table {
    prefix: "ETHTOOL_A_LINKMODES_",
    attrs: &[
        Attr(1, "header", Kind::Nest(HEADER)),
        Attr(2, "autoneg", Kind::U8),
        Attr(5, "speed", Kind::U32),
        Attr(6, "duplex", Kind::U8),
        Attr(9, "lanes", Kind::U32),
    ],
});

pub const LINKSTATE: &Form = &form(&Table {
    prefix: "ETHTOOL_A_LINKSTATE_",
    attrs: &[
        Attr(1, "header", Kind::Nest(HEADER)),
        Attr(2, "link", Kind::U8),
        Attr(5, "ext_state", Kind::U8),
    ],
});

pub const FEATURES: &Form = &form(&Table {
    prefix: "ETHTOOL_A_FEATURES_",
    attrs: &[
        Attr(1, "header", Kind::Nest(HEADER)),
        Attr(2, "hw", Kind::Nest(BITSET)),
        Attr(3, "wanted", Kind::Nest(BITSET)),
        Attr(4, "active", Kind::Nest(BITSET)),
        Attr(5, "nochange", Kind::Nest(BITSET)),
    ],
});

pub const PRIVFLAGS: &Form = &form(&Table {
    prefix: "ETHTOOL_A_PRIVFLAGS_",
    attrs: &[
        Attr(1, "header", Kind::Nest(HEADER)),
        Attr(2, "flags", Kind::Nest(BITSET)),
    ],
});

pub const RINGS: &Form = &form(&Table {
    prefix: "ETHTOOL_A_RINGS_",
    attrs: &[
        Attr(1, "header", Kind::Nest(HEADER)),
        Attr(2, "rx_max", Kind::U32),
        Attr(5, "tx_max", Kind::U32),
        Attr(6, "rx", Kind::U32),
        Attr(9, "tx", Kind::U32),
        Attr(10, "rx_buf_len", Kind::U32),
        Attr(11, "tcp_data_split", Kind::U8),
        Attr(12, "cqe_size", Kind::U32),
        Attr(17, "hds_thresh", Kind::U32),
        Attr(18, "hds_thresh_max", Kind::U32),
    ],
});

pub const CHANNELS: &Form = &form(&Table {
    prefix: "ETHTOOL_A_CHANNELS_",
    attrs: &[
        Attr(1, "header", Kind::Nest(HEADER)),
        Attr(2, "rx_max", Kind::U32),
        Attr(3, "tx_max", Kind::U32),
        Attr(4, "other_max", Kind::U32),
        Attr(5, "combined_max", Kind::U32),
        Attr(6, "rx_count", Kind::U32),
        Attr(7, "tx_count", Kind::U32),
        Attr(8, "other_count", Kind::U32),
        Attr(9, "combined_count", Kind::U32),
    ],
});

pub const TSINFO: &Form = &form(&Table {
    prefix: "ETHTOOL_A_TSINFO_",
    attrs: &[
        Attr(1, "header", Kind::Nest(HEADER)),
        Attr(2, "timestamping", Kind::Nest(BITSET)),
    ],
});

/// The hash key is not read: it would let a stranger choose queues.
pub const RSS: &Form = &form(&Table {
    prefix: "ETHTOOL_A_RSS_",
    attrs: &[
        Attr(1, "header", Kind::Nest(HEADER)),
        Attr(2, "context", Kind::U32),
        Attr(3, "hfunc", Kind::U32),
        Attr(4, "indir", Kind::Bytes),
        Attr(6, "input_xfrm", Kind::U32),
    ],
});
