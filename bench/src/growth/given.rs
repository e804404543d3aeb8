//! What the daemon is given for a point of a curve, and the file that changes.

use terrace_abi::Limits;

use super::TRACKED_SLOTS;
use crate::control;
use crate::lab::Setup;
use crate::lab::net::{OUTSIDE_MAC, UPLINK_MAC};
use crate::programs::frame::{Keys, Order, TCP_SYN, tcp_frame};
use crate::programs::harness::Settings;
use crate::programs::tables;
use crate::scenario::Axis;

/// Whom the rules are for: the workload of a lab's network.
const POD: &str = "apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: { app: web }
  annotations: { terrace.io/interface: w0 }
spec: { nodeName: bench, containers: [{ name: main }] }
status: { podIP: 10.40.0.2 }
";

/// What the daemon is given for a point, and the file that changes.
pub struct Given {
    pub setup: Setup,
    /// Name and text.
    pub changed: (String, String),
    /// A frame each, before anything is measured.
    pub frames: Option<Settings>,
}

pub fn given(axis: Axis, n: u32) -> Given {
    let mut setup = Setup::default();
    let changed = match axis {
        Axis::Services => {
            let options = control::Options::of(n);
            let text = |at, spare| control::mesh::file(&options, at, spare).text;
            setup.manifests = (0..n)
                .map(|at| (format!("s{at}.yaml"), text(at, None)))
                .collect();
            ("manifests/s0.yaml".to_owned(), text(0, Some(1)))
        }
        Axis::Rules => {
            setup.manifests = tables::rule_files(n);
            setup
                .manifests
                .push(("pod.yaml".to_owned(), POD.to_owned()));
            (
                "manifests/deny-0.yaml".to_owned(),
                tables::rule_files(n.min(1000) + 1)[0].1.clone(),
            )
        }
        Axis::Tracked => {
            let options = control::Options::of(1);
            let text = |spare| control::mesh::file(&options, 0, spare).text;
            setup.manifests = vec![("s0.yaml".to_owned(), text(None))];
            ("manifests/s0.yaml".to_owned(), text(Some(1)))
        }
        _ => {
            let lines = |deny: Vec<ipnet::IpNet>| {
                deny.iter()
                    .map(|net| format!("{net}\n"))
                    .collect::<String>()
            };
            setup.denied = lines(tables::deny_list(n));
            ("deny.txt".to_owned(), lines(tables::deny_list(n + 1)))
        }
    };
    let limits = Limits {
        deny_cells: 2 << 20,
        ..Limits::default()
    };
    setup.limits = format!("deny_cells = {}\n", limits.deny_cells);
    let is_tracked = axis == Axis::Tracked;
    if is_tracked {
        setup.limits += &format!("flows = {TRACKED_SLOTS}\n");
    }
    Given {
        setup,
        changed,
        frames: is_tracked.then(|| connections(n.next_power_of_two())),
    }
}

/// The first packet of each of `n` connections to the one service.
fn connections(n: u32) -> Settings {
    let service = control::mesh::address(0);
    Settings {
        frame: tcp_frame(UPLINK_MAC, OUTSIDE_MAC, TCP_SYN),
        keys: Keys::clients(n, Order::Once, service, control::mesh::PORT),
        verdict: 0,
        numbered: false,
    }
}
