//! One row: packets, and what has to become of the last one.

use terrace_abi::{Class, Reason};
use terrace_model::{Family, Hook, Model, Outcome, Packet, Seen, World, verify};

use crate::lab::Lab;

/// Where a packet meets the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// From the network: XDP, then tc; and once more by tc alone.
    Uplink(&'static str),
    /// To the network.
    Out(&'static str),
    /// From a workload.
    From(&'static str),
    /// To a workload, from the host's stack.
    To(&'static str),
    /// From a worker.
    Port,
}

/// Makes a frame; it may look at what came out for the packets before.
pub type Make = Box<dyn Fn(&[Vec<u8>]) -> Vec<u8>>;

pub enum Step {
    Send(At, Make),
    /// The tables change.
    Change(fn(&mut World)),
}

/// Looks at the frame that came out.
type Look = Box<dyn Fn(&Seen)>;

pub struct Row {
    name: String,
    family: Family,
    /// All but the last bring the programs into a state.
    steps: Vec<Step>,
    /// Of the last packet: the first program's reason, and the last one's.
    first: Reason,
    last: Reason,
    /// `source port > destination port ttl n`; `*` is anything.
    becomes: Option<String>,
    look: Option<Look>,
}

/// Which programs an uplink has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiers {
    XdpAndTc,
    TcAlone,
}

impl From<Packet> for Step {
    fn from(packet: Packet) -> Self {
        at(At::Uplink("up0"), packet)
    }
}

/// A packet somewhere.
pub fn at(place: At, packet: Packet) -> Step {
    raw(place, packet.bytes())
}

/// Bytes somewhere.
pub fn raw(place: At, bytes: Vec<u8>) -> Step {
    Step::Send(place, Box::new(move |_| bytes.clone()))
}

/// A packet that depends on what came out before.
pub fn made(place: At, make: impl Fn(&[Vec<u8>]) -> Packet + 'static) -> Step {
    Step::Send(place, Box::new(move |before| make(before).bytes()))
}

impl Row {
    /// The packet ends with this reason in the first program that sees it.
    pub fn new(
        name: impl Into<String>,
        family: Family,
        step: impl Into<Step>,
        reason: Reason,
    ) -> Self {
        Self {
            name: name.into(),
            family,
            steps: vec![step.into()],
            first: reason,
            last: reason,
            becomes: None,
            look: None,
        }
    }

    /// XDP passes with this reason; the one of `new` is tc's.
    pub fn after(mut self, first: Reason) -> Self {
        self.first = first;
        self
    }

    /// What happens before the packet.
    pub fn before(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        let last = self.steps.pop();
        self.steps.extend(steps);
        self.steps.extend(last);
        self
    }

    /// Another world than that of all rows.
    pub fn world(mut self, change: fn(&mut World)) -> Self {
        self.steps.insert(0, Step::Change(change));
        self
    }

    /// The addresses and ports of what comes out; IPv4 addresses stand for
    /// those of the row's family.
    pub fn becomes(mut self, text: &str) -> Self {
        self.becomes = Some(text.to_owned());
        self
    }

    /// A closer look at what comes out.
    pub fn look(mut self, look: impl Fn(&Seen) + 'static) -> Self {
        self.look = Some(Box::new(look));
        self
    }

    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons = vec![self.first, self.last];
        reasons.dedup();
        reasons
    }

    /// Compares what became of the row with XDP and without.
    pub fn check(&self, both: Option<Outcome>, alone: Option<Outcome>) -> Result<(), String> {
        if let (Some(both), Some(alone)) = (&both, &alone)
            && (both.reason, &both.bytes) != (alone.reason, &alone.bytes)
        {
            return Err(self.fault(&format!(
                "XDP and tc: {}\ntc alone:   {}",
                show(both),
                show(alone)
            )));
        }
        let out = both.ok_or_else(|| self.fault("XDP takes every frame"))?;
        if out.reason.class() == Class::Drop {
            return Ok(());
        }
        self.inspect(&out)
    }

    fn inspect(&self, out: &Outcome) -> Result<(), String> {
        let Some(seen) = terrace_model::seen(&out.bytes) else {
            return Ok(());
        };
        if let Some(pattern) = &self.becomes {
            let (sport, dport) = seen.ports();
            let found = format!(
                "{} {sport} > {} {dport} ttl {}",
                seen.src, seen.dst, seen.ttl
            );
            if !self.matches(pattern, &found) {
                return Err(self.fault(&format!("became {found}, not {pattern}")));
            }
        }
        if let Some(look) = &self.look {
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(&seen)));
            looked.map_err(|_| self.fault("the panic above"))?;
        }
        Ok(())
    }

    fn matches(&self, pattern: &str, found: &str) -> bool {
        let wanted = pattern.split(' ').map(|word| {
            let is_address = word.parse::<std::net::IpAddr>().is_ok();
            if is_address {
                self.family.ip(word).to_string()
            } else {
                word.to_owned()
            }
        });
        let found = found.split(' ');
        pattern.split(' ').count() == found.clone().count()
            && wanted
                .zip(found)
                .all(|(wanted, found)| wanted == "*" || wanted == found)
    }

    /// Runs the row in the programs and in the model: the outcome of the last
    /// packet; `None` = tc can't be given the packet.
    pub fn run(&self, lab: &mut Lab, tiers: Tiers) -> Result<Option<Outcome>, String> {
        let mut world = lab.world();
        without_xdp(&mut world, tiers);
        lab.install(&world);
        lab.forget();
        let mut model = Model::new(world);
        let (mut outputs, mut last) = (Vec::new(), None);
        for (i, step) in self.steps.iter().enumerate() {
            match step {
                Step::Change(change) => {
                    change(&mut model.world);
                    without_xdp(&mut model.world, tiers);
                    lab.install(&model.world);
                }
                Step::Send(place, make) => {
                    let frame = make(&outputs);
                    let is_last = i + 1 == self.steps.len();
                    last = self.send(lab, &mut model, tiers, *place, &frame, is_last)?;
                    outputs.push(last.as_ref().map_or(frame, |last| last.bytes.clone()));
                }
            }
        }
        Ok(last)
    }

    /// One packet through the programs of its place.
    fn send(
        &self,
        lab: &mut Lab,
        model: &mut Model,
        tiers: Tiers,
        place: At,
        frame: &[u8],
        is_last: bool,
    ) -> Result<Option<Outcome>, String> {
        let (iface, hooks) = hooks(place, tiers);
        let mut last: Option<Outcome> = None;
        for (i, hook) in hooks.iter().enumerate() {
            let input = last.as_ref().map_or(frame, |last| &last.bytes).to_vec();
            let Some(real) = lab.run(*hook, iface, &input) else {
                return Ok(last);
            };
            let ifindex = lab.ifindex(iface);
            let expected = model.run(*hook, ifindex, &input);
            if real != expected {
                return Err(self.fault(&format!(
                    "{hook:?} of {} in\nprogram: {}\nmodel:   {}",
                    hex(&input),
                    show(&real),
                    show(&expected)
                )));
            }
            self.check_sums(&input, &real)?;
            let passes = real.reason.class() == Class::Pass;
            let wanted = if i + 1 < hooks.len() && passes || i == 0 && hooks.len() > 1 {
                self.first
            } else {
                self.last
            };
            if is_last && real.reason != wanted {
                let reason = real.reason;
                return Err(self.fault(&format!("{hook:?}: {reason}, not {wanted}")));
            }
            last = Some(real);
            if !passes {
                break;
            }
        }
        Ok(last)
    }

    /// What was right goes out right.
    fn check_sums(&self, input: &[u8], out: &Outcome) -> Result<(), String> {
        if out.reason.class() == Class::Drop || verify(input).is_err() {
            return Ok(());
        }
        let fault = |fault| self.fault(&format!("{fault}: {}", show(out)));
        verify(&out.bytes).map(drop).map_err(fault)
    }

    fn fault(&self, fault: &str) -> String {
        format!("{} ({:?}): {fault}", self.name, self.family)
    }
}

/// tc alone runs the deny list itself.
pub fn without_xdp(world: &mut World, tiers: Tiers) {
    if tiers == Tiers::TcAlone {
        world.ifaces.iter_mut().for_each(|iface| iface.xdp = false);
    }
}

pub fn hooks(place: At, tiers: Tiers) -> (&'static str, Vec<Hook>) {
    match (place, tiers) {
        (At::Uplink(iface), Tiers::XdpAndTc) => (iface, vec![Hook::Xdp, Hook::UplinkIngress]),
        (At::Uplink(iface), Tiers::TcAlone) => (iface, vec![Hook::UplinkIngress]),
        (At::Out(iface), _) => (iface, vec![Hook::UplinkEgress]),
        (At::From(iface), _) => (iface, vec![Hook::WorkloadIngress]),
        (At::Port, _) => ("l7", vec![Hook::L7Port]),
        (At::To(iface), _) => (iface, vec![Hook::WorkloadEgress]),
    }
}

fn show(outcome: &Outcome) -> String {
    let Outcome {
        reason,
        action,
        bytes,
    } = outcome;
    format!("{reason}, action {}, {}", *action as i32, hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
