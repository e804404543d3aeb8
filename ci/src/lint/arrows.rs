//! Dependency arrows between our crates: they point down only (DESIGN section 5).

use serde_json::Value;

/// Our crates by height; a crate may depend on lower ones only.
const HEIGHTS: &[(&str, u8)] = &[
    ("terrace-bpf-build", 0),
    ("terrace-abi", 1),
    ("terrace-nic-profiles", 1),
    ("terrace-xdp", 2),
    ("terrace-tc", 2),
    ("terrace-sock", 2),
    ("terrace-offload", 2),
    ("terrace-mesh", 2),
    ("terrace-l7", 2),
    ("terrace", 3),
    ("terrace-bench", 4),
    // Helps tests, so it stands apart: see `allowed`.
    ("terrace-testkit", 0),
    ("xtask", 0),
    ("terrace-budget", 4),
    ("terrace-model", 4),
    ("terrace-nic-lab", 4),
];
const TESTKIT: &str = "terrace-testkit";

pub fn faults(metadata: &Value) -> Vec<String> {
    let packages = members(metadata);
    let mut faults = Vec::new();
    for package in &packages {
        let name = text(&package["name"]);
        if height(name).is_none() {
            faults.push(format!(
                "crate {name} has no place in ci/src/lint/arrows.rs"
            ));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = text(&dependency["name"]);
            let dev = dependency["kind"] == "dev";
            if height(to).is_some() && !allowed(name, to, dev) {
                faults.push(format!(
                    "{name} must not depend on {to}: arrows point down only"
                ));
            }
        }
    }
    faults
}

/// The test kit depends on none of ours; it serves tests, the demo and the
/// benchmarks, never what ships. xtask builds before everything else, so it
/// depends on nothing but the kit.
fn allowed(from: &str, to: &str, dev: bool) -> bool {
    if from == TESTKIT {
        return false;
    }
    if to == TESTKIT {
        return dev
            || matches!(
                from,
                "xtask" | "terrace-bench" | "terrace-budget" | "terrace-nic-lab"
            );
    }
    match (height(from), height(to)) {
        (Some(from), Some(to)) => from > to,
        _ => true,
    }
}

fn height(name: &str) -> Option<u8> {
    let found = HEIGHTS.iter().find(|(ours, _)| *ours == name);
    found.map(|(_, height)| *height)
}

fn members(metadata: &Value) -> Vec<&Value> {
    let ids = metadata["workspace_members"].as_array();
    let is_member = |package: &Value| ids.is_some_and(|ids| ids.contains(&package["id"]));
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.filter(|package| is_member(package)).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn arrows_point_down_only() {
        let rows = [
            ("terrace", "terrace-xdp", false, true),
            ("terrace-xdp", "terrace-abi", false, true),
            ("terrace-abi", "terrace-xdp", false, false),
            ("terrace-xdp", "terrace-tc", false, false),
            ("terrace-mesh", "terrace", true, false),
            ("terrace-xdp", "terrace-testkit", true, true),
            ("terrace-xdp", "terrace-testkit", false, false),
            ("terrace-bench", "terrace-testkit", false, true),
            ("terrace-testkit", "terrace-abi", true, false),
            ("xtask", "terrace-abi", false, false),
            ("xtask", "terrace-testkit", false, true),
        ];
        for (from, to, dev, expected) in rows {
            assert_eq!(
                allowed(from, to, dev),
                expected,
                "{from} -> {to}, dev {dev}"
            );
        }
    }
}
