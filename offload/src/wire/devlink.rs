//! The family `devlink` (linux/devlink.h). One number space for all attributes;
//! serial numbers (99, 139) are left out on purpose.

use super::{Attr, Form, Kind, Table, genl};

pub const GET: u8 = 1;
pub const PORT_GET: u8 = 5;
pub const ESWITCH_GET: u8 = 29;
pub const PARAM_GET: u8 = 38;
pub const INFO_GET: u8 = 51;
pub const HEALTH_REPORTER_GET: u8 = 52;

/// By name, for the test that compares them with the kernel's headers.
pub const COMMANDS: &[(&str, u8)] = &[
    ("DEVLINK_CMD_GET", GET),
    ("DEVLINK_CMD_PORT_GET", PORT_GET),
    ("DEVLINK_CMD_ESWITCH_GET", ESWITCH_GET),
    ("DEVLINK_CMD_PARAM_GET", PARAM_GET),
    ("DEVLINK_CMD_INFO_GET", INFO_GET),
    ("DEVLINK_CMD_HEALTH_REPORTER_GET", HEALTH_REPORTER_GET),
];

const VERSION: &Table = &Table {
    prefix: "DEVLINK_ATTR_",
    attrs: &[
        Attr(103, "info_version_name", Kind::Text),
        Attr(104, "info_version_value", Kind::Text),
    ],
};

const REPORTER: &Table = &Table {
    prefix: "DEVLINK_ATTR_",
    attrs: &[
        Attr(115, "health_reporter_name", Kind::Text),
        Attr(116, "health_reporter_state", Kind::U8),
        Attr(117, "health_reporter_err_count", Kind::U64),
        Attr(118, "health_reporter_recover_count", Kind::U64),
    ],
};

const VALUE: &Table = &Table {
    prefix: "DEVLINK_ATTR_",
    attrs: &[
        Attr(86, "param_value_data", Kind::Bytes),
        Attr(87, "param_value_cmode", Kind::U8),
    ],
};

const VALUES: &Table = &Table {
    prefix: "DEVLINK_ATTR_",
    attrs: &[Attr(85, "param_value", Kind::Nest(VALUE))],
};

const PARAM: &Table = &Table {
    prefix: "DEVLINK_ATTR_",
    attrs: &[
        Attr(81, "param_name", Kind::Text),
        Attr(83, "param_type", Kind::U8),
        Attr(84, "param_values_list", Kind::Nest(VALUES)),
    ],
};

/// Every reply, whichever of the attributes it has.
pub const ANY: &Form = &Form {
    header: &[],
    header_len: genl::HEADER,
    attrs: &Table {
        prefix: "DEVLINK_ATTR_",
        attrs: &[
            Attr(1, "bus_name", Kind::Text),
            Attr(2, "dev_name", Kind::Text),
            Attr(3, "port_index", Kind::U32),
            Attr(4, "port_type", Kind::U16),
            Attr(6, "port_netdev_ifindex", Kind::U32),
            Attr(25, "eswitch_mode", Kind::U16),
            Attr(26, "eswitch_inline_mode", Kind::U8),
            Attr(62, "eswitch_encap_mode", Kind::U8),
            Attr(77, "port_flavour", Kind::U16),
            Attr(80, "param", Kind::Nest(PARAM)),
            Attr(98, "info_driver_name", Kind::Text),
            Attr(100, "info_version_fixed", Kind::Nest(VERSION)),
            Attr(101, "info_version_running", Kind::Nest(VERSION)),
            Attr(102, "info_version_stored", Kind::Nest(VERSION)),
            Attr(114, "health_reporter", Kind::Nest(REPORTER)),
            Attr(127, "port_pci_pf_number", Kind::U16),
            Attr(128, "port_pci_vf_number", Kind::U16),
            Attr(149, "port_external", Kind::U8),
            Attr(150, "port_controller_number", Kind::U32),
            Attr(164, "port_pci_sf_number", Kind::U32),
        ],
    },
};
