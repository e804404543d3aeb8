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

/// A check that gives another answer than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub target: Target,
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

    /// Checks exactly `targets` from now on. One that stays keeps its count; a
    /// new one starts as healthy or not.
    pub fn check<'t>(&mut self, targets: impl IntoIterator<Item = (&'t Target, bool)>) {
        let mut old = std::mem::take(&mut self.tasks);
        for (n, (target, healthy)) in targets.into_iter().enumerate() {
            let task = old
                .remove(target)
                .unwrap_or_else(|| self.start(target.clone(), healthy, n));
            self.tasks.insert(target.clone(), task);
        }
        for task in old.into_values() {
            task.abort();
        }
    }

    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.tasks.keys()
    }

    fn start(&self, target: Target, healthy: bool, n: usize) -> JoinHandle<()> {
        let verdicts = self.verdicts.clone();
        let judge = Judge::new(self.thresholds, healthy);
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
            target: target.clone(),
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
        checker.check([(&target, true)]);
        drop(listener);
        let down = verdicts.recv().await.unwrap();
        assert!(
            !down.healthy && down.why.starts_with("connect: "),
            "{down:?}"
        );
        let _listener = TcpListener::bind(address).await.unwrap();
        // The same targets again: the count goes on where it was.
        checker.check([(&target, true)]);
        let up = verdicts.recv().await.unwrap();
        assert_eq!((up.target.address, up.healthy), (address, true));
        assert_eq!(checker.targets().count(), 1);
    }

    #[tokio::test]
    async fn a_check_that_starts_as_failing_says_when_it_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut checker, mut verdicts) = Checker::new(Thresholds { rise: 2, fall: 2 });
        let target = Target {
            address: listener.local_addr().unwrap(),
            probe: Probe::Tcp,
            interval: Duration::from_millis(5),
            timeout: Duration::from_millis(500),
        };
        checker.check([(&target, false)]);
        assert!(verdicts.recv().await.unwrap().healthy);
    }
}
