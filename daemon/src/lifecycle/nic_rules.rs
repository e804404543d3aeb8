//! What Terrace has put into the classifiers of NICs: their rules carry no owner's name, so
//! it is on disk before it is there. A daemon that was killed in between finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::path::PathBuf;
use std::{fs, io};

use terrace_abi::sys;
use terrace_offload::ask::No;
use terrace_offload::classifier::{self, Kind, Nic, Outcome, Rule};

/// By ifindex, which a name may lose.
type Rules = BTreeMap<u32, BTreeSet<Rule>>;

/// A file beside the control socket.
#[derive(Debug, Clone, Default)]
pub struct NicRules(PathBuf);

impl NicRules {
    pub fn beside(socket: &Path) -> Self {
        Self(super::state_folder(socket).join("nic-rules.json"))
    }

    /// How many rules there are in the NIC of each link.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn held(&self) -> io::Result<Vec<(u32, usize)>> {
        let all = self.read()?.into_iter();
        Ok(all.map(|(ifindex, rules)| (ifindex, rules.len())).collect())
    }

    fn read(&self) -> io::Result<Rules> {
        match fs::read(&self.0) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Rules::new()),
            Err(error) => Err(error),
        }
    }

    /// Whole, or not at all; without rules there is no file.
    fn write(&self, rules: &Rules) -> io::Result<()> {
        if rules.values().all(BTreeSet::is_empty) {
            return match fs::remove_file(&self.0) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let draft = self.0.with_extension("draft");
        fs::write(&draft, serde_json::to_vec(rules)?)?;
        fs::rename(draft, &self.0)
    }

    /// Brings the rules of one kind in a NIC to what is wanted.
    ///
    /// # Errors
    /// The NIC or the record cannot be read or written.
    pub fn sync(&self, ifindex: u32, kind: Kind, wanted: &[Rule]) -> Result<Outcome, No> {
        let mut all = self.read()?;
        let owned = all.get(&ifindex).cloned().unwrap_or_default();
        if owned.is_empty() && wanted.is_empty() {
            return Ok(Outcome::default());
        }
        let others: BTreeSet<Rule> = owned
            .iter()
            .filter(|rule| rule.kind() != kind)
            .copied()
            .collect();
        let mut note = |now: &BTreeSet<Rule>| {
            all.insert(ifindex, others.union(now).copied().collect());
            Ok(self.write(&all)?)
        };
        let mut nic = Nic {
            iface: name_of(ifindex)?,
        };
        classifier::sync(&mut nic, kind, (&owned, wanted), &mut note)
    }

    /// Out of a NIC with all rules of one kind; one that is gone has none.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn clear(&self, ifindex: u32, kind: Kind) -> Result<(), No> {
        match name_of(ifindex) {
            Ok(_) => self.sync(ifindex, kind, &[]).map(drop),
            Err(_) => self.forget(ifindex),
        }
    }

    fn forget(&self, ifindex: u32) -> Result<(), No> {
        let mut all = self.read()?;
        match all.remove(&ifindex) {
            Some(_) => Ok(self.write(&all)?),
            None => Ok(()),
        }
    }

    /// Removes what a killed daemon has left in NICs.
    ///
    /// # Errors
    /// By link, what its driver or the record says.
    pub fn sweep(&self) -> Result<(), Vec<String>> {
        let held = self.read();
        let held = held.map_err(|error| vec![format!("{}: {error}", self.0.display())])?;
        let mut faults = Vec::new();
        for (ifindex, owned) in held {
            let cleared = match name_of(ifindex) {
                Ok(iface) => classifier::clear(&mut Nic { iface }, &owned),
                Err(_) => Ok(()),
            };
            if let Err(no) = cleared.and_then(|()| self.forget(ifindex)) {
                let no = no.evidence();
                faults.push(format!(
                    "classification rules in the NIC of link {ifindex}: {no}"
                ));
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

fn name_of(ifindex: u32) -> Result<String, No> {
    let mut links = sys::interfaces()?.into_iter();
    let found = links.find(|(index, _)| *index == ifindex);
    found
        .map(|(_, name)| name)
        .ok_or_else(|| No::word("ENODEV"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deny(net: &str) -> Rule {
        Rule::Deny(net.parse().expect("a prefix"))
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_goes_with_its_last_rule() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = NicRules::beside(&folder.path().join("terrace.sock"));
        assert!(record.read().expect("none").is_empty());
        let queue = Rule::Queue {
            to: "[2001:db8::1]:443".parse().expect("an end"),
            ports: [2, 6],
            queue: 1,
        };
        let rules = Rules::from([
            (7, BTreeSet::from([deny("192.0.2.0/24"), queue])),
            (9, BTreeSet::from([deny("2001:db8::/32")])),
        ]);
        record.write(&rules).expect("write");
        assert_eq!(record.read().expect("read"), rules);
        record.forget(7).expect("write");
        record.forget(9).expect("write");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_link_that_is_gone_has_no_rules_and_a_torn_record_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = NicRules::beside(&folder.path().join("terrace.sock"));
        let gone = Rules::from([(u32::MAX, BTreeSet::from([deny("192.0.2.0/24")]))]);
        record.write(&gone).expect("write");
        record.sweep().expect("nothing to remove");
        assert!(record.read().expect("none").is_empty());
        fs::write(&record.0, "{").expect("write");
        let faults = record.sweep().expect_err("a torn record");
        assert!(faults[0].contains("nic-rules.json"), "{faults:?}");
    }
}
