//! Hysteresis: how often and how fast the XDP tier of an interface moves.
//!
//! Down at once, for a tier that no longer works must not be kept. Up only when the
//! better tier has been planned for a while. An interface that moves too often
//! stays on the lower tier for a time, and says so. Pure: time comes in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Tier;

/// How patient it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A better tier must be planned for so long without a break.
    pub settle: Duration,
    /// So many moves ...
    pub moves: usize,
    /// ... within this are flapping.
    pub window: Duration,
    /// Then the lower tier is kept for so long.
    pub hold: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(3),
            moves: 4,
            window: Duration::from_secs(60),
            hold: Duration::from_secs(300),
        }
    }
}

/// What to do now. `None` as a tier = tc only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Where it is, it is right.
    Stay,
    /// Move now.
    Move(Option<Tier>),
    /// The better tier has to be planned until then.
    Wait(Duration),
    /// It flaps: the lower tier is kept until then.
    Hold(Duration),
}

/// The memory of one interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Damper {
    /// The better tier that is waited for, and since when.
    better: Option<(Option<Tier>, Duration)>,
    /// Times of the latest moves.
    moves: VecDeque<Duration>,
    held_until: Option<Duration>,
}

impl Damper {
    /// Decides at `now`, a time since any fixed start.
    pub fn decide(
        &mut self,
        now: Duration,
        running: Option<Tier>,
        planned: Option<Tier>,
        patience: &Patience,
    ) -> Decision {
        if self.held_until.is_some_and(|until| now >= until) {
            self.held_until = None;
            self.moves.clear();
        }
        if running == planned {
            self.better = None;
            return Decision::Stay;
        }
        if rank(planned) < rank(running) {
            self.better = None;
            return self.go(now, planned, patience);
        }
        if let Some(until) = self.held_until {
            return Decision::Hold(until);
        }
        let since = match self.better {
            Some((tier, since)) if tier == planned => since,
            _ => now,
        };
        self.better = Some((planned, since));
        let due = since + patience.settle;
        if now < due {
            return Decision::Wait(due);
        }
        self.better = None;
        self.go(now, planned, patience)
    }

    fn go(&mut self, now: Duration, to: Option<Tier>, patience: &Patience) -> Decision {
        self.moves.push_back(now);
        while self
            .moves
            .front()
            .is_some_and(|at| *at + patience.window < now)
        {
            self.moves.pop_front();
        }
        if self.moves.len() >= patience.moves {
            self.held_until = Some(now + patience.hold);
        }
        Decision::Move(to)
    }

    /// Whether it is kept on the lower tier for flapping.
    pub fn is_held(&self, now: Duration) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// When to ask again although nothing has happened.
    pub fn due(&self, patience: &Patience) -> Option<Duration> {
        match (&self.better, self.held_until) {
            (Some((_, since)), _) => Some(*since + patience.settle),
            (None, held) => held,
        }
    }
}

