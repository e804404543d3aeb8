//! The family `devlink`: the switch in the NIC, its ports, firmware, health.

use super::{Learned, fact};
use crate::facts::{Fact, Value};
use crate::wire::devlink::ANY;

/// `pci/0000:81:00.0`.
pub fn handle(message: &[u8]) -> Option<String> {
    let attrs = ANY.attrs(message);
    Some(format!("{}/{}", attrs.text(1)?, attrs.text(2)?))
}

/// Bus and device.
pub fn address(message: &[u8]) -> Option<(String, String)> {
    let attrs = ANY.attrs(message);
    attrs.text(1).zip(attrs.text(2))
}

/// A port that an interface belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The interface.
    pub ifindex: u32,
    /// Bus and device.
    pub handle: String,
    /// `physical`, `pcivf`, ...
    pub flavour: String,
}

impl Port {
    /// Whether it stands for a function behind the switch.
    pub fn is_representor(&self) -> bool {
        matches!(self.flavour.as_str(), "pcipf" | "pcivf" | "pcisf")
    }
}

/// A port with an interface.
pub fn port(message: &[u8]) -> Option<Port> {
    const FLAVOURS: [&str; 8] = [
        "physical", "cpu", "dsa", "pcipf", "pcivf", "virtual", "unused", "pcisf",
    ];
    let attrs = ANY.attrs(message);
    let flavour = attrs.uint(77);
    let known = flavour.and_then(|f| FLAVOURS.get(usize::try_from(f).ok()?));
    let flavour = known.map_or_else(
        || format!("unknown:{}", flavour.unwrap_or(u64::MAX)),
        |word| (*word).to_owned(),
    );
    Some(Port {
        ifindex: attrs.u32(6)?,
        handle: handle(message)?,
        flavour,
    })
}

fn word(words: &[&str], number: u64) -> String {
    let known = usize::try_from(number).ok().and_then(|n| words.get(n));
    known.map_or_else(|| format!("unknown:{number}"), |word| (*word).to_owned())
}

/// The switch's mode.
pub fn eswitch(message: &[u8]) -> Learned {
    let attrs = ANY.attrs(message);
    let mut facts = Learned::new();
    let mut told = |key: &str, value: String, id: u16| {
        let value = Fact::declared(value, format!("devlink.ESWITCH_GET.{id}"));
        facts.push(fact(key, value));
    };
    if let Some(mode) = attrs.uint(25) {
        let modes = ["legacy", "switchdev", "switchdev_inactive"];
        told("eswitch.mode", word(&modes, mode), 25);
    }
    if let Some(mode) = attrs.uint(26) {
        let modes = ["none", "link", "network", "transport"];
        told("eswitch.inline_mode", word(&modes, mode), 26);
    }
    if let Some(mode) = attrs.uint(62) {
        told("eswitch.encap_mode", word(&["none", "basic"], mode), 62);
    }
    facts
}

/// Driver and firmware.
pub fn info(message: &[u8]) -> Learned {
    let attrs = ANY.attrs(message);
    let mut facts = Learned::new();
    if let Some(driver) = attrs.text(98) {
        let value = Fact::declared(driver, "devlink.INFO_GET.98");
        facts.push(fact("devlink.driver", value));
    }
    // Running versions win over the fixed and the stored ones.
    for id in [101, 100, 102] {
        for version in attrs.nests(id) {
            let Some((name, value)) = version.text(103).zip(version.text(104)) else {
                continue;
            };
            let key = format!("devlink.fw.{name}");
            if !name.is_empty() && !facts.iter().any(|(known, _)| *known == key) {
                let value = Fact::declared(value, format!("devlink.INFO_GET.{id}"));
                facts.push((key, value));
            }
        }
    }
    facts
}

/// A reporter of a device: its name, whether it is in error, and how many
/// errors it has seen.
pub fn reporter(message: &[u8]) -> Option<(String, bool, u64)> {
    const ERROR: u64 = 1;
    let reporter = ANY.attrs(message).nest(114);
    let in_error = reporter.uint(116)? == ERROR;
    Some((
        reporter.text(115)?,
        in_error,
        reporter.uint(117).unwrap_or(0),
    ))
}

/// A parameter's value while running.
pub fn parameter(message: &[u8]) -> Option<(String, Fact)> {
    const RUNTIME: u64 = 0;
    const NLA_STRING: u64 = 5;
    const NLA_FLAG: u64 = 6;
    let param = ANY.attrs(message).nest(80);
    let name = param.text(81).filter(|name| !name.is_empty())?;
    let kind = param.uint(83)?;
    let runtime = param.nest(84).nests(85);
    let mut runtime = runtime.filter(|value| value.uint(87) == Some(RUNTIME));
    let value = runtime.next()?;
    let data: Value = match kind {
        NLA_FLAG => value.has(86).into(),
        NLA_STRING => value.text(86)?.into(),
        _ => value.uint(86)?.into(),
    };
    let told = Fact::declared(data, "devlink.PARAM_GET");
    Some(fact(format!("devlink.param.{name}"), told))
}
