//! Classification rules (ethtool's ntuple). No NIC that QEMU has takes one: igb is an
//! 82576, whose driver has the table and refuses. So this is about what then happens.

use std::collections::BTreeSet;

use terrace_nic_lab::{Daemon, by_driver, sh};
use terrace_offload::classifier::{self, Nic, Rule};

use super::SERVICE;

/// An igb under a name that the daemon serves; its own again when dropped.
struct Uplink {
    old: String,
}

const NAME: &str = "upnic";

impl Uplink {
    fn of_igb() -> Self {
        let old = by_driver("igb").first().expect("an igb").clone();
        rename(&old, NAME);
        Self { old }
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        rename(NAME, &self.old);
    }
}

fn rename(from: &str, to: &str) {
    sh(&format!(
        "ip link set {from} down && ip link set {from} name {to} && ip link set {to} up"
    ));
}

fn rules() -> String {
    let shown = sh(&format!("ethtool -n {NAME} 2>&1"));
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_driver_that_refuses_every_rule_holds_none_and_its_word_is_told() {
    let _uplink = Uplink::of_igb();
    let rows = [
        Rule::Deny("192.0.2.0/24".parse().expect("a prefix")),
        Rule::Queue {
            to: "10.96.0.1:80".parse().expect("an end"),
            ports: [2, 2],
            queue: 1,
        },
    ];
    for rule in rows {
        let mut record = Vec::new();
        let mut note = |now: &BTreeSet<Rule>| {
            record.push(now.clone());
            Ok(())
        };
        let mut nic = Nic {
            iface: NAME.to_owned(),
        };
        let none = BTreeSet::new();
        let outcome = classifier::sync(&mut nic, rule.kind(), (&none, &[rule]), &mut note);
        let outcome = outcome.expect("a table that can be read");
        let refused = outcome.refused.expect("igb refuses");
        assert_eq!(refused.no.no, "EOPNOTSUPP", "{rule}");
        assert_eq!((outcome.held, outcome.owned), (0, none), "{rule}");
        assert_eq!(record, [BTreeSet::from([rule]), BTreeSet::new()]);
        assert!(rules().contains("Total 0 rules"), "{}", rules());
    }
}

#[test]
fn a_deny_list_that_the_classifier_cannot_take_stays_with_the_programs() {
    let _uplink = Uplink::of_igb();
    let daemon = Daemon::with("[offload]\ndeny_list = \"ntuple\"\n", "192.0.2.0/24\n");
    let row = daemon.row(NAME, "prefilter");
    assert_ne!(row["tier"], "nic", "{row}");
    let blockers = row["blockers"].to_string();
    assert!(blockers.contains("receive classifier"), "{blockers}");
    assert_eq!(daemon.json("status")["nics"], serde_json::json!([]));
    assert!(rules().contains("Total 0 rules"), "{}", rules());
}

/// Requests to the service go by a route.
const ROUTE: &str = r#"---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, port: 80 }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /a } }]
      backendRefs: [{ name: web, port: 80 }]
"#;

/// Workers read one queue of two, and nobody leads requests to it.
#[test]
fn queues_that_workers_do_not_read_are_told_with_the_reason() {
    let _uplink = Uplink::of_igb();
    sh(&format!("ethtool -L {NAME} combined 2"));
    let config = "[l7]\nworkers = 1\nuplink_sockets = \"copy\"\nuplink_queues = 1\n";
    let daemon = Daemon::with(config, "");
    daemon.manifest("web.yaml", &[SERVICE, ROUTE].concat());
    let reading = daemon.until("a queue that is read", || {
        let reading = daemon.json("plan")["readings"][0].clone();
        (reading["iface"] == NAME && reading["queues"] == 1).then_some(reading)
    });
    let why = reading["why"].to_string();
    assert!(why.contains("1 of its 2 queues are read"), "{why}");
    assert!(
        why.contains("goes by the l7 port") && why.contains("receive classifier"),
        "{why}"
    );
    assert!(daemon.has_told("tier-moved", "workers read 1 of its 2 queues"));
    assert!(rules().contains("Total 0 rules"), "{}", rules());
}
