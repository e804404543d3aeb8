//! What the running kernel has. A test that needs what an older kernel lacks
//! says so with [`need!`](crate::need): there it ends at once, with a line that
//! `cargo xtask lab` holds against its list of what each kernel lacks.

use std::io::Write as _;

/// Begins the line; the lab looks for it.
pub const LACKS: &str = "terrace-lacks: ";

/// Ends the test with a line when the kernel lacks something:
/// `need!("bpf_sock_destroy", kernel::has_function("bpf_sock_destroy"))`.
#[macro_export]
macro_rules! need {
    ($feature:expr, $has:expr) => {
        if !$has {
            $crate::kernel::tell($feature);
            return;
        }
    };
}

/// Says what is lacking, past the test harness, which shows nothing of a test
/// that does not fail.
pub fn tell(feature: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // In one piece; the harness may have written a part of a line.
    let line = format!("\n{LACKS}{feature}: {test}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Whether the kernel is this version or newer.
pub fn is_since(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    version(&release) >= Some((major, minor))
}

/// Whether the kernel has a function of this name.
pub fn has_function(name: &str) -> bool {
    let all = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    all.lines()
        .any(|line| line.split_whitespace().nth(2) == Some(name))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_as_numbers() {
        for (release, expected) in [
            ("6.1.0-56-amd64", (6, 1)),
            ("6.12.117+deb12-amd64", (6, 12)),
            ("7.3.4+deb13-amd64\n", (7, 3)),
        ] {
            assert_eq!(version(release), Some(expected), "{release}");
        }
        assert!(version("6.12.1") > version("6.5.0"));
        assert_eq!(version("none"), None);
    }
}
