//! What the host itself sends: the programs at the egress of its interfaces.

use std::net::Ipv4Addr;

use anyhow::Result;
use terrace_abi::Reason;

use super::case::{self, Case};
use super::cases::{Bench, TC_NEXT};
use super::frame::{Keys, Order, TCP_ACK, TCP_SYN};
use super::harness::{Hook, Settings};
use super::tables;

impl Bench<'_> {
    pub(super) fn egress(&mut self) -> Result<()> {
        self.host_to_nobody()?;
        for n in [1, 4096] {
            self.host_to_service(n)?;
        }
        self.host_to_workload()
    }

    /// Connections of the host: one address, a port each.
    fn host_keys(&self, n: u32, dst: Ipv4Addr, dport: u16) -> Keys {
        Keys {
            src: self.stage.net.uplinks[0].v4,
            src_mul: 0,
            sport_mask: n - 1,
            ..Keys::clients(n, Order::Random, dst, dport)
        }
    }

    fn host_to_nobody(&mut self) -> Result<()> {
        let name = "tc egress: the host's packet to no service, 4096 destinations";
        let keys = Keys {
            dst_mask: 0xfff,
            ..self.host_keys(4096, Ipv4Addr::new(203, 0, 0, 0), 80)
        };
        self.at_egress(name, Hook::TcUplinkEgress, keys, TC_NEXT, Reason::NotOurs)
    }

    fn host_to_service(&mut self, n: u32) -> Result<()> {
        let name = format!("tc egress: established flow of the host to a service, {n} flows");
        if !self.wants(&name) {
            return Ok(());
        }
        let keys = self.host_keys(n, tables::SERVICE, tables::SERVICE_PORT);
        let first = self.to_service(keys.once(), TCP_SYN);
        case::open(
            self.stage,
            Hook::TcUplinkEgress,
            &first,
            n,
            Reason::Redirect,
        )?;
        self.at_egress(&name, Hook::TcUplinkEgress, keys, TC_NEXT, Reason::Redirect)?;
        case::walk(self.stage, "empty_bucket")
    }

    fn host_to_workload(&mut self) -> Result<()> {
        let name = "tc egress: established flow of the host to a workload, 4096 flows";
        if !self.wants(name) {
            return Ok(());
        }
        let to = self.stage.net.workload("web").v4;
        let keys = self.host_keys(4096, to, tables::LOCAL_PORT);
        let hook = Hook::TcWorkloadEgress;
        let first = self.to_service(keys.once(), TCP_SYN);
        case::open(self.stage, hook, &first, 4096, Reason::HostAllowed)?;
        self.at_egress(name, hook, keys, TC_NEXT, Reason::HostAllowed)?;
        case::walk(self.stage, "empty_bucket")
    }

    fn at_egress(
        &mut self,
        name: &str,
        hook: Hook,
        keys: Keys,
        verdict: u32,
        reason: Reason,
    ) -> Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        let settings = Settings {
            verdict,
            ..self.to_service(keys, TCP_ACK)
        };
        self.measure(&Case::new(name, hook, settings, reason, *self.effort))
    }
}
