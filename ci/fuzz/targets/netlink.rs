//! Any bytes in the place of a netlink message or a sysfs file: decoders give
//! facts or nothing, and what a recording keeps of a message survives.

#![no_main]

use libfuzzer_sys::fuzz_target;
use terrace_offload::decode::{devlink as dl, ethtool as et, link, netdev as nd, sysfs, tc as td};
use terrace_offload::wire::{devlink, ethtool, from_json, genl, netdev, route, tc, to_json};

fuzz_target!(|bytes: &[u8]| {
    let names = et::names(bytes);
    let _ = (link::link(bytes), link::facts(bytes));
    let _ = (nd::device(bytes), nd::redirect_target(bytes, true), nd::queue(bytes));
    let _ = (nd::napi(bytes), nd::page_pool(bytes), nd::queue_errors(bytes));
    let _ = (et::features(bytes, &names), et::private_flags(bytes), et::rings(bytes));
    let _ = (et::channels(bytes), et::link_modes(bytes), et::link_state(bytes));
    let _ = (et::time_stamping(bytes, &names), et::hashing(bytes, &names));
    let _ = (dl::port(bytes), dl::eswitch(bytes), dl::info(bytes));
    let _ = (dl::reporter(bytes), dl::parameter(bytes));
    let _ = (td::qdisc(bytes), td::filter(bytes));
    let text = String::from_utf8_lossy(bytes);
    let _ = (sysfs::cpu_count(&text), sysfs::virtio_features(&text), sysfs::interrupts(&text));
    let _ = (sysfs::capabilities(&text), sysfs::lockdown(&text));
    for form in [
        genl::FAMILY,
        netdev::DEV,
        ethtool::STRSET,
        ethtool::FEATURES,
        devlink::ANY,
        route::LINK,
        tc::FILTER,
    ] {
        let json = to_json(form, bytes);
        let again = from_json(form, &json).expect("what was written can be read");
        assert_eq!(to_json(form, &again), json);
    }
});
