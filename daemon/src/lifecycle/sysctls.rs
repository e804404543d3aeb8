//! Sysctls that the kernel's paths need: what they should be, changing them
//! with a record of what they were, and putting them back.
//!
//! `bpf_fib_lookup` refuses to answer for an interface that does not forward
//! (`BPF_FIB_LKUP_RET_FWD_DISABLED`), and the stack drops what Terrace passes
//! to it for routing. IPv4 forwards by the interface's own switch; IPv6 asks
//! `all` as well (net/ipv6/ip6_output.c, ip6_forward). A host that learns its
//! routes by router advertisements stops to listen once it forwards, unless
//! `accept_ra` is 2.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::api::Role;

const RECORD: &str = "sysctls.json";

/// A sysctl that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub sysctl: Sysctl,
    pub found: String,
    pub wanted: &'static str,
    pub why: &'static str,
}

/// A path below `/proc/sys/net`; interface names may have dots, so paths and
/// not dotted names are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sysctl(String);

impl Sysctl {
    fn path(&self) -> PathBuf {
        Path::new("/proc/sys/net").join(&self.0)
    }

    fn read(&self) -> Option<String> {
        Some(fs::read_to_string(self.path()).ok()?.trim().to_owned())
    }

    fn write(&self, value: &str) -> Result<()> {
        fs::write(self.path(), value).with_context(|| format!("set {self} to {value}"))
    }
}

impl std::fmt::Display for Sysctl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "net.{}", self.0.replace('/', "."))
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} is {}, should be {}: {}",
            self.sysctl, self.found, self.wanted, self.why
        )
    }
}

/// What was there before Terrace, and what Terrace wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    changed: BTreeMap<Sysctl, Changed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Changed {
    before: String,
    ours: String,
}

/// What is not as the interfaces need it.
pub fn needs(interfaces: &[(String, Role)], ipv6: bool) -> Vec<Need> {
    wanted(interfaces, ipv6)
        .into_iter()
        .filter_map(|(sysctl, wanted, why)| {
            // A sysctl that is not there (no IPv6) needs nothing.
            let found = sysctl.read()?;
            let open = match sysctl.0.rsplit('/').next() {
                // 0 was the operator's decision, 2 is right already.
                Some("accept_ra") => found == "1",
                _ => found != wanted,
            };
            open.then_some(Need {
                sysctl,
                found,
                wanted,
                why,
            })
        })
        .collect()
}

fn wanted(interfaces: &[(String, Role)], ipv6: bool) -> Vec<(Sysctl, &'static str, &'static str)> {
    let mut wanted = Vec::new();
    let why4 = "route lookups of this interface's packets are refused without it";
    for (name, _) in interfaces {
        wanted.push((Sysctl(format!("ipv4/conf/{name}/forwarding")), "1", why4));
    }
    if ipv6 {
        let why = "router advertisements would be ignored once the host forwards";
        for (name, _) in interfaces.iter().filter(|(_, role)| *role == Role::Uplink) {
            wanted.push((Sysctl(format!("ipv6/conf/{name}/accept_ra")), "2", why));
        }
        let why = "IPv6 packets are not forwarded, and route lookups refused, without it";
        wanted.push((Sysctl("ipv6/conf/all/forwarding".into()), "1", why));
        for (name, _) in interfaces {
            wanted.push((Sysctl(format!("ipv6/conf/{name}/forwarding")), "1", why));
        }
    }
    wanted
}

/// Changes what is needed. What was there is on disk before anything changes.
///
/// # Errors
/// The record can't be written, or the kernel refuses a value.
pub fn satisfy(state: &Path, needs: &[Need]) -> Result<()> {
    if needs.is_empty() {
        return Ok(());
    }
    let mut record = Record::load(state)?;
    for need in needs {
        record.note(&need.sysctl, &need.found, need.wanted);
    }
    if needs
        .iter()
        .any(|need| need.sysctl.0 == "ipv6/conf/all/forwarding")
    {
        // Writing `all` writes every interface.
        for sysctl in ipv6_forwarding() {
            if let Some(found) = sysctl.read() {
                record.note(&sysctl, &found, "1");
            }
        }
    }
    record.save(state)?;
    needs
        .iter()
        .try_for_each(|need| need.sysctl.write(need.wanted))
}

/// Puts back what [`satisfy`] changed, and forgets it. A value that somebody
/// has changed since is left alone and told.
///
/// # Errors
/// The record can't be read or removed, or the kernel refuses a value.
pub fn restore(state: &Path) -> Result<Vec<String>> {
    let record = Record::load(state)?;
    let mut done = Vec::new();
    // `all` comes before the interfaces that it overwrites.
    let (all, rest): (Vec<_>, Vec<_>) = record
        .changed
        .iter()
        .partition(|(sysctl, _)| sysctl.0.contains("/all/"));
    let unchanged: Vec<_> = all
        .into_iter()
        .chain(rest)
        .filter_map(|(sysctl, changed)| Some((sysctl, changed, sysctl.read()? == changed.ours)))
        .collect();
    for (sysctl, changed, ours) in unchanged {
        if !ours {
            done.push(format!(
                "{sysctl} was changed by somebody else: left as it is"
            ));
        } else if sysctl.read().as_deref() != Some(&changed.before) {
            sysctl.write(&changed.before)?;
            done.push(format!("{sysctl} is {} again", changed.before));
        }
    }
    Record::remove(state)?;
    Ok(done)
}

