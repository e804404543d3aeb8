//! What becomes of a fact that two sources tell.

use super::{Confidence, Fact, Facts, Value, keys};

#[test]
fn joining_two_sources_keeps_the_surer_and_shows_the_other() {
    use Confidence::{Computed, Contradicted, Declared, Profile, Unknown, Verified};
    type Side = (Confidence, bool);
    #[rustfmt::skip]
    let rows: &[(&str, Side, Side, Side, usize)] = &[
        ("unknown gives way", (Unknown, false), (Profile, true), (Profile, true), 0),
        ("equal values take the surer source", (Declared, true), (Verified, true), (Verified, true), 0),
        ("a profile yields to the kernel, and is shown", (Profile, true), (Declared, false), (Declared, false), 1),
        ("a trial beats the kernel's word", (Declared, true), (Verified, false), (Verified, false), 1),
        ("a trial beats a rule", (Computed, false), (Verified, true), (Verified, true), 1),
        ("a rule against the kernel: the pessimist plans", (Declared, true), (Computed, false), (Contradicted, false), 1),
        ("a hopeful rule does not lift the kernel's no", (Declared, false), (Computed, true), (Contradicted, false), 1),
    ];
    for (name, a, b, expected, against) in rows {
        for (x, y) in [(a, b), (b, a)] {
            let fact = |side: &Side, source: &str| {
                let value = if side.0 == Unknown {
                    Value::Null
                } else {
                    side.1.into()
                };
                Fact::new(side.0, value, source)
            };
            let joined = fact(x, "x").join(fact(y, "y"));
            assert_eq!(
                (joined.confidence, joined.value.as_bool()),
                (expected.0, Some(expected.1)),
                "{name}"
            );
            assert_eq!(joined.against.len(), *against, "{name}");
        }
    }
}

#[test]
fn what_was_not_asked_is_unknown_and_not_no() {
    let facts = Facts::default();
    assert_eq!(facts.bool("xdp.native"), None);
    assert_eq!(facts.confidence("xdp.native"), Confidence::Unknown);
}

#[test]
fn facts_survive_json() {
    let mut facts = Facts::default();
    facts.learn(
        "link.mtu",
        Fact::declared(1500u32, "rtnl.IFLA_MTU").transient(),
    );
    facts.learn(
        "host.numa_node",
        Fact::declared(Value::Null, "sysfs").with("-1"),
    );
    facts.learn(
        "xdp.features",
        Fact::declared(vec!["basic".to_owned()], "netdev").with("0x1"),
    );
    let json = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
}

#[test]
fn no_key_is_listed_twice() {
    let mut seen = std::collections::BTreeSet::new();
    for (key, meaning) in keys::KEYS {
        assert!(seen.insert(key), "{key}");
        assert!(!meaning.is_empty() && keys::is_known(key), "{key}");
    }
}
