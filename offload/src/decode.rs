//! From bytes and texts to facts. Pure, and nothing here can panic: what makes
//! no sense is left out.

pub mod devlink;
pub mod ethtool;
pub mod link;
pub mod netdev;
pub mod sysfs;
pub mod tc;

use crate::facts::Fact;

/// Facts of one interface, by key.
pub type Learned = Vec<(String, Fact)>;

/// A fact under its key.
pub(crate) fn fact(key: impl Into<String>, fact: Fact) -> (String, Fact) {
    (key.into(), fact)
}
