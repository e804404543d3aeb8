//! XDP programs on interfaces of a namespace of their own.

use std::os::fd::AsFd as _;

use terrace_abi::{Limits, Maps, pins, sys};
use terrace_testkit::{Netns, PinRoot};

use crate::{Attachment, DryRun, Error, Mode, XdpPrograms};

const PASS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pass.bpf.o"));

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

    fn load(&self) -> XdpPrograms {
        XdpPrograms::load_object(&self.maps, PASS).unwrap()
    }

    fn ifindex(&self, iface: &str) -> u32 {
        let all = self.ns.enter(sys::interfaces).unwrap().unwrap();
        all.into_iter().find(|(_, name)| name == iface).unwrap().0
    }

    fn attach(&self, programs: &XdpPrograms, iface: &str, mode: Mode) -> Result<Attachment, Error> {
        let ifindex = self.ifindex(iface);
        self.ns
            .enter(|| programs.attach(iface, ifindex, mode))
            .unwrap()
    }

    fn list(&self) -> Vec<Attachment> {
        self.ns.enter(crate::list).unwrap().unwrap()
    }

    fn detach_all(&self) {
        self.ns
            .enter(|| crate::detach_all(self.root.path()))
            .unwrap()
            .unwrap();
    }

    /// Number of the program that the root program calls.
    fn installed(&self) -> Option<u32> {
        use libbpf_rs::{MapCore as _, MapFlags};
        let map = self.maps.handle("xdp_programs").unwrap();
        let id = map.lookup(&[0; 4], MapFlags::ANY).unwrap()?;
        Some(u32::from_ne_bytes(id.try_into().unwrap()))
    }

    /// Attaches a program of somebody else.
    fn foreign(&self, mode: Mode) {
        let programs = crate::programs::load(&self.maps, PASS, &[])
            .unwrap()
            .programs;
        let stranger = programs
            .iter()
            .find(|program| program.name() == "stranger")
            .unwrap();
        let up0 = self.ifindex("up0");
        self.ns
            .enter(|| sys::xdp_attach(up0, stranger.as_fd(), mode.into()))
            .unwrap()
            .unwrap();
    }
}

#[test]
fn root_the_root_program_outlives_its_loader_and_is_known_again() {
    for mode in [Mode::Native, Mode::Generic] {
        let lab = Lab::new("xdp-life");
        let first = lab.attach(&lab.load(), "up0", mode).unwrap();
        assert!(!first.taken_over);
        let again = lab.attach(&lab.load(), "up0", mode).unwrap();
        assert!(again.taken_over, "{mode}");
        assert_eq!(first.program_id, again.program_id, "{mode}");
        assert_eq!(lab.list(), [again]);
        lab.detach_all();
        assert!(lab.list().is_empty(), "{mode}");
        let progs = pins::list_folder(&lab.root.path().join("progs")).unwrap();
        assert!(progs.is_empty(), "{mode}: {progs:?}");
    }
}

#[test]
fn root_installing_exchanges_the_inner_program_only() {
    let lab = Lab::new("xdp-swap");
    for _ in 0..2 {
        let programs = lab.load();
        programs.install(&lab.maps).unwrap();
        let attached = lab.attach(&programs, "up0", Mode::Native).unwrap();
        assert_eq!(lab.list()[0].program_id, attached.program_id);
        assert_eq!(lab.installed(), Some(programs.program().info().id));
    }
    crate::uninstall(&lab.maps).unwrap();
    crate::uninstall(&lab.maps).unwrap();
    assert_eq!(lab.installed(), None);
    assert_eq!(lab.list().len(), 1, "the root program stays");
}

#[test]
fn root_a_mode_change_leaves_only_the_new_mode() {
    let lab = Lab::new("xdp-mode");
    let programs = lab.load();
    for mode in [Mode::Generic, Mode::Native, Mode::Generic] {
        lab.attach(&programs, "up0", mode).unwrap();
        let modes: Vec<Mode> = lab
            .list()
            .iter()
            .map(|attachment| attachment.mode)
            .collect();
        assert_eq!(modes, [mode]);
    }
}

#[test]
fn root_a_program_of_somebody_else_is_named_and_stays() {
    for mode in [Mode::Native, Mode::Generic] {
        let lab = Lab::new("xdp-foreign");
        lab.foreign(mode);
        let error = lab
            .attach(&lab.load(), "up0", Mode::Native)
            .unwrap_err()
            .to_string();
        assert!(error.contains("`stranger`"), "{error}");
        assert!(error.contains(&format!("in {mode} mode")), "{error}");
        lab.detach_all();
        let link = lab.ns.run("ip", &["-d", "link", "show", "up0"]).unwrap();
        assert!(link.contains("xdp"), "it still runs: {link}");
    }
}

#[test]
fn root_a_lost_pin_does_not_leave_the_old_root_program_behind() {
    let lab = Lab::new("xdp-lost");
    let old = lab.attach(&lab.load(), "up0", Mode::Native).unwrap();
    pins::remove(&lab.root.path().join("progs/xdp_root")).unwrap();
    let new = lab.attach(&lab.load(), "up0", Mode::Native).unwrap();
    assert_ne!(old.program_id, new.program_id);
    assert_eq!(lab.list().len(), 1);
}

#[test]
fn root_a_drivers_refusal_is_told_in_its_own_words() {
    let lab = Lab::new("xdp-why");
    lab.ns
        .ip(["link set up0 mtu 9000", "link set far0 mtu 9000"])
        .unwrap();
    let rows = [("lo", "native mode"), ("up0", "MTU")];
    for (iface, words) in rows {
        let error = lab
            .attach(&lab.load(), iface, Mode::Native)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("attach XDP to {iface} in native mode: ")),
            "{error}"
        );
        assert!(error.contains(words), "{error}");
    }
    assert!(lab.list().is_empty());
}

#[test]
fn root_detaching_one_interface_leaves_the_others() {
    let lab = Lab::new("xdp-one");
    let programs = lab.load();
    lab.attach(&programs, "up0", Mode::Native).unwrap();
    lab.attach(&programs, "far0", Mode::Generic).unwrap();
    let up0 = lab.ifindex("up0");
    lab.ns.enter(|| crate::detach("up0", up0)).unwrap().unwrap();
    lab.ns.enter(|| crate::detach("up0", up0)).unwrap().unwrap();
    let left = lab.list();
    assert_eq!((left.len(), left[0].iface.as_str()), (1, "far0"));
}

#[test]
fn root_a_dry_run_gives_a_verdict_and_counts_nothing() {
    let lab = Lab::new("xdp-dry");
    let dry = DryRun::load_object(&lab.maps, PASS).unwrap();
    let up0 = lab.ifindex("up0");
    let mut arp = vec![0xff; 6];
    arp.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06]);
    arp.resize(60, 0);
    let run = lab
        .ns
        .enter(|| dry.run(&lab.maps, &arp, up0))
        .unwrap()
        .unwrap();
    assert_eq!(run.packet, arp);
    assert_eq!(run.trace.out_ifindex, up0);
    assert!(lab.maps.reasons().unwrap().is_empty());
}
