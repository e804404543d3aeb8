//! Whose an index of the tables is. An index is given to somebody else when
//! its owner has gone, and counts by index must not go over to them: each
//! owner has a number that is never given twice.

use std::net::SocketAddr;

use rustc_hash::FxHashMap;
use terrace_mesh::directory::Directory;

#[derive(Debug, Default)]
pub struct Owners {
    services: Held<String>,
    backends: Held<SocketAddr>,
    last: u32,
}

/// By index: who, and their number.
type Held<T> = FxHashMap<u32, (T, u32)>;

impl Owners {
    /// With the owners of a directory; those that stay keep their numbers.
    pub fn next(&self, directory: &Directory) -> Self {
        let mut last = self.last;
        let services = directory.frontends.iter().map(|(index, frontend)| {
            let pool = directory.pools.get(&frontend.pool);
            let port = pool.map_or("", |pool| &pool.port_name);
            (*index, format!("{}:{port}", frontend.service))
        });
        let services = renewed(&self.services, services, &mut last);
        let backends = directory.backends.iter();
        let backends = backends.map(|(i, b)| (*i, SocketAddr::new(b.address, b.port)));
        Self {
            services,
            backends: renewed(&self.backends, backends, &mut last),
            last,
        }
    }

    /// Without owners; no number comes again.
    pub fn of_nobody(&self) -> Self {
        Self {
            last: self.last,
            ..Self::default()
        }
    }

    /// 0 = nobody.
    pub fn service(&self, index: u32) -> u32 {
        self.services.get(&index).map_or(0, |(_, owner)| *owner)
    }

    /// 0 = nobody.
    pub fn backend(&self, index: u32) -> u32 {
        self.backends.get(&index).map_or(0, |(_, owner)| *owner)
    }
}

fn renewed<T: PartialEq>(
    held: &Held<T>,
    now: impl Iterator<Item = (u32, T)>,
    last: &mut u32,
) -> Held<T> {
    let with_numbers = now.map(|(index, who)| {
        let kept = held.get(&index).filter(|(owner, _)| *owner == who);
        let number = kept.map_or_else(
            || {
                *last = last.wrapping_add(1);
                *last
            },
            |(_, number)| *number,
        );
        (index, (who, number))
    });
    with_numbers.collect()
}
