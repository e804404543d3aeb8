//! Pods with a proxy: each row is a pod's annotations and what becomes of them.

use std::path::Path;

use terrace_mesh::{Compiler, Redirect, SourceFile, parse};

use crate::support::facts;

const ISTIO: &str = "traffic.sidecar.istio.io/";

fn pod(annotations: &[(&str, &str)], container: &str) -> String {
    let lines: String = annotations
        .iter()
        .map(|(key, value)| format!("    {key}: {value:?}\n"))
        .collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    note: a\n{lines}\
         spec:\n  nodeName: node-1\n  containers:\n  - name: {container}\nstatus:\n  podIP: 10.0.1.1\n"
    )
}

fn redirect(text: String) -> Option<Redirect> {
    let file = SourceFile {
        path: Path::new("pod.yaml").into(),
        text,
    };
    let manifests = parse(&[file]).expect("a good manifest");
    let compiler = Compiler::new(manifests, facts(), None).expect("tables");
    let mut pods = compiler.proxied_pods();
    pods.next().and_then(|pod| pod.redirect.clone())
}

#[test]
fn who_has_a_proxy_is_as_istio_has_it() {
    let enabled = ("terrace.io/proxy", "enabled");
    let disabled = ("terrace.io/proxy", "disabled");
    let status = ("sidecar.istio.io/status", "{}");
    let none = ("sidecar.istio.io/interceptionMode", "NONE");
    let ports = ("traffic.sidecar.istio.io/excludeOutboundPorts", "80");
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, bool);
    let rows: [Row<'_>; 9] = [
        ("a pod without a word", &[], "main", false),
        ("one that says so", &[enabled], "main", true),
        ("one that was injected", &[status], "main", true),
        ("one with Istio's container", &[], "istio-proxy", true),
        ("injected, but not here", &[status, disabled], "main", false),
        ("injected, mode NONE", &[status, none], "main", false),
        (
            "mode NONE with lists",
            &[status, none, ports],
            "main",
            false,
        ),
        (
            "mode NONE, but enabled here",
            &[none, enabled],
            "main",
            true,
        ),
        ("injected with lists", &[status, ports], "main", true),
    ];
    for (row, annotations, container, expected) in rows {
        let found = redirect(pod(annotations, container));
        assert_eq!(found.is_some(), expected, "{row}");
    }
}

#[test]
fn without_lists_everything_but_the_proxys_own_ports_is_redirected() {
    let found = redirect(pod(&[], "istio-proxy")).expect("a redirect");
    let expected = Redirect {
        all_outbound: true,
        all_inbound: true,
        inbound_ports_excluded: vec![15_020, 15_021, 15_090],
        ..Redirect::default()
    };
    assert_eq!(found, expected);
}

#[test]
fn lists_are_read_as_istio_writes_them() {
    let key = |name: &str| format!("{ISTIO}{name}");
    let all = [
        (key("includeOutboundIPRanges"), "10.0.0.0/8, fd00::/8"),
        (key("excludeOutboundIPRanges"), "10.1.0.0/16"),
        (key("includeOutboundPorts"), "8080"),
        (key("excludeOutboundPorts"), "22,3306"),
        (key("includeInboundPorts"), "80,443"),
        (key("excludeInboundPorts"), "9000"),
        ("terrace.io/proxy-dns".to_owned(), "true"),
        ("terrace.io/cgroup".to_owned(), "/sys/fs/cgroup/pod/"),
    ];
    let all: Vec<_> = all
        .iter()
        .map(|(key, value)| (key.as_str(), *value))
        .collect();
    let found = redirect(pod(&all, "istio-proxy")).expect("a redirect");
    let nets = |texts: &[&str]| -> Vec<ipnet::IpNet> {
        texts
            .iter()
            .map(|text| text.parse().expect("a prefix"))
            .collect()
    };
    let expected = Redirect {
        all_outbound: false,
        outbound_nets: nets(&["10.0.0.0/8", "fd00::/8"]),
        outbound_nets_excluded: nets(&["10.1.0.0/16"]),
        outbound_ports: vec![8080],
        outbound_ports_excluded: vec![22, 3306],
        all_inbound: false,
        inbound_ports: vec![80, 443],
        inbound_ports_excluded: vec![9000, 15_020, 15_021, 15_090],
        dns: Some(true),
        cgroup: Some("/sys/fs/cgroup/pod".to_owned()),
        proxy_cgroup: None,
    };
    assert_eq!(found, expected);
}

#[test]
fn an_empty_list_of_what_is_included_means_nothing() {
    let rows = [
        ("includeOutboundIPRanges", false, true),
        ("includeInboundPorts", true, false),
    ];
    for (name, outbound, inbound) in rows {
        let key = format!("{ISTIO}{name}");
        let found = redirect(pod(&[(&key, "")], "istio-proxy")).expect("a redirect");
        assert_eq!(
            (found.all_outbound, found.all_inbound),
            (outbound, inbound),
            "{name}"
        );
    }
}

#[test]
fn a_pod_of_another_host_has_no_proxy_here() {
    let text = pod(&[], "istio-proxy").replace("node-1", "node-2");
    assert_eq!(redirect(text), None);
}
