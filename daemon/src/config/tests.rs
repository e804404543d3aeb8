//! Rows: what is written, what comes of it.

use std::path::Path;
use std::time::Duration;

use super::*;

const INTERFACE: &str = "[[interfaces]]\nmatch = \"eth0\"\nrole = \"uplink\"\n";

fn example() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/terrace.toml");
    std::fs::read_to_string(path).unwrap()
}

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(Path::new("/etc/terrace/terrace.toml"), text)
}

/// Everything but the interfaces, comparable.
fn without_interfaces(config: Config) -> String {
    format!(
        "{:#?}",
        Config {
            interfaces: Vec::new(),
            ..config
        }
    )
}

#[test]
fn the_example_says_the_defaults() {
    let config = parse(&example()).unwrap();
    assert_eq!(
        without_interfaces(config),
        without_interfaces(Config::default())
    );
}

#[test]
fn the_least_configuration_is_one_interface() {
    let config = parse(INTERFACE).unwrap();
    assert_eq!(
        without_interfaces(config),
        without_interfaces(Config::default())
    );
}

#[test]
fn the_example_names_every_key() {
    let Faults(faults) = parse(&format!("x = 1\n{}", example())).unwrap_err();
    assert_eq!(faults.len(), 1);
    for key in faults[0]
        .fix
        .trim_start_matches("it can be one of: ")
        .split(", ")
    {
        let written = [format!("{key} ="), format!("[{key}]"), format!("[[{key}]]")];
        assert!(
            written.iter().any(|form| example().contains(form)),
            "{key} is not in the example"
        );
    }
}

#[test]
fn the_comments_of_the_example_parse_when_uncommented() {
    let text = example()
        .replace("#node_name", "node_name")
        .replace("#[interfaces", "[interfaces")
        .replace("#xdp", "xdp");
    let config = parse(&text).unwrap();
    assert_eq!(config.node_name, "node-1");
    let steer = &config.interfaces[1].tiers[&Task::Steer];
    assert_eq!(steer[&Tier::XdpNative], Wish::Require);
    assert_eq!(steer[&Tier::XdpGeneric], Wish::Forbid);
}

