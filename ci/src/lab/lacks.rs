//! What tests said that a kernel lacks, held against what `lab.toml` expects.

use super::list::Test;
use std::collections::BTreeMap;
use terrace_testkit::kernel::LACKS;

/// Features, and how many tests ended early for want of each.
#[derive(Default)]
pub struct Lacks(BTreeMap<String, u32>);

impl Lacks {
    /// A line of the console: `terrace-lacks: FEATURE: TEST`.
    pub fn hear(&mut self, line: &str) {
        let told = line.strip_prefix(LACKS);
        if let Some((feature, _)) = told.and_then(|told| told.rsplit_once(": ")) {
            *self.0.entry(feature.to_owned()).or_default() += 1;
        }
    }

    pub fn print(&self, test: &Test) {
        for (feature, n) in &self.0 {
            println!("lab: {} lacks {feature}: {n} tests say so", test.name);
        }
    }

    /// Why a run is no pass although no test failed. When only a part of the
    /// cases ran, what nobody looked for is no fault.
    pub fn fault(&self, test: &Test, whole: bool) -> Option<String> {
        let new = self.0.keys().find(|feature| !test.lacks.contains(*feature));
        let gone = test
            .lacks
            .iter()
            .find(|feature| whole && !self.0.contains_key(*feature));
        match (new, gone) {
            (Some(new), _) => Some(format!(
                "this kernel lacks {new}, and lab.toml does not say so"
            )),
            (None, Some(gone)) => Some(format!("lab.toml says that it lacks {gone}: no test does")),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::list::Lab;
    use crate::{shell, workspace};

    #[test]
    fn a_kernel_lacks_what_is_listed_and_nothing_else() {
        let row = |lacks: &[&str]| Test {
            lacks: lacks.iter().map(|name| (*name).to_owned()).collect(),
            ..toml::from_str("name = 'a'\nabout = 'b'\nkernel = 'old'").unwrap()
        };
        let mut heard = Lacks::default();
        heard.hear("test a::b ... ok");
        heard.hear("terrace-lacks: bpf_sock_destroy: closing::root_x");
        heard.hear("terrace-lacks: shortcut (pending-bytes): guards::root_y");
        let both = row(&["bpf_sock_destroy", "shortcut (pending-bytes)"]);
        assert_eq!(heard.fault(&both, true), None);
        let fault = heard.fault(&row(&["bpf_sock_destroy"]), true).unwrap();
        assert!(fault.contains("lacks shortcut (pending-bytes)"), "{fault}");
        let nothing = Lacks::default();
        assert!(nothing.fault(&both, true).unwrap().contains("no test does"));
        assert_eq!(nothing.fault(&both, false), None);
    }

    #[test]
    fn what_a_kernel_lacks_is_explained_in_the_manual() {
        let manual = workspace::root().join("ci/nic-lab/README.md");
        let manual = shell::read_file(&manual).unwrap();
        let (_, table) = manual.split_once("## The oldest kernel").unwrap();
        for test in Lab::read().unwrap().tests {
            for lacking in &test.lacks {
                assert!(table.contains(&format!("`{lacking}`")), "{lacking}");
            }
        }
    }
}
