//! What all steps need.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use terrace_abi::Maps;
use terrace_mesh::Closed;

use crate::config::Config;
use crate::netlink::Network;
use crate::run::change::Changer;
use crate::run::events::Events;
use crate::run::shared::Shared;

/// The host as it is now.
#[derive(Clone, Copy)]
pub struct Host<'h> {
    pub config: &'h Config,
    pub network: &'h Network,
    pub maps: &'h Maps,
    pub events: &'h Events,
    /// The deny list.
    pub deny: &'h Arc<[IpNet]>,
    /// What policy drops whatever the port.
    pub closed: &'h Arc<[Closed]>,
    /// Ends at which a worker takes requests.
    pub l7_fronts: &'h Arc<[SocketAddr]>,
}

impl<'h> Host<'h> {
    pub fn of(shared: &'h Shared, network: &'h Network, changer: &'h Changer) -> Self {
        Self {
            config: &shared.config,
            network,
            maps: &shared.maps,
            events: &shared.events,
            deny: changer.deny(),
            closed: changer.closed(),
            l7_fronts: changer.l7_fronts(),
        }
    }
}
