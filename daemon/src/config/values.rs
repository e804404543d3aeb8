//! Readers of single values.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use ipnet::IpNet;

use super::section::{Value, Wrong, not_a, suggest};

pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Wrong> {
    value
        .get_ref()
        .as_bool()
        .ok_or_else(|| not_a("a boolean", value, "write true or false"))
}

pub(super) fn text(value: &Value<'_>) -> Result<String, Wrong> {
    match value.get_ref().as_str() {
        None => Err(not_a("a string", value, "write it in quotes")),
        Some("") => Err(Wrong::new("is empty", "name it, or remove the key")),
        Some(text) => Ok(text.to_owned()),
    }
}

/// A path of the file counts from the file's folder.
pub(super) fn path(value: &Value<'_>, folder: &Path) -> Result<PathBuf, Wrong> {
    text(value).map(|path| folder.join(path))
}

pub(super) fn integer(value: &Value<'_>, range: RangeInclusive<u32>) -> Result<u32, Wrong> {
    let fix = format!(
        "write a whole number from {} to {}",
        range.start(),
        range.end()
    );
    let Some(integer) = value.get_ref().as_integer() else {
        return Err(not_a("a number", value, &fix));
    };
    let number = u32::from_str_radix(integer.as_str(), integer.radix());
    number
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| Wrong::new(format!("{} is out of range", integer.as_str()), fix))
}

/// One of a fixed set of words.
pub(super) fn word<T: Copy>(value: &Value<'_>, words: &[(&str, T)]) -> Result<T, Wrong> {
    let written = text(value)?;
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    words
        .iter()
        .find(|(name, _)| *name == written)
        .map(|(_, word)| *word)
        .ok_or_else(|| {
            Wrong::new(
                format!("{written:?} is not known"),
                suggest(&written, &names),
            )
        })
}

pub(super) fn parsed<T: FromStr>(value: &Value<'_>, what: &str, fix: &str) -> Result<T, Wrong> {
    let written = text(value)?;
    written
        .parse()
        .map_err(|_| Wrong::new(format!("{written:?} is not {what}"), fix))
}

pub(super) fn address(value: &Value<'_>) -> Result<IpAddr, Wrong> {
    parsed(
        value,
        "an address",
        "write 192.0.2.1 or 2001:db8::1, without a prefix length",
    )
}

pub(super) fn prefix(value: &Value<'_>) -> Result<IpNet, Wrong> {
    let prefix: IpNet = parsed(value, "a prefix", "write 10.0.0.0/8 or 2001:db8::/32")?;
    if prefix.trunc() != prefix {
        let fix = format!("write {}", prefix.trunc());
        return Err(Wrong::new(
            format!("{prefix} has bits beyond its length"),
            fix,
        ));
    }
    Ok(prefix)
}

/// A loopback address and port, or `off`.
pub(super) fn loopback(value: &Value<'_>) -> Result<Option<SocketAddr>, Wrong> {
    if value.get_ref().as_str() == Some("off") {
        return Ok(None);
    }
    let fix = "write 127.0.0.1:9477, [::1]:9477 or \"off\"";
    let listen: SocketAddr = parsed(value, "an address with a port", fix)?;
    if !listen.ip().is_loopback() {
        return Err(Wrong::new(
            format!("{listen} can be reached from outside"),
            fix,
        ));
    }
    Ok(Some(listen))
}

/// `250ms`, `30s`, `5m`, `8h`; from 1 ms to 30 days.
pub(super) fn duration(value: &Value<'_>) -> Result<Duration, Wrong> {
    let fix = "write a number with its unit: \"250ms\", \"30s\", \"5m\" or \"8h\"";
    let Some(written) = value.get_ref().as_str() else {
        return Err(not_a("a duration", value, fix));
    };
    let digits = written
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(written.len());
    let (number, unit) = written.split_at(digits);
    let unit_ms = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let millis = number
        .parse::<u64>()
        .ok()
        .zip(unit_ms)
        .and_then(|(n, unit)| n.checked_mul(unit));
    let Some(millis) = millis else {
        return Err(Wrong::new(format!("{written:?} is not a duration"), fix));
    };
    if !(1..=30 * 24 * 3_600_000).contains(&millis) {
        return Err(Wrong::new(
            format!("{written:?} is out of range"),
            "from 1ms to 720h",
        ));
    }
    Ok(Duration::from_millis(millis))
}

/// `10000-29999`; at least 1024 ports, none below 1024.
pub(super) fn ports(value: &Value<'_>) -> Result<RangeInclusive<u16>, Wrong> {
    let fix = "write the first and last port: \"10000-29999\", from 1024 up, 1024 ports or more";
    let written = text(value)?;
    let range = written
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    match range {
        None => Err(Wrong::new(format!("{written:?} is not a port range"), fix)),
        Some((first, last)) if first < 1024u16 || u32::from(last) < u32::from(first) + 1023 => {
            Err(Wrong::new(format!("{written:?} is out of range"), fix))
        }
        Some((first, last)) => Ok(first..=last),
    }
}

/// Slots of a Maglev ring: a prime from 101 to 1048573.
pub(super) fn prime(value: &Value<'_>) -> Result<u32, Wrong> {
    let number = integer(value, 101..=1_048_573)?;
    if is_prime(number) {
        return Ok(number);
    }
    let next = (number..).find(|n| is_prime(*n)).unwrap_or(16_381);
    Err(Wrong::new(
        format!("{number} is not a prime"),
        format!("the next one is {next}"),
    ))
}

fn is_prime(number: u32) -> bool {
    number > 1
        && (2..)
            .take_while(|n| n * n <= number)
            .all(|n| !number.is_multiple_of(n))
}

/// An interface's name, or a glob of names.
pub(super) fn pattern(value: &Value<'_>) -> Result<(String, GlobMatcher), Wrong> {
    let written = text(value)?;
    let literal = !written.contains(['*', '?', '[', '{']);
    if literal && (written.len() > 15 || written.contains(['/', ' '])) {
        let fix = "`ip -br link` lists the names of this host";
        return Err(Wrong::new(
            format!("{written:?} can't be the name of an interface"),
            fix,
        ));
    }
    match GlobBuilder::new(&written).build() {
        Ok(glob) => Ok((written, glob.compile_matcher())),
        Err(error) => Err(Wrong::new(
            error.to_string(),
            "write a name or a glob like `veth*`",
        )),
    }
}

/// The name that this host gives itself.
pub(super) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}
