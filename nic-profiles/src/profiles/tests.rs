//! The shipped files hold together; an operator's files change what they say.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{Outcome, Target};

fn facts<'f>(rows: &'f [(&'f str, Value)]) -> impl Fn(&str) -> Option<Value> + 'f {
    move |key| {
        let row = rows.iter().find(|(name, _)| *name == key);
        row.map(|(_, value)| value.clone())
    }
}

#[test]
fn every_shipped_file_is_read() {
    let profiles = read::shipped().unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(profiles.drivers.len(), 63);
    assert!(profiles.situations.len() >= 25);
}

#[test]
fn files_are_called_as_what_is_in_them() {
    let profiles = Profiles::shipped();
    let drivers: BTreeSet<&str> = profiles.drivers.keys().map(String::as_str).collect();
    let ids: BTreeSet<&str> = profiles.situations.keys().map(String::as_str).collect();
    assert_eq!(names(crate::files::DRIVERS), drivers);
    assert_eq!(names(crate::files::SITUATIONS), ids);
}

fn names(files: &'static [(&str, &str)]) -> BTreeSet<&'static str> {
    let name = |file: &'static str| file.split(['/', '.']).nth(1).unwrap();
    files.iter().map(|(file, _)| name(file)).collect()
}

#[test]
fn a_rule_of_a_driver_has_one_meaning() {
    for driver in Profiles::shipped().drivers() {
        let mut seen = BTreeSet::new();
        for rule in &driver.rules {
            assert!(seen.insert(&rule.id), "{}: {}", driver.name, rule.id);
        }
    }
}

#[test]
fn names_of_drivers_are_shared_by_rows_with_pci_ids_only() {
    let mut owners: BTreeMap<&str, Vec<&Driver>> = BTreeMap::new();
    for driver in Profiles::shipped().drivers() {
        for name in &driver.names {
            owners.entry(name).or_default().push(driver);
        }
    }
    for (name, drivers) in owners {
        let told_apart = drivers.iter().all(|driver| !driver.pci_ids.is_empty());
        assert!(drivers.len() == 1 || told_apart, "{name}");
    }
}

#[test]
fn the_pci_id_tells_drivers_of_one_name_apart() {
    let profiles = Profiles::shipped();
    let rows = [
        ("mlx5_core", Some("15b3:1017"), "mlx5_core"),
        ("mlx5_core", Some("15b3:a2dc"), "mlx5_bluefield"),
        ("mlx5_core", Some("15b3:ffff"), "mlx5_core"),
        ("mlx5_core", None, "mlx5_core"),
        ("stmmaceth", None, "stmmac"),
        ("lo", None, "loopback"),
    ];
    for (name, pci, expected) in rows {
        let driver = profiles
            .driver(name, pci)
            .map(|driver| driver.name.as_str());
        assert_eq!(driver, Some(expected), "{name} {pci:?}");
    }
    assert_eq!(profiles.driver("no such driver", None), None);
}

#[test]
fn the_most_specific_situation_is_taken() {
    type Row<'r> = (
        &'r str,
        Vec<(&'r str, Value)>,
        Option<&'r str>,
        Option<&'r str>,
    );
    let rows: Vec<Row<'_>> = vec![
        (
            "Firecracker",
            vec![
                ("id.driver", "virtio_net".into()),
                ("virtio.f.ctrl_guest_offloads", false.into()),
                ("virtio.f.guest_csum_or_tso", true.into()),
            ],
            Some("virtio_net"),
            Some("virtio-net-firecracker"),
        ),
        (
            "a virtio NIC that hides its bits",
            vec![("id.driver", "virtio_net".into())],
            Some("virtio_net"),
            None,
        ),
        (
            "BlueField on its Arm cores",
            vec![
                ("id.driver", "mlx5_core".into()),
                ("id.pci", "15b3:a2dc".into()),
                ("host.arch", "aarch64".into()),
                ("eswitch.mode", "switchdev".into()),
            ],
            Some("mlx5_bluefield"),
            Some("bluefield-arm"),
        ),
        (
            "ConnectX in legacy mode",
            vec![
                ("id.driver", "mlx5_core".into()),
                ("id.pci", "15b3:1017".into()),
                ("eswitch.mode", "legacy".into()),
            ],
            Some("mlx5_core"),
            Some("mlx5-legacy"),
        ),
        (
            "ENA out of the tree",
            vec![
                ("id.driver", "ena".into()),
                ("driver.in_tree", false.into()),
            ],
            Some("ena"),
            Some("aws-ena-amazon"),
        ),
        (
            "nothing known",
            vec![("id.driver", "foo".into())],
            None,
            None,
        ),
    ];
    for (name, row, driver, situation) in rows {
        let facts = facts(&row);
        let known = Profiles::shipped().known(&facts);
        assert_eq!(known.driver.map(|d| d.name.as_str()), driver, "{name}");
        assert_eq!(known.situation.map(|s| s.id.as_str()), situation, "{name}");
    }
}

fn with(text: &str) -> Result<Profiles, Faults> {
    Profiles::with(&[("my.toml".to_owned(), text.to_owned())])
}

const ENA: &str = "schema = \"nic-driver/1\"\nname = \"ena\"\n";

#[test]
fn an_operators_file_changes_what_it_states_and_nothing_else() {
    let changed = with(&format!("{ENA}[limits]\nmtu_limit_single_buffer = 3000\n")).unwrap();
    let shipped = Profiles::shipped().driver("ena", None).unwrap();
    let ena = changed.driver("ena", None).unwrap();
    assert_eq!(ena.limits.mtu_limit_single_buffer, 3000);
    assert_eq!(ena.xdp, shipped.xdp);
    assert_eq!(ena.rules, shipped.rules);
    assert_eq!(changed.drivers.len(), Profiles::shipped().drivers.len());
}

#[test]
fn an_operators_rule_replaces_the_one_with_its_id() {
    let text = format!(
        "{ENA}[[rule]]\nid = \"ena.queues\"\neffect = \"info\"\ntarget = [\"xdp.native\"]\ntext = \"lifted\"\nsource = [\"us\"]\n"
    );
    let profiles = with(&text).unwrap();
    let ena = profiles.driver("ena", None).unwrap();
    let rules: Vec<_> = ena
        .rules
        .iter()
        .filter(|rule| rule.id == "ena.queues")
        .collect();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].effect, crate::Effect::Info);
    assert_eq!(
        ena.rules.len(),
        Profiles::shipped().driver("ena", None).unwrap().rules.len()
    );
}

