//! The family `netdev` (linux/netdev.h, since 6.3).

use super::{Attr, Form, Kind, Table, genl};

pub const DEV_GET: u8 = 1;
pub const PAGE_POOL_GET: u8 = 5;
pub const QUEUE_GET: u8 = 10;
pub const NAPI_GET: u8 = 11;
pub const QSTATS_GET: u8 = 12;

/// By name, for the test that compares them with the kernel's headers.
pub const COMMANDS: &[(&str, u8)] = &[
    ("NETDEV_CMD_DEV_GET", DEV_GET),
    ("NETDEV_CMD_PAGE_POOL_GET", PAGE_POOL_GET),
    ("NETDEV_CMD_QUEUE_GET", QUEUE_GET),
    ("NETDEV_CMD_NAPI_GET", NAPI_GET),
    ("NETDEV_CMD_QSTATS_GET", QSTATS_GET),
];

/// Names of the bits of `xdp_features`.
pub const XDP_FEATURES: &[(u64, &str)] = &[
    (1, "basic"),
    (2, "redirect"),
    (4, "ndo-xmit"),
    (8, "xsk-zerocopy"),
    (16, "hw-offload"),
    (32, "rx-sg"),
    (64, "ndo-xmit-sg"),
];

/// Names of the bits of `xdp_rx_metadata_features`.
pub const RX_METADATA: &[(u64, &str)] = &[(1, "timestamp"), (2, "hash"), (4, "vlan-tag")];

/// Names of the bits of `xsk_features`.
pub const XSK_FEATURES: &[(u64, &str)] = &[
    (1, "tx-timestamp"),
    (2, "tx-checksum"),
    (4, "tx-launch-time-fifo"),
];

/// The names of a word's bits; bits without a name stay visible.
pub fn names(word: u64, bits: &[(u64, &str)]) -> Vec<String> {
    let known = bits.iter().filter(|(bit, _)| word & bit != 0);
    let mut names: Vec<String> = known.map(|(_, name)| (*name).to_owned()).collect();
    let rest = bits.iter().fold(word, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        names.push(format!("unknown:{rest:#x}"));
    }
    names
}

const fn form(attrs: &'static Table) -> Form {
    Form {
        header: &[],
        header_len: genl::HEADER,
        attrs,
    }
}

pub const DEV: &Form = &form(&Table {
    prefix: "NETDEV_A_DEV_",
    attrs: &[
        Attr(1, "ifindex", Kind::U32),
        Attr(3, "xdp_features", Kind::U64),
        Attr(4, "xdp_zc_max_segs", Kind::U32),
        Attr(5, "xdp_rx_metadata_features", Kind::U64),
        Attr(6, "xsk_features", Kind::U64),
    ],
});

pub const QUEUE: &Form = &form(&Table {
    prefix: "NETDEV_A_QUEUE_",
    attrs: &[
        Attr(1, "id", Kind::U32),
        Attr(2, "ifindex", Kind::U32),
        Attr(3, "type", Kind::U32),
        Attr(4, "napi_id", Kind::U32),
        Attr(7, "xsk", Kind::Flag),
    ],
});

pub const NAPI: &Form = &form(&Table {
    prefix: "NETDEV_A_NAPI_",
    attrs: &[
        Attr(1, "ifindex", Kind::U32),
        Attr(2, "id", Kind::U32),
        Attr(3, "irq", Kind::U32),
    ],
});

pub const PAGE_POOL: &Form = &form(&Table {
    prefix: "NETDEV_A_PAGE_POOL_",
    attrs: &[
        Attr(1, "id", Kind::Uint),
        Attr(2, "ifindex", Kind::U32),
        Attr(3, "napi_id", Kind::Uint),
    ],
});

pub const QSTATS: &Form = &form(&Table {
    prefix: "NETDEV_A_QSTATS_",
    attrs: &[
        Attr(1, "ifindex", Kind::U32),
        Attr(12, "rx_alloc_fail", Kind::Uint),
        Attr(13, "rx_hw_drops", Kind::Uint),
    ],
});
