//! What is known of drivers beforehand: since when they run XDP natively, and up
//! to which MTU in one buffer. Read from the sources of Linux 5.10 to 7.3; it
//! ranks below what the machine says.

use crate::KernelVersion;

/// A driver, as ethtool names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Driver {
    /// All names of it.
    pub names: &'static [&'static str],
    /// First kernel with native XDP; `None` = not in 7.3.
    pub native_since: Option<KernelVersion>,
    /// Largest MTU with one buffer for a packet; 0 = no check, or not known.
    pub max_mtu: u32,
    /// Attaching the first program interrupts the link or its queues.
    pub interrupts: bool,
}

/// What is known of a driver; `None` = nothing.
pub fn driver(name: &str) -> Option<&'static Driver> {
    DRIVERS.iter().find(|driver| driver.names.contains(&name))
}

/// Drivers with native XDP.
const fn native(names: &'static [&'static str], major: u32, minor: u32, max_mtu: u32) -> Driver {
    Driver {
        names,
        native_since: Some(KernelVersion(major, minor)),
        max_mtu,
        interrupts: true,
    }
}

/// The same, and attaching is harmless.
const fn smooth(names: &'static [&'static str], major: u32, minor: u32, max_mtu: u32) -> Driver {
    Driver {
        interrupts: false,
        ..native(names, major, minor, max_mtu)
    }
}

/// Drivers without native XDP.
const fn without(names: &'static [&'static str]) -> Driver {
    Driver {
        names,
        native_since: None,
        max_mtu: 0,
        interrupts: false,
    }
}

const DRIVERS: &[Driver] = &[
    native(&["ixgbe"], 4, 12, 3050),
    native(&["ixgbevf"], 4, 17, 3050),
    native(&["i40e"], 4, 13, 3046),
    without(&["iavf"]),
    native(&["ice"], 5, 5, 3046),
    native(&["igb"], 5, 10, 3046),
    smooth(&["igc"], 5, 13, 1500),
    without(&["e1000e"]),
    native(&["idpf"], 6, 18, 0),
    native(&["mlx4_en", "mlx4_core"], 4, 8, 3498),
    native(&["mlx5_core", "mlx5e_rep", "eth-rep"], 4, 9, 3498),
    without(&["mlxbf_gige"]),
    native(&["nfp"], 4, 10, 3500),
    native(&["bnxt_en"], 4, 11, 3502),
    native(&["ena"], 5, 6, 3498),
    native(&["gve"], 6, 4, 2032),
    native(&["hv_netvsc"], 5, 6, 3506),
    native(&["mana"], 5, 17, 3506),
    smooth(&["virtio_net"], 4, 10, 3506),
    native(&["vmxnet3"], 6, 6, 3494),
    smooth(&["veth"], 4, 19, 3506),
    smooth(&["tun"], 4, 14, 0),
    without(&["netkit"]),
    native(&["bonding"], 5, 15, 0),
    smooth(&["netdevsim"], 4, 16, 4000),
    smooth(&["sfc"], 5, 5, 3530),
    smooth(&["sfc_siena"], 5, 5, 3528),
    native(&["qede"], 4, 10, 0),
    native(&["nicvf"], 4, 12, 1508),
    native(&["rvu_nicpf", "rvu_nicvf"], 5, 16, 1508),
    native(&["fsl_dpa"], 5, 11, 3706),
    native(&["fsl_dpaa2_eth"], 5, 0, 0),
    native(&["fsl_enetc", "fsl_enetc_vf", "nxp_enetc4"], 5, 13, 0),
    native(&["mvneta"], 5, 5, 3520),
    native(&["mvpp2"], 5, 9, 3552),
    native(
        &[
            "st_gmac",
            "st_xgmac",
            "st_mac100",
            "stmmaceth",
            "intel-eth-pci",
        ],
        5,
        13,
        1500,
    ),
    smooth(&["cpsw", "cpsw-switch"], 5, 3, 0),
    native(&["am65-cpsw-nuss"], 6, 10, 0),
    smooth(&["icssg-prueth"], 6, 15, 0),
    smooth(&["tsnep"], 6, 3, 0),
    native(&["fec"], 6, 2, 0),
    native(&["funeth"], 5, 18, 3566),
    native(&["atlantic"], 5, 19, 2048),
    native(&["lan966x-switch"], 6, 2, 0),
    native(&["mtk_soc_eth", "mtk_eth_soc"], 6, 0, 3520),
    native(&["netsec"], 5, 3, 1500),
    native(&["ionic"], 6, 9, 3502),
    native(&["vif", "xen_netfront"], 5, 9, 3840),
    without(&["lan743x"]),
    smooth(&["fbnic"], 6, 18, 1522),
    without(&["cxgb4"]),
    without(&["hns3"]),
    without(&[
        "mlxsw_spectrum",
        "mlxsw_spectrum2",
        "mlxsw_spectrum3",
        "mlxsw_spectrum4",
    ]),
    without(&["prestera", "Prestera DX"]),
    without(&["r8169"]),
    without(&["macb"]),
    without(&["enic"]),
    without(&["txgbe"]),
    without(&["team"]),
    without(&["802.1Q VLAN Support", "8021q"]),
    without(&["loopback", "lo"]),
    without(&["dummy"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_name_stands_in_one_row() {
        let mut names: Vec<&str> = DRIVERS
            .iter()
            .flat_map(|driver| driver.names)
            .copied()
            .collect();
        names.sort_unstable();
        let n = names.len();
        names.dedup();
        assert_eq!(names.len(), n);
    }

    #[test]
    fn well_known_drivers_are_known() {
        let rows = [
            ("virtio_net", Some(KernelVersion(4, 10)), 3506),
            ("veth", Some(KernelVersion(4, 19)), 3506),
            ("mlx5_core", Some(KernelVersion(4, 9)), 3498),
            ("e1000e", None, 0),
        ];
        for (name, since, max_mtu) in rows {
            let driver = driver(name).unwrap();
            assert_eq!(
                (driver.native_since, driver.max_mtu),
                (since, max_mtu),
                "{name}"
            );
        }
        assert_eq!(driver("no such driver"), None);
    }
}
