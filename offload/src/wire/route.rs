//! rtnetlink: links, and the route that packets to the world take.

use super::{Attr, Form, Kind, Table};

pub const RTM_GETLINK: u16 = 18;
pub const RTM_GETROUTE: u16 = 26;

/// By name, for the test that compares them with the kernel's headers.
pub const COMMANDS: &[(&str, u16)] = &[
    ("RTM_GETLINK", RTM_GETLINK),
    ("RTM_GETROUTE", RTM_GETROUTE),
    ("RTM_GETQDISC", super::tc::RTM_GETQDISC),
    ("RTM_GETTFILTER", super::tc::RTM_GETTFILTER),
];

const XDP: &Table = &Table {
    prefix: "IFLA_XDP_",
    attrs: &[
        Attr(2, "attached", Kind::U8),
        Attr(4, "prog_id", Kind::U32),
        Attr(5, "drv_prog_id", Kind::U32),
        Attr(6, "skb_prog_id", Kind::U32),
        Attr(7, "hw_prog_id", Kind::U32),
    ],
};

const BOND: &Table = &Table {
    prefix: "IFLA_BOND_",
    attrs: &[
        Attr(1, "mode", Kind::U8),
        Attr(14, "xmit_hash_policy", Kind::U8),
    ],
};

const VLAN: &Table = &Table {
    prefix: "IFLA_VLAN_",
    attrs: &[Attr(1, "id", Kind::U16)],
};

const INFO: &Table = &Table {
    prefix: "IFLA_INFO_",
    attrs: &[
        Attr(1, "kind", Kind::Text),
        Attr(
            2,
            "data",
            Kind::Select(1, &[("bond", BOND), ("vlan", VLAN)]),
        ),
        Attr(4, "slave_kind", Kind::Text),
    ],
};

/// `struct ifinfomsg` and what of a link identifies nobody. The switch id is
/// made of a MAC address: it is compared, recorded under another number.
pub const LINK: &Form = &Form {
    header: &[("type", 2, 2), ("index", 4, 4), ("flags", 8, 4)],
    header_len: 16,
    attrs: &Table {
        prefix: "IFLA_",
        attrs: &[
            Attr(3, "ifname", Kind::Text),
            Attr(4, "mtu", Kind::U32),
            Attr(5, "link", Kind::U32),
            Attr(10, "master", Kind::U32),
            Attr(16, "operstate", Kind::U8),
            Attr(18, "linkinfo", Kind::Nest(INFO)),
            Attr(21, "num_vf", Kind::U32),
            Attr(31, "num_tx_queues", Kind::U32),
            Attr(32, "num_rx_queues", Kind::U32),
            Attr(33, "carrier", Kind::U8),
            Attr(36, "phys_switch_id", Kind::Bytes),
            Attr(37, "link_netnsid", Kind::U32),
            Attr(38, "phys_port_name", Kind::Text),
            Attr(43, "xdp", Kind::Nest(XDP)),
            Attr(50, "min_mtu", Kind::U32),
            Attr(51, "max_mtu", Kind::U32),
            Attr(56, "parent_dev_name", Kind::Text),
            Attr(57, "parent_dev_bus_name", Kind::Text),
            Attr(68, "headroom", Kind::U16),
            Attr(69, "tailroom", Kind::U16),
        ],
    },
};

/// `struct rtmsg` and the interface; no address.
pub const ROUTE: &Form = &Form {
    header: &[("family", 0, 1), ("type", 7, 1)],
    header_len: 12,
    attrs: &Table {
        prefix: "RTA_",
        attrs: &[Attr(4, "oif", Kind::U32)],
    },
};
