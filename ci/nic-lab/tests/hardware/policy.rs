//! What policy drops whatever the port, in a NIC.

use terrace_nic_lab::{Daemon, Link, Netdevsim, sh};

use super::{UPLINK, rules, rules_of, takes_rules};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: { app: web }
  annotations: { terrace.io/interface: work0 }
spec:
  nodeName: lab
  containers: [{ name: main }]
status:
  podIP: 10.7.0.2
  podIPs: [{ ip: 10.7.0.2 }]
";

fn wall(ingress: &str, egress: &str) -> String {
    format!(
        "
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{ name: wall, namespace: shop }}
spec:
  endpointSelector: {{}}
  ingressDeny: [{{ fromCIDR: [{ingress}] }}]
  egressDeny: [{{ toCIDR: [{egress}] }}]
"
    )
}

fn closed(daemon: &Daemon, what: &str, sources: &[&str]) {
    let found = || {
        let rules = rules_of(UPLINK, 2);
        let keys: Vec<_> = rules
            .iter()
            .map(|rule| rule["options"]["keys"].clone())
            .collect();
        let both = |source: &&str| {
            ["tcp", "udp"].iter().all(|protocol| {
                keys.iter().any(|key| {
                    key["src_ip"] == *source
                        && key["dst_ip"] == "10.7.0.2"
                        && key["ip_proto"] == *protocol
                })
            })
        };
        (keys.len() == 2 * sources.len() && sources.iter().all(both)).then_some(())
    };
    daemon.until(what, found);
}

#[test]
fn prefixes_that_policy_closes_both_ways_are_rules_of_their_own_and_leave_with_the_policy() {
    if !takes_rules() {
        return;
    }
    let device = Netdevsim::named(8, UPLINK);
    sh("ethtool -K upsim hw-tc-offload on");
    let _work = Link::add("work0", "type veth peer name work1").expect("veth");
    let config = "[[interfaces]]\nmatch = \"work0\"\nrole = \"workload\"\n\n[offload]\ndeny_list = \"flower\"\n";
    let mut daemon = Daemon::with(config, "192.0.2.0/24\n");
    daemon.manifest("pod.yaml", POD);
    daemon.manifest(
        "wall.yaml",
        &wall(
            "198.51.100.0/24, 203.0.113.0/24",
            "198.51.100.0/24, 203.0.113.0/24",
        ),
    );
    closed(
        &daemon,
        "two prefixes",
        &["198.51.100.0/24", "203.0.113.0/24"],
    );
    assert_eq!(rules(UPLINK), 1, "the deny list is there beside it");
    assert!(daemon.has_told("nic-holds", "4 of 4 entries of what policy closes"));
    let row = daemon.row(UPLINK, "policy");
    assert!(
        row["blockers"]
            .to_string()
            .contains("4 of 4 drops of policy"),
        "{row}"
    );
    let nics = daemon.json("status")["nics"].to_string();
    assert!(nics.contains("\"part\":\"policy\""), "{nics}");
    let rule = rules_of(UPLINK, 2).remove(0);
    let met = super::counters::counted(80, (UPLINK, 0xa002), &rule);
    super::counters::dropped(&daemon, "ingress_denied", met);
    super::counters::only_ours(&daemon);
    // Answers of one prefix may come in from now on.
    daemon.manifest(
        "wall.yaml",
        &wall("198.51.100.0/24, 203.0.113.0/24", "203.0.113.0/24"),
    );
    daemon.manifest("out.yaml", OUT);
    closed(&daemon, "one prefix", &["203.0.113.0/24"]);
    daemon.crash_and_restart("");
    closed(&daemon, "the same after a crash", &["203.0.113.0/24"]);
    assert_eq!(rules(UPLINK), 0, "the list of before the crash is gone");
    daemon.stop();
    assert!(rules_of(UPLINK, 2).is_empty());
    drop(device);
}

const OUT: &str = "
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: out, namespace: shop }
spec:
  endpointSelector: {}
  egress: [{ toCIDR: [198.51.100.0/24] }]
";