#[test]
fn faults_of_an_operators_file_name_file_and_line() {
    let rows = [
        ("an unknown key", format!("{ENA}[xdp]\nnativ = \"5.6\"\n"), "my.toml:4: unknown field `nativ`"),
        ("a bad range", format!("{ENA}[xdp]\nnative = \"soon\"\n"), "my.toml:4: \"soon\" is no version range"),
        ("bad TOML", format!("{ENA}[xdp\n"), "my.toml:3: "),
        ("a bad schema", "schema = \"nic-driver/9\"\n".to_owned(), "my.toml:1: schema"),
        ("no schema", "name = \"ena\"\n".to_owned(), "my.toml: the first key must be `schema`"),
        ("a new driver that is not whole", "schema = \"nic-driver/1\"\nname = \"mine\"\n".to_owned(), "missing field"),
        (
            "a rule with a misspelt fact",
            format!("{ENA}[[rule]]\nid = \"a\"\nwhen = [\"link.mtoo > 3\"]\neffect = \"deny\"\ntarget = [\"xdp.native\"]\ntext = \"t\"\nsource = [\"s\"]\n"),
            "my.toml:5: \"link.mtoo\" is no fact",
        ),
        (
            "a rule without a source",
            format!("{ENA}[[rule]]\nid = \"my.rule\"\neffect = \"deny\"\ntarget = [\"xdp.native\"]\ntext = \"t\"\nsource = []\n"),
            "my.toml:4: rule my.rule: it has no source",
        ),
        (
            "a rule about what no file says",
            format!("{ENA}[[rule]]\nid = \"my.rule\"\nwhen = [\"driver.colour == 'red'\"]\neffect = \"deny\"\ntarget = [\"xdp.native\"]\ntext = \"t\"\nsource = [\"s\"]\n"),
            "`driver.colour` is nothing that a driver's file says",
        ),
        (
            "a situation of no driver",
            "schema = \"nic-situation/1\"\nid = \"mine\"\ntitle = \"t\"\nstatus = \"draft\"\nreviewed = \"2026-11-22\"\ndriver = \"foo\"\n[match]\ndriver = [\"foo\"]\n".to_owned(),
            "driver \"foo\" has no file",
        ),
    ];
    for (name, text, expected) in rows {
        let faults = with(&text).unwrap_err().to_string();
        assert!(faults.contains(expected), "{name}: {faults}");
    }
}

