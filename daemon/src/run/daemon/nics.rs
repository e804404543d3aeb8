//! What the daemon has in NICs.

use tokio::task::block_in_place;

use super::Daemon;
use crate::run::interfaces::Host;

impl Daemon {
    /// Counters of NICs, and whether they hold what they held.
    pub(super) fn tend_nics(&mut self) {
        let shared = self.shared.clone();
        let host = Host::of(&shared, &self.network, &self.changer);
        if block_in_place(|| self.interfaces.tend_nics(host)) {
            block_in_place(|| self.sync_interfaces());
        }
        self.show_network();
    }

    /// The end of the daemon is the end of what it has in NICs: rules there would drop
    /// what a list of tomorrow does not deny.
    pub fn leave_nics(&mut self) {
        let shared = self.shared.clone();
        let host = Host::of(&shared, &self.network, &self.changer);
        self.interfaces.clear_nics(host);
    }
}