/// Name, text, line, key, part of what is wrong, part of what to do.
#[rustfmt::skip]
const WRONG: &[(&str, &str, usize, &str, &str, &str)] = &[
    ("syntax", "a = = 1", 1, "", "", "toml.io"),
    ("no interface", "", 0, "interfaces", "no interface is named", "[[interfaces]]"),
    ("role missing", "[[interfaces]]\nmatch = \"eth0\"", 1, "interfaces[0].role", "is missing", "uplink"),
    ("match missing", "[[interfaces]]\nrole = \"uplink\"", 1, "interfaces[0].match", "is missing", "glob"),
    ("role unknown", "[[interfaces]]\nmatch = \"eth0\"\nrole = \"uplnk\"", 3, "interfaces[0].role", "\"uplnk\" is not known", "did you mean `uplink`?"),
    ("bad glob", "[[interfaces]]\nmatch = \"eth[0\"\nrole = \"uplink\"", 2, "interfaces[0].match", "eth[0", "glob"),
    ("name too long", "[[interfaces]]\nmatch = \"a-name-of-16-byte\"\nrole = \"uplink\"", 2, "interfaces[0].match", "can't be the name", "ip -br link"),
    ("shadowed", "[[interfaces]]\nmatch = \"e*\"\nrole = \"uplink\"\n[[interfaces]]\nmatch = \"eth0\"\nrole = \"uplink\"", 5, "interfaces[1].match", "already matched by \"e*\"", "further up"),
    ("interfaces no array", "interfaces = \"eth0\"", 1, "interfaces", "is a string, not an array of tables", "[[interfaces]]"),
    ("unknown task", "[[interfaces]]\nmatch = \"eth0\"\nrole = \"uplink\"\n[interfaces.tiers.stear]\ntc = \"auto\"", 4, "interfaces[0].tiers.stear", "no key", "did you mean `steer`?"),
    ("unknown tier", "[[interfaces]]\nmatch = \"eth0\"\nrole = \"uplink\"\ntiers.steer.xdp = \"auto\"", 4, "interfaces[0].tiers.steer.xdp", "no key", "xdp-native"),
    ("two required", "[[interfaces]]\nmatch = \"eth0\"\nrole = \"uplink\"\ntiers.steer.tc = \"require\"\ntiers.steer.xdp-native = \"require\"", 4, "interfaces[0].tiers.steer", "more than one tier", "require one"),
    ("task of uplinks only", "[[interfaces]]\nmatch = \"w*\"\nrole = \"workload\"\ntiers.prefilter.tc = \"require\"", 4, "interfaces[0].tiers.prefilter", "do not have this task", "for an uplink"),
    ("unknown key", "manifest = \"/a\"", 1, "manifest", "is no key of Terrace", "did you mean `manifests`?"),
    ("key far from all", "colour = 1", 1, "colour", "is no key of Terrace", "it can be one of: cluster_cidrs,"),
    ("key in a table", "[services]\nmaglev = 5", 2, "services.maglev", "is no key", "maglev_size"),
    ("table is a value", "services = 1", 1, "services", "is an integer, not a table", "[services]"),
    ("not a prime", "[services]\nmaglev_size = 16382", 2, "services.maglev_size", "16382 is not a prime", "the next one is 16411"),
    ("out of range", "[services]\nmaglev_size = 7", 2, "services.maglev_size", "7 is out of range", "101"),
    ("negative", "[limits]\nflows = -1", 2, "limits.flows", "-1 is out of range", "whole number"),
    ("limit unknown", "[limits]\nflow = 1", 2, "limits.flow", "is no key", "did you mean `flows`?"),
    ("number in quotes", "[limits]\nflows = \"1000\"", 2, "limits.flows", "is a string, not a number", "whole number"),
    ("no duration", "[timeouts]\nudp = \"30\"", 2, "timeouts.udp", "\"30\" is not a duration", "30s"),
    ("bare number", "[timeouts]\nudp = 30", 2, "timeouts.udp", "is an integer, not a duration", "30s"),
    ("duration too long", "[timeouts]\nudp = \"721h\"", 2, "timeouts.udp", "out of range", "720h"),
    ("heartbeat too short", "[services]\nheartbeat_timeout = \"500ms\"", 2, "services.heartbeat_timeout", "below one second", "1s"),
    ("ports reversed", "[services]\nsnat_ports = \"30000-20000\"", 2, "services.snat_ports", "out of range", "10000-29999"),
    ("ports privileged", "[services]\nsnat_ports = \"80-29999\"", 2, "services.snat_ports", "out of range", "1024"),
    ("ports no range", "[services]\nsnat_ports = \"all\"", 2, "services.snat_ports", "not a port range", "10000-29999"),
    ("metrics not loopback", "metrics_listen = \"0.0.0.0:9477\"", 1, "metrics_listen", "from outside", "127.0.0.1"),
    ("metrics without port", "metrics_listen = \"127.0.0.1\"", 1, "metrics_listen", "not an address with a port", "9477"),
    ("node no address", "remote_nodes = [\"10.0.0.1\", \"node2\"]", 1, "remote_nodes[1]", "\"node2\" is not an address", "192.0.2.1"),
    ("list is a value", "remote_nodes = \"10.0.0.1\"", 1, "remote_nodes", "is a string, not an array", "brackets"),
    ("host bits", "cluster_cidrs = [\"10.1.2.3/8\"]", 1, "cluster_cidrs[0]", "bits beyond", "write 10.0.0.0/8"),
    ("boolean in quotes", "manage_sysctls = \"yes\"", 1, "manage_sysctls", "not a boolean", "true or false"),
    ("empty path", "manifests = \"\"", 1, "manifests", "is empty", "remove the key"),
    ("health timeout", "[health]\ninterval = \"1s\"\ntimeout = \"2s\"", 3, "health.timeout", "longer than the interval", "at most"),
    ("head longer than a buffer", "[l7]\nmax_head_bytes = 14001", 2, "l7.max_head_bytes", "14001 is out of range", "1024"),
    ("fields", "[l7]\nmax_fields = 129", 2, "l7.max_fields", "129 is out of range", "128"),
    ("target", "[l7]\nmax_target_bytes = 63", 2, "l7.max_target_bytes", "63 is out of range", "64"),
    ("http path", "[health]\nhttp_path = \"ready\"", 2, "health.http_path", "does not begin with /", "\"/ready\""),
];

