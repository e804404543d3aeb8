//! Two NICs of one driver on one wire.

use std::time::Duration;
use terrace_nic_lab::{attempt, by_driver, sh};
use terrace_testkit::wait;

/// A busy host lets a translated machine wait.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Two NICs of one driver, the second in the namespace `far`.
pub struct Pair {
    pub near: String,
    pub far: String,
}

impl Pair {
    pub fn of(driver: &str) -> Self {
        let nics = by_driver(driver);
        let [near, far] = nics.as_slice() else {
            panic!("{driver}: {nics:?}, and two are needed");
        };
        let pair = Self {
            near: near.clone(),
            far: far.clone(),
        };
        sh("ip netns add far && ip netns exec far ip link set lo up");
        sh(&format!("ip link set {far} netns far"));
        sh(&format!(
            "ip -n far addr add 10.77.0.2/24 dev {far} && ip -n far link set {far} up"
        ));
        sh(&format!("ip addr add 10.77.0.1/24 dev {near}"));
        pair.await_carrier();
        pair
    }

    /// Attaching a program resets the link of most NICs: nothing is sent before
    /// it is back.
    pub fn await_carrier(&self) {
        let path = format!("/sys/class/net/{}/carrier", self.near);
        let up = || (std::fs::read_to_string(&path).ok()?.trim() == "1").then_some(());
        wait::until("the carrier", LIMIT, up).expect("a carrier");
        let far = format!("ip -n far -o link show {}", self.far);
        let up = || sh(&far).contains("LOWER_UP").then_some(());
        wait::until("the far carrier", LIMIT, up).expect("a far carrier");
    }

    /// Whether the near end answers.
    pub fn answers(&self) -> bool {
        attempt("nsenter --net=/run/netns/far ping -c 1 -W 1 10.77.0.1").0
    }

    pub fn await_answer(&self) {
        wait::until("an answer", LIMIT, || self.answers().then_some(())).expect("an answer");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        attempt(&format!("ip link set dev {} xdp off", self.near));
        attempt(&format!("ip addr flush dev {}", self.near));
        attempt(&format!("ip -n far link set {} netns 1", self.far));
        attempt("ip netns del far");
    }
}
