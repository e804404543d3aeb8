//! Making the tables, or finding them.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, OpenObject};

use super::Maps;
use super::rings::empty_ring;
use super::run::grace_map;
use crate::object::{self, Constant, Missing, Program};
use crate::patience::undisturbed;
use crate::{Error, Limits, consts, pins, sys, types};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tables.bpf.o"));
const NAME: &str = "tables";

/// Which limit sizes a map, and to how many entries; `None` = fixed in maps.h.
fn sized_by(map: &str, limits: &Limits) -> Option<(&'static str, u32)> {
    let limits = limits.rounded();
    Some(match map {
        "flows" => ("flows", limits.flow_buckets()),
        "services" => ("services", limits.services),
        "maglevs" => ("services", limits.services),
        "service_cells" => ("service_cells", limits.service_cells),
        "backends" => ("backends", limits.backends),
        "backend_stats" => ("backends", limits.backends),
        "endpoints" => ("endpoints", limits.endpoints),
        "address_cells" => ("address_cells", limits.address_cells),
        "deny_cells" => ("deny_cells", limits.deny_cells),
        "policy_cells" => ("policy_cells", limits.policy_cells),
        "affinities" => ("affinities", limits.affinities),
        "fragments" => ("fragments", limits.fragments),
        "splices" | "splice_progress" | "head_notes" => ("l7_flows", limits.l7_flows),
        "head_rules" => ("l7_rules", limits.l7_rules),
        "events" => ("events_bytes", limits.events_bytes),
        _ => return None,
    })
}

pub(super) fn open(root: &Path, limits: &Limits) -> Result<Maps, Error> {
    let limits = limits.rounded();
    pins::prepare(root)?;
    let pinned = pinned_maps(root)?;
    match pinned.get("config") {
        Some(config) => check_version(root, config)?,
        // `config` is pinned last: the rest is of a start that did not finish.
        None => pinned
            .keys()
            .try_for_each(|name| pins::remove(&root.join("maps").join(name)))?,
    }
    let pinned = if pinned.contains_key("config") {
        pinned
    } else {
        BTreeMap::new()
    };
    join(root, limits, pinned)
}

pub(super) fn open_existing(root: &Path) -> Result<Maps, Error> {
    let pinned = pinned_maps(root)?;
    let config = pinned
        .get("config")
        .ok_or_else(|| Error::NotFound { root: root.into() })?;
    check_version(root, config)?;
    let limits = limits_of(root, &pinned)?;
    join(root, limits, pinned)
}

fn pinned_maps(root: &Path) -> Result<BTreeMap<String, MapHandle>, Error> {
    pins::list_folder(&root.join("maps"))?
        .into_iter()
        .map(|path| {
            let handle = MapHandle::from_pinned_path(&path)
                .map_err(|error| pins::error("open", &path, crate::error::io(error)))?;
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Ok((name, handle))
        })
        .collect()
}

fn check_version(root: &Path, config: &MapHandle) -> Result<(), Error> {
    let value = config
        .lookup(&0u32.to_ne_bytes(), MapFlags::ANY)
        .map_err(|error| Error::Read {
            table: "config",
            source: crate::error::io(error),
        })?;
    // The version is the first word in every version.
    let word = value.as_deref().and_then(|value| value.first_chunk::<4>());
    let found = word.map_or(0, |word| u32::from_ne_bytes(*word));
    if found == consts::ABI_VERSION {
        return Ok(());
    }
    Err(Error::AbiVersion {
        root: root.into(),
        found,
        expected: consts::ABI_VERSION,
    })
}