#[test]
fn all_faults_of_all_files_are_told() {
    let bad = || "schema = \"x\"\n".to_owned();
    let faults = Profiles::with(&[("a.toml".into(), bad()), ("b.toml".into(), bad())]);
    assert_eq!(faults.unwrap_err().0.len(), 2);
}

#[test]
fn a_folder_that_is_not_there_changes_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let none = Profiles::load(&tmp.path().join("none")).unwrap();
    assert_eq!(&none, Profiles::shipped());
    std::fs::write(tmp.path().join("a.toml"), format!("{ENA}vendor = \"me\"\n")).unwrap();
    std::fs::write(tmp.path().join("notes.txt"), "not read").unwrap();
    let changed = Profiles::load(tmp.path()).unwrap();
    assert_eq!(changed.driver("ena", None).unwrap().vendor, "me");
}

#[test]
fn a_situations_rule_takes_the_place_of_the_drivers() {
    let row = [
        ("id.driver", "ena".into()),
        ("driver.in_tree", false.into()),
    ];
    let facts = facts(&row);
    let known = Profiles::shipped().known(&facts);
    let queues: Vec<_> = known
        .rules()
        .filter(|rule| rule.id == "ena.queues")
        .collect();
    assert_eq!(queues.len(), 1);
    assert_eq!(queues[0].effect, crate::Effect::Warn);
    assert_eq!(
        known.fact("mtu_limit", (6, 12), 4096),
        Some(Value::Int(3502))
    );
    assert_eq!(known.fact("native", (6, 12), 4096), Some(Value::Bool(true)));
}

#[test]
fn an_answer_of_a_driver_leads_to_its_rule() {
    let row = [
        ("id.driver", "virtio_net".into()),
        ("virtio.f.ctrl_guest_offloads", false.into()),
        ("virtio.f.guest_csum_or_tso", true.into()),
    ];
    let facts = facts(&row);
    let known = Profiles::shipped().known(&facts);
    let text = "Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM first";
    let rule = known.explain("attach_drv", "EOPNOTSUPP", text).unwrap();
    assert_eq!(rule.id, "virtio.guest-offloads-fixed");
    assert_eq!(rule.check(&facts), Outcome::Fires);
    assert!(rule.is_about(Target::XdpNative));
    assert_eq!(known.explain("attach_drv", "ENOMEM", text), None);
}

#[test]
fn limits_from_the_size_of_a_page_are_known_for_small_pages_only() {
    let rows = [
        ("ena", 4096, Some(3498)),
        ("ena", 65536, None),
        ("igc", 65536, Some(1500)),
        ("fec", 4096, None),
    ];
    for (name, page, expected) in rows {
        let driver = Profiles::shipped().driver(name, None).unwrap();
        assert_eq!(driver.mtu_limit(page), expected, "{name} {page}");
    }
}