/// What is recorded and still as Terrace wrote it.
pub fn left(state: &Path) -> Result<Vec<String>> {
    let record = Record::load(state)?;
    Ok(record.changed.keys().map(Sysctl::to_string).collect())
}

fn ipv6_forwarding() -> Vec<Sysctl> {
    let Ok(entries) = fs::read_dir("/proc/sys/net/ipv6/conf") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| Sysctl(format!("ipv6/conf/{name}/forwarding")))
        .collect()
}

impl Record {
    fn note(&mut self, sysctl: &Sysctl, found: &str, ours: &'static str) {
        let changed = Changed {
            before: found.to_owned(),
            ours: ours.to_owned(),
        };
        // An earlier daemon's note is the older truth.
        self.changed.entry(sysctl.clone()).or_insert(changed);
    }

    fn load(state: &Path) -> Result<Self> {
        let path = state.join(RECORD);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not a record of sysctls", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn save(&self, state: &Path) -> Result<()> {
        let path = state.join(RECORD);
        let new = state.join(".sysctls.json.new");
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(state)?;
            let mut file = fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    fn remove(state: &Path) -> Result<()> {
        let path = state.join(RECORD);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_that_was_found_is_the_one_to_go_back_to() {
        let tmp = tempfile::tempdir().unwrap();
        let sysctl = Sysctl("ipv4/conf/eth0.5/forwarding".into());
        for found in ["0", "1"] {
            let mut record = Record::load(tmp.path()).unwrap();
            record.note(&sysctl, found, "1");
            record.save(tmp.path()).unwrap();
        }
        let record = Record::load(tmp.path()).unwrap();
        assert_eq!(record.changed[&sysctl].before, "0");
        assert_eq!(
            left(tmp.path()).unwrap(),
            ["net.ipv4.conf.eth0.5.forwarding"]
        );
        Record::remove(tmp.path()).unwrap();
        assert_eq!(Record::load(tmp.path()).unwrap(), Record::default());
    }

    #[test]
    fn ipv6_is_asked_for_only_where_it_is_used() {
        let interfaces = [
            ("up0".to_owned(), Role::Uplink),
            ("w0".to_owned(), Role::Workload),
        ];
        let names = |ipv6| -> Vec<String> {
            wanted(&interfaces, ipv6)
                .into_iter()
                .map(|(sysctl, wanted, _)| format!("{}={wanted}", sysctl.0))
                .collect()
        };
        let v4 = ["ipv4/conf/up0/forwarding=1", "ipv4/conf/w0/forwarding=1"];
        let v6 = [
            "ipv6/conf/up0/accept_ra=2",
            "ipv6/conf/all/forwarding=1",
            "ipv6/conf/up0/forwarding=1",
            "ipv6/conf/w0/forwarding=1",
        ];
        assert_eq!(names(false), v4);
        assert_eq!(names(true), [&v4[..], &v6[..]].concat());
    }

    #[test]
    fn root_what_was_changed_is_put_back_but_not_what_others_changed() {
        let ns = terrace_testkit::Netns::new("sysctls").unwrap();
        ns.ip(["link add up0 type veth peer name w0"]).unwrap();
        let interfaces = [
            ("up0".to_owned(), Role::Uplink),
            ("w0".to_owned(), Role::Workload),
        ];
        let tmp = tempfile::tempdir().unwrap();
        ns.enter(|| {
            let forwards = |path: &str| Sysctl(path.into()).read().unwrap();
            Sysctl("ipv4/conf/up0/forwarding".into())
                .write("0")
                .unwrap();
            Sysctl("ipv6/conf/w0/forwarding".into()).write("1").unwrap();
            let open = needs(&interfaces, true);
            assert!(open.iter().any(|need| need.found == "0"), "{open:?}");
            satisfy(tmp.path(), &open).unwrap();
            assert_eq!(needs(&interfaces, true), []);
            assert_eq!(forwards("ipv6/conf/lo/forwarding"), "1");
            Sysctl("ipv4/conf/w0/forwarding".into()).write("0").unwrap();
            restore(tmp.path()).unwrap();
            assert_eq!(forwards("ipv4/conf/up0/forwarding"), "0");
            assert_eq!(forwards("ipv6/conf/lo/forwarding"), "0");
            assert_eq!(forwards("ipv6/conf/all/forwarding"), "0");
            assert_eq!(forwards("ipv6/conf/w0/forwarding"), "1");
            assert_eq!(left(tmp.path()).unwrap(), [""; 0]);
        })
        .unwrap();
    }
}