/// Higher is better.
fn rank(tier: Option<Tier>) -> u8 {
    match tier {
        Some(Tier::XdpNative) => 2,
        Some(Tier::XdpGeneric) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        settle: Duration::from_secs(3),
        moves: 4,
        window: Duration::from_secs(60),
        hold: Duration::from_secs(300),
    };
    const NATIVE: Option<Tier> = Some(Tier::XdpNative);
    const GENERIC: Option<Tier> = Some(Tier::XdpGeneric);

    /// Second, planned tier, decision; what is decided runs from then on.
    type Step = (u64, Option<Tier>, Decision);

    #[test]
    fn down_at_once_up_with_patience_and_never_to_and_fro() {
        use Decision::{Hold, Move, Stay, Wait};
        let at = Duration::from_secs;
        let rows: Vec<(&str, Option<Tier>, Vec<Step>)> = vec![
            (
                "nothing moves",
                NATIVE,
                vec![(0, NATIVE, Stay), (9, NATIVE, Stay)],
            ),
            ("down at once", NATIVE, vec![(0, None, Move(None))]),
            (
                "native to generic is down",
                NATIVE,
                vec![(0, GENERIC, Move(GENERIC))],
            ),
            (
                "up when it has settled",
                None,
                vec![
                    (0, NATIVE, Wait(at(3))),
                    (2, NATIVE, Wait(at(3))),
                    (3, NATIVE, Move(NATIVE)),
                ],
            ),
            (
                "a break starts the wait anew",
                None,
                vec![
                    (0, NATIVE, Wait(at(3))),
                    (2, None, Stay),
                    (4, NATIVE, Wait(at(7))),
                    (7, NATIVE, Move(NATIVE)),
                ],
            ),
            (
                "another better tier starts the wait anew",
                None,
                vec![
                    (0, GENERIC, Wait(at(3))),
                    (2, NATIVE, Wait(at(5))),
                    (5, NATIVE, Move(NATIVE)),
                ],
            ),
            (
                "flapping ends in the lower tier",
                NATIVE,
                vec![
                    (0, None, Move(None)),
                    (1, NATIVE, Wait(at(4))),
                    (4, NATIVE, Move(NATIVE)),
                    (5, None, Move(None)),
                    (6, NATIVE, Wait(at(9))),
                    (9, NATIVE, Move(NATIVE)),
                    (10, None, Move(None)),
                    (11, NATIVE, Hold(at(310))),
                    (200, NATIVE, Hold(at(310))),
                    (310, NATIVE, Wait(at(313))),
                    (313, NATIVE, Move(NATIVE)),
                ],
            ),
            (
                "a hold keeps nothing from going down",
                NATIVE,
                vec![
                    (0, None, Move(None)),
                    (1, NATIVE, Wait(at(4))),
                    (4, NATIVE, Move(NATIVE)),
                    (5, None, Move(None)),
                    (6, NATIVE, Wait(at(9))),
                    (9, NATIVE, Move(NATIVE)),
                    (10, None, Move(None)),
                ],
            ),
            (
                "slow moves are not flapping",
                NATIVE,
                vec![
                    (0, None, Move(None)),
                    (50, NATIVE, Wait(at(53))),
                    (53, NATIVE, Move(NATIVE)),
                    (110, None, Move(None)),
                    (170, NATIVE, Wait(at(173))),
                    (173, NATIVE, Move(NATIVE)),
                    (240, None, Move(None)),
                    (241, NATIVE, Wait(at(244))),
                ],
            ),
        ];
        for (name, start, steps) in rows {
            let mut damper = Damper::default();
            let mut running = start;
            for (second, planned, expected) in steps {
                let decision = damper.decide(at(second), running, planned, &PATIENCE);
                assert_eq!(decision, expected, "{name} at {second} s");
                if let Move(tier) = decision {
                    running = tier;
                }
            }
        }
    }

    #[test]
    fn it_says_when_to_be_asked_again() {
        let at = Duration::from_secs;
        let mut damper = Damper::default();
        assert_eq!(damper.due(&PATIENCE), None);
        damper.decide(at(1), None, NATIVE, &PATIENCE);
        assert_eq!(damper.due(&PATIENCE), Some(at(4)));
        damper.decide(at(4), None, NATIVE, &PATIENCE);
        assert_eq!(damper.due(&PATIENCE), None);
    }

    #[test]
    fn what_was_due_is_not_due_again_once_it_was_asked() {
        let at = Duration::from_secs;
        let mut damper = Damper::default();
        for second in 0..4 {
            damper.decide(at(second), NATIVE, None, &PATIENCE);
        }
        assert_eq!(damper.due(&PATIENCE), Some(at(303)));
        assert!(damper.is_held(at(302)));
        damper.decide(at(303), None, None, &PATIENCE);
        assert_eq!(damper.due(&PATIENCE), None);
    }
}
