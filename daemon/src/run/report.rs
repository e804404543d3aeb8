//! What a change did, for people.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use terrace_mesh::directory::{BackendState, Directory};

use super::change::{Done, Faults};
use super::events::{Kind, unix_ms};
use super::shared::Shared;
use crate::api;

/// What `terrace status` says of the manifests, and the event that goes with it.
pub fn report(shared: &Shared, files: usize, denied: usize, result: &Result<Done, Faults>) {
    let counts = counts(shared.mesh().directory());
    match result {
        Ok(done) if done.changes == 0 => {}
        Ok(done) => {
            let what = format!("{} table entries in {:?}", done.changes, done.took);
            shared.events.tell(Kind::ManifestsApplied, what);
        }
        Err(faults) => {
            shared.totals.refusals.fetch_add(1, Ordering::Relaxed);
            shared
                .events
                .tell(Kind::ManifestsRefused, faults.join("\n"));
        }
    }
    shared.change_view(|view| {
        let before = &view.manifests;
        let refused = result.as_ref().err().cloned().unwrap_or_default();
        let changed = result.as_ref().is_ok_and(|done| done.changes > 0);
        view.manifests = match result {
            Ok(_) => api::Manifests {
                folder: shared.config.manifests.display().to_string(),
                files,
                denied_prefixes: denied,
                revision: before.revision + u64::from(changed || before.revision == 0),
                applied_unix_ms: match changed {
                    true => unix_ms(),
                    false => before.applied_unix_ms,
                },
                ..counts
            },
            Err(_) => api::Manifests {
                refused,
                ..before.clone()
            },
        };
    });
}

/// After a change of the host: how many backends are ready may be another.
pub fn recount(shared: &Shared) {
    let counts = counts(shared.mesh().directory());
    shared.change_view(|view| {
        view.manifests.ready_backends = counts.ready_backends;
        view.manifests.identities = counts.identities;
    });
}

fn counts(directory: &Directory) -> api::Manifests {
    let backends = directory.backends.values();
    let ready = backends.filter(|backend| backend.state == BackendState::Ready);
    let services: BTreeSet<_> = directory.pools.values().map(|pool| &pool.service).collect();
    api::Manifests {
        services: services.len(),
        backends: directory.backends.len(),
        ready_backends: ready.count(),
        policies: directory.policies.len(),
        identities: directory.identities.len(),
        ..api::Manifests::default()
    }
}