fn limits_of(root: &Path, pinned: &BTreeMap<String, MapHandle>) -> Result<Limits, Error> {
    let entries = |name: &str| {
        let map = pinned
            .get(name)
            .ok_or_else(|| Error::NotFound { root: root.into() })?;
        Ok(map.max_entries())
    };
    Ok(Limits {
        flows: entries("flows")? * consts::FLOW_SLOTS,
        services: entries("services")?,
        backends: entries("backends")?,
        endpoints: entries("endpoints")?,
        service_cells: entries("service_cells")?,
        address_cells: entries("address_cells")?,
        deny_cells: entries("deny_cells")?,
        policy_cells: entries("policy_cells")?,
        affinities: entries("affinities")?,
        fragments: entries("fragments")?,
        l7_flows: entries("splices")?,
        l7_rules: entries("head_rules")?,
        events_bytes: entries("events")?,
    })
}

/// Loads the object on the pinned maps, then pins the maps that it has made.
fn join(
    root: &Path,
    limits: Limits,
    mut handles: BTreeMap<String, MapHandle>,
) -> Result<Maps, Error> {
    let (grace, grace_inner) = grace_map()?;
    let mut maps = Maps {
        root: root.into(),
        limits,
        handles: BTreeMap::new(),
        programs: Vec::new(),
        grace,
        grace_inner,
        dry_run: std::sync::Mutex::new(()),
    };
    let masks = maps.masks();
    let fresh = undisturbed(|| load(&limits, &handles, &masks))?;
    handles.extend(fresh.maps);
    maps.handles = handles;
    maps.programs = fresh.programs;
    if fresh.made.iter().any(|name| name == "config") {
        maps.set_config(&default_config(hz()?))?;
    }
    pin(root, &fresh.made, &maps)?;
    Ok(maps)
}

/// What a load of the object has made.
struct Fresh {
    programs: Vec<Program>,
    maps: BTreeMap<String, MapHandle>,
    /// The names of those maps, `config` last.
    made: Vec<String>,
}

fn load(
    limits: &Limits,
    pinned: &BTreeMap<String, MapHandle>,
    masks: &[Constant],
) -> Result<Fresh, Error> {
    let mut open = object::open(NAME, OBJECT)?;
    let template = empty_ring(1)?;
    let made = prepare(&mut open, limits, pinned, &template)?;
    object::set_constants(NAME, OBJECT, &mut open, masks, Missing::Skipped)?;
    let loaded = object::finish_object(NAME, open)?;
    let mut maps = BTreeMap::new();
    for map in loaded.maps() {
        let name = map.name().to_string_lossy().into_owned();
        if made.contains(&name) {
            let handle = MapHandle::try_from(&map).map_err(|source| Error::Load {
                object: NAME,
                source,
                log: String::new(),
            })?;
            maps.insert(name, handle);
        }
    }
    Ok(Fresh {
        programs: object::programs(&loaded)?,
        maps,
        made,
    })
}

/// Sizes the maps that are to be made and hands over those that are pinned;
/// returns the names of the former, `config` last.
fn prepare(
    open: &mut OpenObject,
    limits: &Limits,
    pinned: &BTreeMap<String, MapHandle>,
    template: &MapHandle,
) -> Result<Vec<String>, Error> {
    let load_error = |source| Error::Load {
        object: NAME,
        source,
        log: String::new(),
    };
    let mut made = Vec::new();
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if object::is_internal(&name) {
            continue;
        }
        if let Some((_, entries)) = sized_by(&name, limits) {
            map.set_max_entries(entries).map_err(load_error)?;
        }
        match pinned.get(&name) {
            Some(handle) => {
                check(
                    &name,
                    limits,
                    handle,
                    &expected(&name, map.map_type(), map.max_entries()),
                )?;
                map.reuse_fd(handle.as_fd()).map_err(load_error)?;
            }
            None => {
                if name == "maglevs" {
                    map.set_inner_map_fd(template.as_fd()).map_err(load_error)?;
                }
                made.push(name);
            }
        }
    }
    made.sort_by_key(|name| name == "config");
    Ok(made)
}

/// The shape of a map in this program.
struct Shape {
    map_type: MapType,
    value_size: Option<u32>,
    entries: u32,
}

