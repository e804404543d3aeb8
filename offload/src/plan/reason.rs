//! Why a task runs where it runs.

use terrace_nic_profiles::Target;

use super::Site;
use crate::verdict::{Disruption, Verdict};
use crate::{Role, Task, Tier};

const ALL_RULES: &str = "all its rules are in the NIC";

impl Site<'_> {
    pub(super) fn reason(&self, task: Task, tier: Tier, required: bool) -> String {
        let asked = if required {
            "required by the configuration; "
        } else {
            ""
        };
        let nic = self.nic(task).and_then(|state| state.words());
        let what = match tier {
            Tier::Nic => return format!("{asked}{}", nic.unwrap_or(ALL_RULES.to_owned())),
            Tier::XdpNative => self.native_reason(),
            Tier::XdpGeneric => "runs on any driver; tc stays armed behind it".to_owned(),
            _ => self.tc_reason(task),
        };
        let nic = nic.filter(|_| self.nic(task).is_some_and(|state| state.is_held()));
        let nic = nic.map_or_else(String::new, |words| format!("; {words}"));
        format!("{asked}{what}{nic}")
    }

    fn native_reason(&self) -> String {
        let driver = self.subject.facts().text("id.driver").unwrap_or_default();
        let ability = self.abilities.get(Target::XdpNative);
        if self.demand.running == Some(Tier::XdpNative) {
            return format!("runs in driver {driver}; tc stays armed behind it");
        }
        if ability.verdict == Verdict::Unknown {
            return format!("tried, as nothing is known of driver {driver}");
        }
        let care = match self.attach_effect() {
            Some((_, Disruption::LinkFlap)) => " (attaching once interrupts the link for a moment)",
            _ => "",
        };
        format!("driver {driver} runs XDP natively{care}; tc stays armed behind it")
    }

    fn tc_reason(&self, task: Task) -> String {
        let by = match self.subject.machine.host.tcx {
            Some(false) => "clsact, as this kernel has no TCX",
            _ => "TCX",
        };
        match (self.demand.role, task) {
            (Role::Workload, _) => {
                format!(
                    "armed by {by}: keeps GSO and checksum offload of {}",
                    self.name()
                )
            }
            (_, Task::Policy | Task::Deliver) => {
                format!("armed by {by}: local workloads are reached from tc")
            }
            _ => format!(
                "armed by {by}: the best tier that is left on {}",
                self.name()
            ),
        }
    }
}
