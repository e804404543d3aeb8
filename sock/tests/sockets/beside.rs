//! Beside programs of others, and in place of an earlier daemon's.

use std::path::Path;
use std::process::Command;

use terrace_sock::connect::ConnectPrograms;
use terrace_sock::{Cgroup as Target, Error, links};
use terrace_testkit::PinRoot;

use crate::services::{V4, at};
use crate::stage::{Stage, backends};
use crate::tables::{Kind, TCP};

/// Somebody else's program that lets every connect() pass.
struct Foreign {
    pin: std::path::PathBuf,
    _root: PinRoot,
}

impl Foreign {
    fn load() -> Self {
        let root = PinRoot::new().expect("pin root");
        let pin = root.path().join("foreign");
        let object = concat!(env!("OUT_DIR"), "/foreign.bpf.o");
        bpftool(&["prog", "load", object, &pin.display().to_string()]);
        Self { pin, _root: root }
    }

    fn attach(&self, cgroup: &Path, flags: &[&str]) {
        let cgroup = cgroup.display().to_string();
        let pin = self.pin.display().to_string();
        let head = ["cgroup", "attach", &cgroup, "connect4", "pinned", &pin];
        bpftool(&[&head, flags].concat());
    }
}

fn bpftool(args: &[&str]) -> String {
    let output = Command::new("bpftool")
        .args(args)
        .output()
        .expect("bpftool");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "bpftool {args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn root_programs_of_others_keep_their_place_in_front() {
    let mut stage = Stage::bare("beside");
    Foreign::load().attach(stage.cgroup.path(), &["multi"]);
    let service = at(V4);
    stage
        .tables
        .service(service, Kind::new(TCP), &backends(service.ip()));
    stage.attach(|_| {});
    let shown = bpftool(&["cgroup", "show", &stage.cgroup.path().display().to_string()]);
    let of = |name: &str| shown.lines().position(|line| line.contains(name));
    let (theirs, ours) = (of("foreign"), of("terrace_connect"));
    assert!(
        theirs.is_some() && ours.is_some() && theirs < ours,
        "{shown}"
    );
    assert_eq!(
        stage
            .client
            .run("result = greet(dial('10.96.0.10', 80))[0]"),
        "\"b\""
    );
    links::detach_all(stage.tables.maps.root()).expect("detach");
    let shown = bpftool(&["cgroup", "show", &stage.cgroup.path().display().to_string()]);
    assert!(
        shown.contains("foreign") && !shown.contains("terrace"),
        "{shown}"
    );
}

#[test]
fn root_a_program_that_allows_none_beside_it_is_named() {
    let stage = Stage::bare("alone");
    Foreign::load().attach(stage.cgroup.path(), &[]);
    let programs = ConnectPrograms::load(&stage.tables.maps, &stage.options()).expect("load");
    let error = programs
        .attach(&stage.target())
        .expect_err("there is no room");
    let text = error.to_string();
    assert!(matches!(error, Error::Exclusive { .. }), "{text}");
    assert!(
        text.contains("`foreign`") && text.contains("bpftool cgroup attach"),
        "{text}"
    );
}

#[test]
fn root_a_new_loader_takes_the_links_over() {
    let mut stage = Stage::new("takeover");
    let service = at(V4);
    stage
        .tables
        .service(service, Kind::new(TCP), &backends(service.ip()));
    stage.client.run("s = dial('10.96.0.10', 80)\ngreet(s)");
    let before = links::list(stage.tables.maps.root()).expect("links");
    stage.programs = None;
    assert_eq!(
        stage
            .client
            .run("result = greet(dial('10.96.0.10', 80))[0]"),
        "\"b\""
    );
    stage.attach(|_| {});
    let after = links::list(stage.tables.maps.root()).expect("links");
    assert_eq!(after.len(), before.len());
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((&old.pin, old.target), (&new.pin, new.target));
        assert_ne!(old.program_id, new.program_id, "{}", old.pin);
    }
    assert_eq!(
        stage.client.run("result = s.getpeername()"),
        r#"["10.96.0.10", 80]"#
    );
}

#[test]
fn root_another_cgroup_takes_the_links_with_it() {
    let stage = Stage::new("othercg");
    let other = terrace_testkit::Cgroup::new().expect("cgroup");
    let target = Target::open(other.path()).expect("open");
    let programs = stage.programs.as_ref().expect("programs");
    programs.attach(&target).expect("attach");
    let links = links::list(stage.tables.maps.root()).expect("links");
    assert!(
        links.iter().all(|link| link.target == target.id()),
        "{links:?}"
    );
    let shown = bpftool(&["cgroup", "show", &stage.cgroup.path().display().to_string()]);
    assert!(!shown.contains("terrace"), "{shown}");
}

#[test]
fn root_what_is_no_cgroup_is_told() {
    let rows = [
        ("/tmp", "not a cgroup of version 2"),
        ("/sys/fs/cgroup/memory", "not a cgroup of version 2"),
        ("/sys/fs/cgroup/there/is/none", "open the cgroup"),
    ];
    for (path, part) in rows {
        if path.ends_with("memory") && !Path::new(path).exists() {
            println!("no cgroup v1 on this host");
            continue;
        }
        let error = Target::open(path.as_ref()).expect_err("no cgroup");
        assert!(error.to_string().contains(part), "{path}: {error}");
    }
}

#[test]
fn root_a_cgroup_that_may_not_be_read_is_told() {
    let stage = Stage::bare("closed");
    let path = stage.cgroup.path().display().to_string();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000))
        .expect("chmod");
    // Another user: root may read everything.
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "ls", &path])
        .output()
        .expect("setpriv");
    assert!(!output.status.success());
    let error = Error::OpenCgroup {
        path: path.into(),
        source: std::io::Error::from(std::io::ErrorKind::PermissionDenied),
    };
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
}

#[test]
fn a_kernel_without_a_hook_and_a_full_map_are_told() {
    let errno = std::io::Error::from_raw_os_error;
    let attach = Error::Attach {
        hook: "connect4",
        path: "/sys/fs/cgroup".into(),
        source: errno(22),
    };
    assert!(attach.to_string().contains("Linux 6.1"), "{attach}");
    for full in [7, 28] {
        let map = Error::Map {
            action: "write",
            map: "workloads",
            source: errno(full),
        };
        assert!(
            map.to_string().contains("raise [socket] max_entries"),
            "{map}"
        );
    }
}
