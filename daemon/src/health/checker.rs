//! One task per backend that is checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval_at};

use super::thresholds::Judge;
use super::{Probe, Thresholds, ask};

/// What to ask, how often, and whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub address: SocketAddr,
    pub probe: Probe,
    pub interval: Duration,
    pub timeout: Duration,
}

/// A backend whose health has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub address: SocketAddr,
    pub healthy: bool,
    /// Of the last failure; empty when healthy.
    pub why: String,
}

/// Keeps the tasks; dropping it ends them.
#[derive(Debug)]
pub struct Checker {
    thresholds: Thresholds,
    verdicts: mpsc::Sender<Verdict>,
    tasks: BTreeMap<Target, JoinHandle<()>>,
}

impl Checker {
    /// Verdicts come out of the returned channel.
    pub fn new(thresholds: Thresholds) -> (Self, mpsc::Receiver<Verdict>) {
        let (verdicts, receiver) = mpsc::channel(256);
        let checker = Self {
            thresholds,
            verdicts,
            tasks: BTreeMap::new(),
        };
        (checker, receiver)
    }

    /// Checks exactly `targets` from now on. One that stays keeps its count;
    /// what is learnt of one that goes is forgotten by the caller.
    pub fn check(&mut self, targets: impl IntoIterator<Item = Target>) {
        let mut old = std::mem::take(&mut self.tasks);
        for (n, target) in targets.into_iter().enumerate() {
            let task = old
                .remove(&target)
                .unwrap_or_else(|| self.start(target.clone(), n));
            self.tasks.insert(target, task);
        }
        for task in old.into_values() {
            task.abort();
        }
    }

    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.tasks.keys()
    }

    fn start(&self, target: Target, n: usize) -> JoinHandle<()> {
        let verdicts = self.verdicts.clone();
        let judge = Judge::new(self.thresholds);
        tokio::spawn(watch(target, judge, verdicts, n))
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

/// First questions are spread over the interval, so that a thousand backends
/// are not asked in one burst.
async fn watch(target: Target, mut judge: Judge, verdicts: mpsc::Sender<Verdict>, n: usize) {
    let spread = target.interval.mul_f64(n as f64 * 0.618 % 1.0);
    let mut ticks = interval_at(tokio::time::Instant::now() + spread, target.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = ask(target.address, &target.probe, target.timeout).await;
        let Some(healthy) = judge.hear(answer.is_ok()) else {
            continue;
        };
        let verdict = Verdict {
            address: target.address,
            healthy,
            why: answer.err().map_or_else(String::new, |e| e.to_string()),
        };
        if verdicts.send(verdict).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_port_that_closes_and_opens_changes_the_verdict_twice() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut checker, mut verdicts) = Checker::new(Thresholds { rise: 2, fall: 2 });
        let target = Target {
            address,
            probe: Probe::Tcp,
            interval: Duration::from_millis(5),
            timeout: Duration::from_millis(500),
        };
        checker.check([target.clone()]);
        drop(listener);
        let down = verdicts.recv().await.unwrap();
        assert!(
            !down.healthy && down.why.starts_with("connect: "),
            "{down:?}"
        );
        let _listener = TcpListener::bind(address).await.unwrap();
        // The same targets again: the count goes on where it was.
        checker.check([target]);
        let up = verdicts.recv().await.unwrap();
        assert_eq!((up.address, up.healthy), (address, true));
        assert_eq!(checker.targets().count(), 1);
    }
}
