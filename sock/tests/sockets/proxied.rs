//! A stage whose client is a workload with a proxy: a program of ours that asks
//! for SO_ORIGINAL_DST as Envoy does.

use terrace_sock::netns::{self, Namespace};
use terrace_sock::proxy::ProxyPrograms;
use terrace_sock::sockets::Sockets;
use terrace_sock::workloads::{Key, Lists, Proxy, Workload, Workloads};
use terrace_testkit::Agent;
use terrace_testkit::scripts::{AS_PROXY, PROXY};

use crate::stage::Stage;

pub struct Proxied {
    pub proxy: Option<Agent>,
    pub stage: Stage,
    pub programs: ProxyPrograms,
    pub sockets: Sockets,
    pub workloads: Workloads,
    pub workload: Workload,
}

impl Proxied {
    /// Everything is redirected, in both directions.
    pub fn new(label: &str) -> Self {
        Self::with(label, |_| {})
    }

    pub fn with(label: &str, change: impl FnOnce(&mut Workload)) -> Self {
        let mut proxied = Self::without_proxy(label, change);
        proxied.start_proxy();
        proxied
    }

    /// The same before the proxy runs.
    pub fn without_proxy(label: &str, change: impl FnOnce(&mut Workload)) -> Self {
        let mut stage = Stage::bare(label);
        stage.attach(|options| {
            options.proxy = true;
            options.cgroups = true;
        });
        let maps = &stage.tables.maps;
        let programs = ProxyPrograms::load(maps, 65_536).expect("load");
        let sockets = Sockets::load(maps, 65_536).expect("load");
        programs.attach(&stage.target()).expect("attach");
        let near = namespace(&stage);
        let inside = near.look().expect("look");
        let mut workload = Workload {
            key: Key::Netns(inside.cookie),
            netns: inside.cookie,
            addresses: inside.addresses,
            lists: Lists {
                all_nets: true,
                all_inbound: true,
                ..Lists::default()
            },
            proxy: Proxy::default(),
            number: 7,
        };
        change(&mut workload);
        let mut proxied = Self {
            proxy: None,
            stage,
            programs,
            sockets,
            workloads: Workloads::default(),
            workload,
        };
        proxied.sync();
        proxied
            .programs
            .attach_inbound(&near, inside.cookie)
            .expect("attach");
        proxied
    }

    pub fn sync(&mut self) {
        let own = self.stage.programs.as_ref().expect("programs").own();
        let wanted = std::slice::from_ref(&self.workload);
        self.workloads.sync(own, wanted).expect("sync");
    }

    pub fn start_proxy(&mut self) {
        let mut proxy = self.stage.agent(&self.stage.near, &AS_PROXY);
        assert_eq!(proxy.run(PROXY), "\"listens\"");
        self.proxy = Some(proxy);
    }

    /// What the proxy was asked for so far.
    pub fn seen(&mut self) -> String {
        let proxy = self.proxy.as_mut().expect("a proxy");
        proxy.run("result = seen")
    }

    /// Entries of a map of the socket tier.
    pub fn entries(&self, map: &'static str) -> usize {
        let own = self.stage.programs.as_ref().expect("programs").own();
        own.keys(map).expect("keys").len()
    }
}

pub fn namespace(stage: &Stage) -> Namespace {
    let path = stage.near.path();
    let mut all = netns::all().into_iter();
    let found = all.find(|namespace| namespace.path == path);
    found.expect("the client's namespace has a name")
}
