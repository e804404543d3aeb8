//! The deny list in a NIC, by the daemon, on netdevsim: it takes programs whose maps
//! have two entries at most, and since Linux 7 rules of tc flower, as many as come. It
//! runs neither, so this is about what is where, and who says so.

mod classifier;
mod counters;
mod faults;
mod flows;
mod policy;
mod program;
mod rules;
mod tagged;

use serde_json::Value;
use terrace_nic_lab::{Daemon, Netdevsim, kernel, sh};

/// The name that makes a link an uplink of the daemon.
const UPLINK: &str = "upsim";

/// One service with a backend that is behind another port.
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  clusterIP: 10.96.0.1
  ports: [{ port: 80, protocol: TCP }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, namespace: shop, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ port: 80, protocol: TCP }]
endpoints: [{ addresses: [10.2.0.2] }]
";

/// What the plan says of the NIC's part: the way, entries held, entries of the list, and
/// why not more.
fn front(daemon: &Daemon) -> Option<(String, u64, u64, String)> {
    let row = daemon.row(UPLINK, "prefilter");
    let front = row.get("front")?;
    let why = front["unfit"]["why"].as_str().unwrap_or_default();
    Some((
        front["tier"].as_str()?.to_owned(),
        front["fit"].as_u64()?,
        front["of"].as_u64()?,
        why.to_owned(),
    ))
}

/// Waits until the NIC holds so much of the list, one way.
fn holds(daemon: &Daemon, way: &str, held: u64, of: u64) {
    daemon.until(&format!("{held} of {of} by {way}"), || {
        let front = front(daemon)?;
        (front.0 == way && front.1 == held && front.2 == of).then_some(())
    });
}

/// Waits until the plan says why nothing is in the NIC.
fn refused(daemon: &Daemon, words: &str) {
    daemon.until(words, || {
        let row = daemon.row(UPLINK, "prefilter");
        let says = row["blockers"].to_string().contains(words);
        (front(daemon).is_none() && says).then_some(())
    });
}

/// Rules of the deny list on the link, as tc shows them; all of them must be in the NIC.
fn rules(iface: &str) -> usize {
    rules_of(iface, 1).len()
}

/// Rules of Terrace's of one kind: the last byte of the first half of their cookies.
fn rules_of(iface: &str, kind: u8) -> Vec<Value> {
    let owner = format!("74657272616365{kind:02x}");
    let shown = sh(&format!("tc -j -s filter show dev {iface} ingress"));
    let filters: Value = serde_json::from_str(&shown).unwrap_or(Value::Null);
    let filters = filters.as_array().cloned().unwrap_or_default();
    let ours = filters.iter().filter(|filter| {
        // tc writes cookies as hexadecimal text.
        filter["options"]["actions"].to_string().contains(&owner)
    });
    let ours: Vec<_> = ours.cloned().collect();
    for filter in &ours {
        assert_eq!(filter["options"]["in_hw"], true, "{filter}");
        assert_eq!(filter["options"]["skip_sw"], true, "{filter}");
    }
    ours
}

/// The number of the program in the NIC; 0 = none.
fn program(device: &Netdevsim) -> u64 {
    device
        .says("ports/0/bpf_offloaded_id")
        .parse()
        .expect("a number")
}

fn takes_rules() -> bool {
    kernel() == "new"
}
