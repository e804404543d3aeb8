//! Bodies of all sizes and many connections, through the splice: every byte
//! and every answer arrives.

use std::process::Command;

use tempfile::TempDir;

use crate::stage::{Shape, Stage, routes, urls};

const SIZES: [usize; 6] = [0, 1, 1_447, 16_385, 1_000_000, 40_000_000];

fn content(size: usize, of: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 + i / 251 + of) as u8).collect()
}

/// The servers `a`, here, and `far`: their places in `Stage::servers`.
const TARGETS: [(usize, &str); 2] = [(0, "a"), (2, "far")];

#[test]
fn root_bodies_of_all_sizes_arrive_whole_from_here_and_from_afar() {
    let stage = Stage::start("l7-bulk", &Shape::default());
    for (of, target) in TARGETS {
        for size in SIZES {
            let file = stage.servers[of].add_file(&size.to_string(), &content(size, of));
            file.expect("a file of nginx");
        }
        stage.change("routes.yaml", &routes(&[("/files", target)]));
        let folder = TempDir::with_prefix("terrace-bulk-").expect("a folder");
        let mut args = vec!["-f".to_owned(), "-Z".to_owned()];
        for size in SIZES {
            for (family, url) in urls(&format!("/files/{size}")).into_iter().enumerate() {
                let out = folder.path().join(format!("{size}-{family}"));
                args.extend([
                    url,
                    "-o".to_owned(),
                    out.to_str().expect("a path").to_owned(),
                ]);
            }
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (done, text) = stage.curl(&args);
        assert!(done, "{target}: {text}\n{}", stage.report());
        for size in SIZES {
            for family in 0..2 {
                let got = std::fs::read(folder.path().join(format!("{size}-{family}")));
                let whole = got.unwrap_or_default() == content(size, of);
                assert!(whole, "{target}, {size} bytes, family {family}");
            }
        }
    }
    let reasons = stage.terrace(&["reasons"]).1;
    assert!(reasons.contains("spliced"), "{reasons}");
}

#[test]
fn root_thousands_of_requests_on_many_connections_are_all_answered() {
    let stage = Stage::start("l7-many", &Shape::default());
    for keep in [true, false] {
        for url in urls("/a") {
            let mut command = Command::new("ab");
            command.args(["-q", "-n", "3000", "-c", "50", "-s", "60"]);
            command.args(keep.then_some("-k")).arg(&url);
            let output = stage.client().output(&mut command).expect("run ab");
            let text = String::from_utf8_lossy(&output.stdout);
            let has = |line: &str| text.lines().any(|of| of.starts_with(line));
            let all = has("Complete requests:      3000") && has("Failed requests:        0");
            let right = !has("Non-2xx responses");
            assert!(
                output.status.success() && all && right,
                "{url}, keep-alive {keep}: {text}{}\n{}",
                String::from_utf8_lossy(&output.stderr),
                stage.report()
            );
        }
    }
}
