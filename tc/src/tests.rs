//! tc programs on interfaces of a namespace of their own.

use terrace_abi::{Limits, Maps, pins, sys};
use terrace_testkit::{Netns, PinRoot, kernel, need};

use crate::{Attachment, Direction, DryRun, Error, Kind, Options, Role, TcPrograms, Via};

const PASS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pass.bpf.o"));

fn has_tcx() -> bool {
    kernel::is_since(6, 6)
}

/// What this kernel attaches by; clsact is on all of them.
fn ways() -> Vec<Via> {
    if !has_tcx() {
        kernel::tell("TCX");
        return vec![Via::Clsact];
    }
    vec![Via::Tcx, Via::Clsact]
}

struct Lab {
    ns: Netns,
    root: PinRoot,
    maps: Maps,
}

impl Lab {
    /// A namespace with a veth pair `up0` - `far0`.
    fn new(label: &str) -> Self {
        let ns = Netns::new(label).unwrap();
        ns.ip([
            "link add up0 type veth peer name far0",
            "link set up0 up",
            "link set far0 up",
        ])
        .unwrap();
        let root = PinRoot::new().unwrap();
        let maps = Maps::open(root.path(), &Limits::small()).unwrap();
        Self { ns, root, maps }
    }

    fn load(&self, via: Via) -> TcPrograms {
        TcPrograms::load_object(&self.maps, &Options { via }, PASS).unwrap()
    }

    fn ifindex(&self, iface: &str) -> u32 {
        let all = self.ns.enter(sys::interfaces).unwrap().unwrap();
        all.into_iter().find(|(_, name)| name == iface).unwrap().0
    }

    fn arm(&self, via: Via, iface: &str, role: Role) -> [Attachment; 2] {
        let (programs, ifindex) = (self.load(via), self.ifindex(iface));
        self.ns
            .enter(|| programs.arm(iface, ifindex, role))
            .unwrap()
            .unwrap()
    }

    fn list(&self) -> Vec<Attachment> {
        self.ns.enter(crate::list).unwrap().unwrap()
    }

    fn kinds(&self) -> Vec<Kind> {
        self.list()
            .iter()
            .map(|attachment| attachment.kind)
            .collect()
    }

    fn detach_all(&self) {
        self.ns
            .enter(|| crate::detach_all(self.root.path()))
            .unwrap()
            .unwrap();
    }

    fn qdiscs(&self) -> String {
        self.ns.run("tc", &["qdisc", "show", "dev", "up0"]).unwrap()
    }
}

#[test]
fn root_programs_outlive_their_loader_and_leave_nothing_when_detached() {
    for via in ways() {
        let lab = Lab::new("tc-life");
        let armed = lab.arm(via, "up0", Role::Uplink);
        let listed = lab.list();
        assert_eq!(listed.len(), 2, "{via:?}: {listed:?}");
        for (armed, listed) in armed.iter().zip(&listed) {
            assert!(!armed.taken_over);
            assert_eq!(armed, listed, "{via:?}");
        }
        lab.detach_all();
        assert!(lab.list().is_empty(), "{via:?}");
        assert!(!lab.qdiscs().contains("clsact"), "{via:?}");
        let links = pins::list_folder(&lab.root.path().join("links")).unwrap();
        assert!(links.is_empty(), "{via:?}: {links:?}");
    }
}

#[test]
fn root_a_new_daemon_replaces_the_programs_of_the_old_one() {
    for via in ways() {
        let lab = Lab::new("tc-take");
        let old = lab.arm(via, "up0", Role::Uplink);
        let new = lab.arm(via, "up0", Role::Uplink);
        for (old, new) in old.iter().zip(&new) {
            assert!(new.taken_over, "{via:?}");
            assert_ne!(old.program_id, new.program_id, "{via:?}");
        }
        let ids: Vec<u32> = lab
            .list()
            .iter()
            .map(|attachment| attachment.program_id)
            .collect();
        assert_eq!(ids, [new[0].program_id, new[1].program_id], "{via:?}");
    }
}

