//! A world as the images of the tables that the programs read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use terrace_abi::consts::*;
use terrace_abi::hash::{
    CellKey, address_bytes, address_words, cell_hash, prefix_root_index, service_key_word,
};
use terrace_abi::{Limits, Plain, Table, types};
use terrace_model::{Backend, Endpoint, Service, World};

/// Entries that are not zero.
pub type Image = BTreeMap<(Table, u32), Vec<u8>>;

/// Sizes of the tables in these tests.
pub fn limits() -> Limits {
    Limits {
        flows: 4096,
        ..Limits::small()
    }
}

/// Everything but rings, interfaces and configuration.
pub fn image(world: &World) -> Image {
    let mut image = Image::new();
    for (index, service) in world.services.iter().enumerate() {
        set(
            &mut image,
            Table::Services,
            index,
            &service_entry(index, service),
        );
    }
    for (index, backend) in world.backends.iter().enumerate() {
        if let Some(backend) = backend {
            set(&mut image, Table::Backends, index, &backend_entry(backend));
        }
    }
    for (index, endpoint) in world.endpoints.iter().enumerate() {
        set(
            &mut image,
            Table::Endpoints,
            index,
            &endpoint_entry(endpoint),
        );
    }
    for at in &world.frontends {
        let [a, b, c, d] = words(at.address);
        let key = [a, b, c, d, service_key_word(at.port, at.proto)];
        insert(&mut image, Table::ServiceCells, key, at.service as u32);
    }
    for (prefix, endpoint) in &world.addresses {
        let tables = (Table::AddressRoots, Table::AddressCells);
        prefix_entry(&mut image, tables, *prefix, *endpoint as u32);
    }
    for prefix in &world.deny {
        prefix_entry(&mut image, (Table::DenyRoots, Table::DenyCells), *prefix, 1);
    }
    crate::policy_image::policy(&mut image, world);
    image
}

fn set<T: Plain>(image: &mut Image, table: Table, index: usize, value: &T) {
    image.insert((table, index as u32), value.as_bytes().to_vec());
}

fn get<T: Plain>(image: &Image, table: Table, index: u32) -> T {
    let bytes = image.get(&(table, index));
    bytes
        .and_then(|bytes| T::from_bytes(bytes))
        .unwrap_or_default()
}

fn words(address: IpAddr) -> [u32; 4] {
    address_words(&address_bytes(address))
}

fn service_entry(index: usize, service: &Service) -> types::service {
    types::service {
        n_backends: service.ring.len() as u32,
        maglev: index as u32,
        maglev_size: service.ring.len() as u32,
        affinity_secs: service.affinity_secs,
        flags: service.flags as u16,
        fail_mode: service.fail_mode as u8,
        group: service.group,
        ..Default::default()
    }
}

fn backend_entry(backend: &Backend) -> types::backend {
    types::backend {
        addr: words(backend.address),
        port: backend.port.to_be(),
        flags: backend.flags as u8,
        group: backend.group,
        ..Default::default()
    }
}

fn endpoint_entry(endpoint: &Endpoint) -> types::endpoint {
    types::endpoint {
        identity: endpoint.identity,
        flags: endpoint.flags,
        ifindex: endpoint.ifindex,
        mac: endpoint.mac,
        iface_mac: endpoint.iface_mac,
        ..Default::default()
    }
}

/// Puts a cell into the first bucket with room, counting it in those before.
pub fn insert(image: &mut Image, table: Table, key: CellKey, value: u32) {
    let mask = table.entries(&limits()) - 1;
    for probe in 0..CELL_PROBES {
        let index = cell_hash(&key).wrapping_add(probe) & mask;
        let mut bucket: types::cell_bucket = get(image, table, index);
        if let Some(cell) = bucket.cells.iter_mut().find(|cell| cell.value == 0) {
            *cell = types::cell { key, value };
            set(image, table, index as usize, &bucket);
            return;
        }
        bucket.overflow += 1;
        set(image, table, index as usize, &bucket);
    }
    panic!("{} is too full for a test", table.map_name());
}

fn prefix_entry(image: &mut Image, tables: (Table, Table), prefix: IpNet, value: u32) {
    let (roots, cells) = tables;
    let (bits, network) = (prefix.prefix_len(), address_bytes(prefix.network()));
    let length = if prefix.network().is_ipv4() {
        96 + u32::from(bits)
    } else {
        u32::from(bits)
    };
    let first = prefix_root_index(&network);
    if bits <= 16 {
        for index in first..first + (1 << (16 - bits)) {
            let mut root: types::prefix_root = get(image, roots, index);
            root.value = value;
            set(image, roots, index as usize, &root);
        }
        return;
    }
    let mut root: types::prefix_root = get(image, roots, first);
    let bit = 128 - length as usize;
    root.lengths[bit / 64] |= 1 << (bit % 64);
    set(image, roots, first as usize, &root);
    let [a, b, c, d] = address_words(&network);
    insert(image, cells, [a, b, c, d, length], value);
}