fn expected(name: &str, map_type: MapType, entries: u32) -> Shape {
    let value_size = match name {
        "config" => Some(size_of::<types::config>()),
        "ifaces" => Some(size_of::<types::iface>()),
        "flows" => Some(size_of::<types::flow_bucket>()),
        "traces" => Some(size_of::<types::trace>()),
        "backend_stats" => Some(size_of::<types::backend_stats>()),
        "splices" => Some(size_of::<types::splice>()),
        "splice_progress" => Some(size_of::<types::splice_progress>()),
        "head_notes" => Some(size_of::<types::head_note>()),
        "l7_workers" => Some(size_of::<types::l7_worker>()),
        _ => crate::Table::ALL
            .iter()
            .find(|table| table.map_name() == name)
            .map(|table| table.value_size()),
    };
    Shape {
        map_type,
        value_size: value_size.map(|size| size as u32),
        entries,
    }
}

fn check(name: &str, limits: &Limits, found: &MapHandle, expected: &Shape) -> Result<(), Error> {
    let shape = |what, found, expected| {
        Err(Error::Shape {
            map: name.to_owned(),
            what,
            found,
            expected,
        })
    };
    if found.map_type() != expected.map_type {
        return shape("type", found.map_type().into(), expected.map_type.into());
    }
    if let Some(size) = expected
        .value_size
        .filter(|&size| size != found.value_size())
    {
        return shape("value size", found.value_size(), size);
    }
    if found.max_entries() == expected.entries {
        return Ok(());
    }
    match sized_by(name, limits) {
        Some((limit, wanted)) => Err(Error::Size {
            limit,
            map: name.to_owned(),
            found: found.max_entries(),
            wanted,
        }),
        None => shape("entries", found.max_entries(), expected.entries),
    }
}

fn pin(root: &Path, made: &[String], maps: &Maps) -> Result<(), Error> {
    for name in made {
        let path = root.join("maps").join(name);
        let handle = maps
            .handle(name)
            .expect("join() has put every made map there");
        sys::pin(handle.as_fd(), &path).map_err(|source| pins::error("pin", &path, source))?;
    }
    Ok(())
}

fn hz() -> Result<u32, Error> {
    sys::hz().map_err(|source: io::Error| Error::Ask {
        what: "the length of a jiffy",
        source,
    })
}

/// The configuration of new tables: no policy, no deny list, a random hash
/// seed, and timeouts as Linux and Cilium have them.
pub fn default_config(hz: u32) -> types::config {
    let mut timeouts = [0; consts::FLOW_STATES as usize];
    for (state, seconds) in [
        (consts::FLOW_NEW, 60),
        (consts::FLOW_ESTABLISHED, 8000),
        (consts::FLOW_CLOSING, 60),
        (consts::FLOW_CLOSED, 10),
        (consts::FLOW_UDP, 30),
        (consts::FLOW_UDP_STREAM, 120),
        (consts::FLOW_ICMP, 30),
        (consts::FLOW_OTHER, 600),
    ] {
        timeouts[state as usize] = seconds * hz;
    }
    types::config {
        abi_version: consts::ABI_VERSION,
        hash_seed: RandomState::new().build_hasher().finish() as u32,
        hz,
        heartbeat_timeout: 10 * hz,
        flags: consts::CONFIG_CHECK_SOURCE
            | consts::CONFIG_HOST_INGRESS
            | consts::CONFIG_ANSWER_ECHO,
        snat_port_min: 32_768,
        snat_port_max: 60_999,
        timeouts,
        l7_timeout_ms: 2_000,
        l7_port_min: 16_384,
        l7_port_max: 32_767,
        l7_secret: RandomState::new().build_hasher().finish(),
        ..types::config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plain as _;

    #[test]
    fn default_timeouts_are_in_jiffies() {
        let config = default_config(250);
        assert_eq!(config.timeouts[consts::FLOW_CLOSED as usize], 2500);
        assert!(config.timeouts.iter().all(|&timeout| timeout > 0));
        assert_eq!(
            types::config::from_bytes(config.as_bytes()).unwrap().hz,
            250
        );
    }
}