#[test]
fn a_wrong_configuration_tells_line_key_fault_and_fix() {
    for (name, text, line, key, what, fix) in WRONG {
        let whole =
            match text.contains("interfaces") || name == &"no interface" || name == &"syntax" {
                true => (*text).to_owned(),
                false => format!("{text}\n{INTERFACE}"),
            };
        let Faults(faults) = parse(&whole).expect_err(name);
        let fault = &faults[0];
        assert_eq!(faults.len(), 1, "{name}: {faults:#?}");
        assert_eq!((fault.line, fault.key.as_str()), (*line, *key), "{name}");
        assert!(fault.what.contains(what), "{name}: {}", fault.what);
        assert!(fault.fix.contains(fix), "{name}: {}", fault.fix);
    }
}

#[test]
fn all_faults_are_told_at_once_by_line() {
    let text = "manifest = 1\n[limits]\nflows = \"x\"\n[services]\nmaglev_size = 4\n";
    let error = parse(text).unwrap_err();
    let lines: Vec<usize> = error.0.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [0, 1, 3, 5]);
    assert_eq!(
        error.to_string().lines().nth(1).unwrap(),
        "/etc/terrace/terrace.toml:1: manifest: is no key of Terrace; did you mean `manifests`?"
    );
}

#[test]
fn paths_count_from_the_folder_of_the_file() {
    let text = format!("manifests = \"m\"\ndeny_lists = [\"d.txt\", \"/abs\"]\n{INTERFACE}");
    let config = parse(&text).unwrap();
    assert_eq!(config.manifests, Path::new("/etc/terrace/m"));
    assert_eq!(
        config.deny_lists,
        [Path::new("/etc/terrace/d.txt"), Path::new("/abs")]
    );
}

#[test]
fn the_first_rule_that_matches_decides() {
    let text = "[[interfaces]]\nmatch = \"veth-up\"\nrole = \"uplink\"\n[[interfaces]]\nmatch = \"veth*\"\nrole = \"workload\"";
    let config = parse(text).unwrap();
    let rows = [
        ("veth-up", Some(Role::Uplink)),
        ("veth12", Some(Role::Workload)),
        ("eth0", None),
    ];
    for (name, role) in rows {
        assert_eq!(config.rule_of(name).map(|rule| rule.role), role, "{name}");
    }
}

#[test]
fn durations_take_units() {
    let rows = [
        ("250ms", 250),
        ("30s", 30_000),
        ("5m", 300_000),
        ("8h", 28_800_000),
    ];
    for (written, millis) in rows {
        let text = format!("{INTERFACE}\n[timeouts]\nudp = \"{written}\"");
        assert_eq!(
            parse(&text).unwrap().timeouts.udp,
            Duration::from_millis(millis),
            "{written}"
        );
    }
}

#[test]
fn metrics_can_be_off() {
    assert_eq!(
        parse(&format!("metrics_listen = \"off\"\n{INTERFACE}"))
            .unwrap()
            .metrics_listen,
        None
    );
}

#[test]
fn a_missing_file_says_what_to_do() {
    let error = Config::load(Path::new("/nowhere/terrace.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nowhere/terrace.toml: can't be read"),
        "{error}"
    );
    assert!(error.contains("-c"), "{error}");
}

#[test]
fn deny_lists_tell_every_bad_line() {
    let rows = [
        ("# only a comment\n\n", Ok(vec![])),
        (
            "192.0.2.1\n2001:db8::/32 # why\n",
            Ok(vec!["192.0.2.1/32", "2001:db8::/32"]),
        ),
        ("10.1.2.3/8\n", Ok(vec!["10.0.0.0/8"])),
        ("10.0.0.0/8\n10.0.0/8\nfoo\n", Err(vec![2, 3])),
        ("10.0.0.0/33\n", Err(vec![1])),
    ];
    for (text, expected) in rows {
        let read = deny::parse(Path::new("deny.txt"), text)
            .map(|prefixes| prefixes.iter().map(ToString::to_string).collect::<Vec<_>>())
            .map_err(|faults| faults.0.iter().map(|fault| fault.line).collect::<Vec<_>>());
        let expected = expected.map(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read, expected, "{text:?}");
    }
}
