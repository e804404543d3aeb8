//! stub
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::Host;
use super::identities::Identities;
use super::model::{Model, Touched};
use crate::error::Error;
use crate::tables::Tables;

#[derive(Debug)]
pub struct Policies {
    pub cidrs: BTreeMap<IpNet, u32>,
}

impl Policies {
    pub fn new(_fresh: bool) -> Self {
        Self {
            cidrs: BTreeMap::new(),
        }
    }
    pub fn enforced(&self, _identity: u32) -> [bool; 2] {
        [false, false]
    }
    pub fn update(
        &mut self,
        _: &Model,
        _: &Host<'_>,
        _: &Touched,
        _: &mut Identities,
        _: &mut Tables,
    ) -> Result<bool, Error> {
        Ok(false)
    }
    pub fn finish(&mut self, _judged: bool, _tables: &mut Tables) {}
}
