//! Decoders never panic, whatever bytes come; and what tables name survives JSON.

#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use terrace_offload::decode::{devlink as dl, ethtool as et, link, netdev as nd, sysfs, tc as td};
use terrace_offload::wire::{FORMS, from_json, push, to_json};

/// Every decoder on the same bytes.
fn decode(bytes: &[u8]) {
    let names = et::names(bytes);
    let _ = (link::link(bytes), link::facts(bytes));
    let _ = (
        nd::device(bytes),
        nd::redirect_target(bytes, true),
        nd::queue(bytes),
    );
    let _ = (
        nd::napi(bytes),
        nd::page_pool(bytes),
        nd::queue_errors(bytes),
    );
    let _ = (
        et::features(bytes, &names),
        et::private_flags(bytes),
        et::rings(bytes),
    );
    let _ = (
        et::channels(bytes),
        et::link_modes(bytes),
        et::link_state(bytes),
    );
    let _ = (et::time_stamping(bytes, &names), et::hashing(bytes, &names));
    let _ = et::is_further_context(bytes);
    let _ = (
        dl::handle(bytes),
        dl::port(bytes),
        dl::eswitch(bytes),
        dl::info(bytes),
    );
    let _ = (
        dl::reporter(bytes),
        dl::parameter(bytes),
        dl::address(bytes),
    );
    let _ = (td::qdisc(bytes), td::filter(bytes));
    let text = String::from_utf8_lossy(bytes);
    let _ = (
        sysfs::cpu_count(&text),
        sysfs::virtio_features(&text),
        sysfs::interrupts(&text),
    );
    let _ = (sysfs::capabilities(&text), sysfs::lockdown(&text));
    for form in FORMS {
        let json = to_json(form, bytes);
        let again = from_json(form, &json).unwrap();
        assert_eq!(to_json(form, &again), json, "what is named survives");
    }
}

/// Attributes that look right, one in the other.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop::collection::vec(any::<u8>(), 0..12);
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop::collection::vec((0u16..130, inner), 0..6).prop_map(|attrs| {
            let mut bytes = Vec::new();
            for (id, value) in attrs {
                push(&mut bytes, id, &value);
            }
            bytes
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_decode_to_something(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(&bytes);
    }

    #[test]
    fn truncated_messages_decode_to_something(
        header in prop::sample::select(vec![4usize, 12, 16, 20]),
        body in attributes(),
        cut in 0usize..64,
    ) {
        let mut message = vec![1; header];
        message.extend(body);
        message.truncate(message.len().saturating_sub(cut));
        decode(&message);
    }
}