#[test]
fn root_changing_the_kind_leaves_only_the_new_one() {
    let lab = Lab::new("tc-kind");
    lab.arm(Via::Clsact, "up0", Role::Uplink);
    assert_eq!(lab.kinds(), [Kind::Clsact; 2]);
    lab.arm(Via::Auto, "up0", Role::Uplink);
    need!("TCX", has_tcx());
    assert_eq!(lab.kinds(), [Kind::Tcx; 2]);
    assert!(!lab.qdiscs().contains("clsact"));
    lab.arm(Via::Clsact, "up0", Role::Uplink);
    assert_eq!(lab.kinds(), [Kind::Clsact; 2]);
}

#[test]
fn root_detaching_one_interface_leaves_the_others() {
    let lab = Lab::new("tc-one");
    lab.arm(Via::Auto, "up0", Role::Uplink);
    lab.arm(Via::Clsact, "far0", Role::Workload);
    let up0 = lab.ifindex("up0");
    lab.ns
        .enter(|| crate::detach(lab.root.path(), "up0", up0))
        .unwrap()
        .unwrap();
    let left = lab.list();
    assert_eq!(left.len(), 2);
    assert!(
        left.iter().all(|attachment| attachment.iface == "far0"),
        "{left:?}"
    );
}

#[test]
fn root_a_qdisc_of_somebody_else_stays() {
    let lab = Lab::new("tc-qdisc");
    lab.ns
        .run("tc", &["qdisc", "add", "dev", "up0", "clsact"])
        .unwrap();
    lab.arm(Via::Clsact, "up0", Role::Uplink);
    lab.detach_all();
    assert!(lab.qdiscs().contains("clsact"));
}

#[test]
fn root_an_interface_that_went_and_came_back_is_armed_anew() {
    for via in ways() {
        let lab = Lab::new("tc-back");
        lab.arm(via, "up0", Role::Uplink);
        lab.ns.ip(["link del up0"]).unwrap();
        assert!(lab.list().is_empty());
        lab.ns
            .ip(["link add up0 type veth peer name far0"])
            .unwrap();
        let armed = lab.arm(via, "up0", Role::Uplink);
        assert!(!armed[0].taken_over, "{via:?}");
        assert_eq!(lab.list().len(), 2, "{via:?}");
        lab.ns.ip(["link del up0"]).unwrap();
        lab.detach_all();
        let links = pins::list_folder(&lab.root.path().join("links")).unwrap();
        assert!(links.is_empty(), "{via:?}: {links:?}");
    }
}

#[test]
fn root_interface_names_with_dots_can_be_pinned() {
    let lab = Lab::new("tc-dot");
    lab.ns
        .ip(["link add up0.100 type veth peer name far0.100"])
        .unwrap();
    lab.arm(Via::Auto, "up0.100", Role::Uplink);
    assert_eq!(lab.list().len(), 2);
    lab.detach_all();
    assert!(lab.list().is_empty());
}

#[test]
fn root_an_interface_that_is_not_there_is_an_error_with_its_name() {
    let lab = Lab::new("tc-none");
    let programs = lab.load(Via::Clsact);
    let error = lab
        .ns
        .enter(|| programs.arm("none0", 4_000_000, Role::Uplink))
        .unwrap();
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Attach { .. }), "{error}");
    assert!(error.to_string().contains("none0"), "{error}");
}

#[test]
fn root_a_dry_run_gives_a_verdict_and_counts_nothing() {
    let lab = Lab::new("tc-dry");
    let dry = DryRun::load_object(&lab.maps, PASS).unwrap();
    let up0 = lab.ifindex("up0");
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06]);
    arp.resize(60, 0);
    for role in [Role::Uplink, Role::Workload] {
        for direction in Direction::ALL {
            let run = lab
                .ns
                .enter(|| dry.run(&lab.maps, role, direction, &arp, up0))
                .unwrap()
                .unwrap();
            assert_eq!(run.packet, arp);
            assert_eq!(run.trace.out_ifindex, up0, "{role:?} {direction}");
        }
    }
    assert!(lab.maps.reasons().unwrap().is_empty());
}
