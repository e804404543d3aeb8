//! tc: queueing disciplines and filters (linux/rtnetlink.h, linux/pkt_cls.h).

use super::{Attr, Form, Kind, Table};

pub const RTM_GETQDISC: u16 = 38;
pub const RTM_GETTFILTER: u16 = 46;

/// Parent of root qdiscs.
pub const TC_H_ROOT: u64 = 0xffff_ffff;
/// Parent of the qdiscs `ingress` and `clsact`.
pub const TC_H_INGRESS: u64 = 0xffff_fff1;
/// Parent of filters of arriving packets.
pub const TC_H_MIN_INGRESS: u32 = 0xffff_fff2;
/// Parent of filters of leaving packets.
pub const TC_H_MIN_EGRESS: u32 = 0xffff_fff3;
/// The filter is in hardware.
pub const TCA_CLS_FLAGS_IN_HW: u64 = 4;

const HEADER: &[(&str, usize, usize)] = &[
    ("ifindex", 4, 4),
    ("handle", 8, 4),
    ("parent", 12, 4),
    ("info", 16, 4),
];

pub const QDISC: &Form = &Form {
    header: HEADER,
    header_len: 20,
    attrs: &Table {
        prefix: "TCA_",
        attrs: &[
            Attr(1, "kind", Kind::Text),
            Attr(12, "hw_offload", Kind::U8),
        ],
    },
};

const FLOWER: &Table = &Table {
    prefix: "TCA_FLOWER_",
    attrs: &[
        Attr(22, "flags", Kind::U32),
        Attr(86, "in_hw_count", Kind::U32),
    ],
};

const BPF: &Table = &Table {
    prefix: "TCA_BPF_",
    attrs: &[
        Attr(7, "name", Kind::Text),
        Attr(9, "flags_gen", Kind::U32),
        Attr(11, "id", Kind::U32),
    ],
};

const MATCHALL: &Table = &Table {
    prefix: "TCA_MATCHALL_",
    attrs: &[Attr(3, "flags", Kind::U32)],
};

const U32: &Table = &Table {
    prefix: "TCA_U32_",
    attrs: &[Attr(11, "flags", Kind::U32)],
};

/// What a filter is and whether hardware has it; not what it matches.
pub const FILTER: &Form = &Form {
    header: HEADER,
    header_len: 20,
    attrs: &Table {
        prefix: "TCA_",
        attrs: &[
            Attr(1, "kind", Kind::Text),
            Attr(
                2,
                "options",
                Kind::Select(
                    1,
                    &[
                        ("flower", FLOWER),
                        ("bpf", BPF),
                        ("matchall", MATCHALL),
                        ("u32", U32),
                    ],
                ),
            ),
        ],
    },
};
