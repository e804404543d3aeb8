//! What stands in front of the programs, in the NICs of uplinks.

use terrace_offload::Machine;
use terrace_offload::plan::NicState;

use super::{Host, Interfaces, Wanted};
use crate::api::{Attachment, NicFront};
use crate::run::{hardware, placement};

impl Interfaces {
    /// The deny list, as much of it as each NIC takes.
    pub(super) fn place_in_nics(&mut self, host: Host<'_>, wanted: &Wanted) {
        let wishes = self.wishes(host, wanted);
        let machine = Machine {
            host: &self.seen.survey.host,
            interfaces: &self.seen.survey.interfaces,
            profiles: &self.profiles,
        };
        for link in placement::uplinks(wanted.values()) {
            let wanted = hardware::Wanted {
                link,
                wishes: &wishes,
                machine,
            };
            self.hardware.place(host, &self.hooks, &wanted);
        }
    }

    /// Counts what NICs drop; true = some have lost what they held.
    pub fn tend_nics(&mut self, host: Host<'_>) -> bool {
        let before = self.hardware_flows();
        self.hardware.look(host, &self.hooks);
        // Told by the plan.
        self.hardware.tend(host) || before != self.hardware_flows()
    }

    fn hardware_flows(&self) -> Vec<Option<NicState>> {
        let armed = self.armed.keys();
        armed.map(|ifindex| self.hardware.flows(*ifindex)).collect()
    }

    /// Policy may be another one.
    pub fn judge_nic_flows(&mut self, host: Host<'_>) {
        self.hardware.judge_flows(host, &self.hooks);
    }

    /// Routes or neighbours may be others.
    pub fn withdraw_nic_flows(&mut self, host: Host<'_>) {
        self.hardware.withdraw_flows(host, &self.hooks);
    }

    /// What NICs hold and have dropped.
    pub fn nics(&self) -> Vec<NicFront> {
        self.hardware.shown()
    }

    /// Nothing stays in a NIC that nobody looks after.
    pub fn clear_nics(&mut self, host: Host<'_>) {
        self.hardware.clear(host, &self.hooks);
    }
}

/// As one more program of the interface.
pub fn attachment(nic: &NicFront) -> Option<Attachment> {
    let kind = match nic.program_id {
        Some(_) => "program",
        None => "flower",
    };
    (nic.held > 0).then(|| Attachment {
        hook: "nic".to_owned(),
        kind: kind.to_owned(),
        program_id: nic.program_id.unwrap_or(0),
    })
}
