//! Rows of the language of rules.

use proptest::prelude::*;

use super::*;

fn facts(key: &str) -> Option<Value> {
    Some(match key {
        "link.mtu" => Value::Int(9000),
        "link.up" => Value::Bool(true),
        "channels.combined" => Value::Int(4),
        "channels.combined_max" => Value::Int(8),
        "host.kernel" => Value::version(6, 12),
        "feat.rx-lro" => Value::text("on"),
        "ifname" => Value::text("eth0"),
        "xdp.features" => Value::List(vec!["basic".into(), "rx-sg".into()]),
        _ => return None,
    })
}

#[test]
fn predicates_hold_do_not_hold_or_name_what_is_missing() {
    let rows: [(&str, Result<bool, &str>); 22] = [
        ("link.mtu > 3498", Ok(true)),
        ("link.mtu <= 3498", Ok(false)),
        ("link.mtu == 9000", Ok(true)),
        ("link.mtu != 9000", Ok(false)),
        ("channels.combined > channels.combined_max / 2", Ok(false)),
        (
            "channels.combined + 1 > channels.combined_max / 2",
            Ok(true),
        ),
        ("channels.combined * 2 >= channels.combined_max", Ok(true)),
        ("host.kernel >= 6.4", Ok(true)),
        ("host.kernel < 6.13", Ok(true)),
        ("feat.rx-lro in ['on', 'on-fixed']", Ok(true)),
        ("feat.rx-lro in ['off']", Ok(false)),
        ("xdp.features has 'basic'", Ok(true)),
        ("xdp.features lacks 'basic'", Ok(false)),
        ("xdp.features lacks 'redirect'", Ok(true)),
        ("link.up == true", Ok(true)),
        ("link.up is known", Ok(true)),
        ("link.up is unknown", Ok(false)),
        ("eswitch.mode is unknown", Ok(true)),
        ("eswitch.mode == 'legacy'", Err("eswitch.mode")),
        ("link.mtu > driver.mtu_limit", Err("driver.mtu_limit")),
        ("link.mtu == 'large'", Err("link.mtu")),
        ("link.mtu / 0 == 1", Err("")),
    ];
    for (text, expected) in rows {
        let predicate: Predicate = text.parse().unwrap();
        let got = predicate.holds(&facts);
        match expected {
            Ok(expected) => assert_eq!(got, Ok(expected), "{text}"),
            Err(key) => assert_eq!(got.unwrap_err().concat(), key, "{text}"),
        }
    }
}

#[test]
fn what_is_no_predicate_is_refused_with_the_reason() {
    let rows = [
        ("", "a value is missing"),
        ("link.mtu", "a comparison is missing"),
        ("link.mtu >", "a value is missing"),
        ("link.mtoo > 3", "is no fact"),
        ("link.mtu ~ 3", "is no comparison"),
        ("link.mtu > 3 4", "is too much"),
        ("link.mtu > 3x", "neither a whole number nor a version"),
        ("feat.rx-lro == on", "texts need quotes"),
        ("feat.rx-lro is on", "`is known`"),
        ("feat.rx-lro in 'on'", "write a list"),
        ("feat.rx-lro in [", "write a list"),
        ("feat.rx-lro == 'on", "a quote that does not end"),
        ("link.mtu + > 3", "is no fact"),
    ];
    for (text, words) in rows {
        let error = text.parse::<Predicate>().unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn texts_are_filled_with_facts() {
    let rows = [
        (
            "ip link set dev {ifname} mtu 3498",
            "ip link set dev eth0 mtu 3498",
        ),
        ("{channels.combined_max / 2}", "4"),
        ("MTU {link.mtu} of {peer.mtu}", "MTU 9000 of ?"),
        ("plain", "plain"),
    ];
    for (text, expected) in rows {
        let template: Template = text.parse().unwrap();
        assert_eq!(template.fill(&facts), expected, "{text}");
    }
    for text in ["{", "{link.mtu", "{link.mtoo}", "{}"] {
        assert!(text.parse::<Template>().is_err(), "{text}");
    }
}

#[test]
fn assignments_say_what_a_fact_becomes() {
    let assignment: Assignment = "channels.combined = channels.combined_max / 2"
        .parse()
        .unwrap();
    assert_eq!(assignment.key, "channels.combined");
    assert_eq!(assignment.value(&facts), Some(Value::Int(4)));
    assert!("link.mtu 3".parse::<Assignment>().is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,60}") {
        let _ = text.parse::<Predicate>();
        let _ = text.parse::<Template>();
        let _ = text.parse::<Assignment>();
    }
}
