//! Facts in one line: `link.mtu=9000 xdp.features=[basic,redirect] p:link.mtu=1500`.

use terrace_offload::facts::{Confidence, Fact, HostFacts, InterfaceFacts, Value};
use terrace_offload::judge::{Judged, judge};
use terrace_offload::{Machine, Needs, Profiles, Role};

/// A host of one line of facts.
#[derive(Debug, Clone)]
pub struct Case {
    pub host: HostFacts,
    pub interfaces: Vec<InterfaceFacts>,
    pub needs: Needs,
}

impl Case {
    pub fn new(driver: &str, facts: &str) -> Self {
        let mut case = Self {
            host: HostFacts {
                kernel: "6.12.0".to_owned(),
                arch: "x86_64".to_owned(),
                cpus_possible: Some(4),
                page_size: 4096,
                tcx: Some(true),
                ..HostFacts::default()
            },
            interfaces: vec![InterfaceFacts {
                ifindex: 2,
                name: "eth0".to_owned(),
                ..InterfaceFacts::default()
            }],
            needs: Needs::default(),
        };
        case.set_one("id.driver", driver);
        case.set(facts);
        case
    }

    pub fn set(&mut self, facts: &str) {
        for word in facts.split_whitespace().filter(|word| *word != "-") {
            let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("{word}"));
            match key.strip_prefix("p:") {
                Some(key) => self.port().facts.0.insert(key.to_owned(), fact(value)),
                None => {
                    self.set_one(key, value);
                    None
                }
            };
        }
    }

    fn port(&mut self) -> &mut InterfaceFacts {
        if self.interfaces.len() == 1 {
            self.interfaces.push(InterfaceFacts {
                ifindex: 3,
                name: "port0".to_owned(),
                ..InterfaceFacts::default()
            });
        }
        &mut self.interfaces[1]
    }

    fn set_one(&mut self, key: &str, value: &str) {
        let iface = &mut self.interfaces[0];
        match key {
            "kernel" => self.host.kernel = format!("{value}.0"),
            "cpus" => self.host.cpus_possible = Some(value.parse().expect("a number")),
            "page" => self.host.page_size = value.parse().expect("a number"),
            "arch" => self.host.arch = value.to_owned(),
            "tcx" => self.host.tcx = value.parse().ok(),
            "role" => iface.role = serde_json::from_value(value.into()).expect("a role"),
            "switch_id" => iface.switch_id = Some(value.to_owned()),
            "frags" => self.needs.frags = value == "true",
            "for" => {
                self.needs.role = match value {
                    "uplink" => Some(Role::Uplink),
                    "workload" => Some(Role::Workload),
                    _ => None,
                }
            }
            key => {
                iface.facts.0.insert(key.to_owned(), fact(value));
            }
        }
    }

    pub fn machine(&self) -> Machine<'_> {
        Machine {
            host: &self.host,
            interfaces: &self.interfaces,
            profiles: Profiles::shipped(),
        }
    }

    /// A fact as fixes see it.
    pub fn value(&self, key: &str) -> Option<terrace_nic_profiles::Value> {
        terrace_offload::judge::fact(self.machine(), &self.interfaces[0], self.needs, key)
    }

    pub fn judge(&self) -> Judged {
        judge(self.machine(), &self.interfaces[0], self.needs)
    }
}

/// `!value` was tried, `?` is unknown, anything else the kernel says.
fn fact(text: &str) -> Fact {
    if text == "?" {
        return Fact::unknown("row", "nobody told");
    }
    match text.strip_prefix('!') {
        Some(text) => Fact::new(Confidence::Verified, value(text), "row").with("-EINVAL"),
        None => Fact::declared(value(text), "row"),
    }
}

fn value(text: &str) -> Value {
    if let Some(list) = text.strip_prefix('[') {
        let words = list.trim_end_matches(']').split(',');
        return Value::List(words.filter(|w| !w.is_empty()).map(str::to_owned).collect());
    }
    match (text, text.parse::<i64>()) {
        ("null", _) => Value::Null,
        ("true" | "false", _) => Value::Bool(text == "true"),
        (_, Ok(number)) => Value::Int(number),
        _ => Value::Text(text.to_owned()),
    }
}
