//! The numbered reasons: one for every exit of every program.

use std::fmt;

/// What happened to a packet, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Left to the next tier or to the host's stack.
    Pass,
    /// Sent on by Terrace.
    Forward,
    /// Answered by Terrace in place of the destination.
    Answer,
    /// Dropped.
    Drop,
}

impl Class {
    /// Lower-case name, as in metrics and in the CLI.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Forward => "forward",
            Self::Answer => "answer",
            Self::Drop => "drop",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

struct Row {
    reason: Reason,
    name: &'static str,
    class: Class,
    text: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/reasons.rs"));

impl Reason {
    /// The reason of a number that a program has counted.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.number() == number)
    }

    /// The reason of a [`Reason::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        ROWS.iter()
            .find(|row| row.name == name)
            .map(|row| row.reason)
    }

    /// The number in abi.h.
    pub fn number(self) -> u32 {
        u32::from(self as u8)
    }

    /// The name in lower snake case, as in metrics: `to_tc`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What happens to a packet that ends with this reason.
    pub fn class(self) -> Class {
        self.row().class
    }

    /// One line for people.
    pub fn text(self) -> &'static str {
        self.row().text
    }

    fn row(self) -> &'static Row {
        ROWS.iter()
            .find(|row| row.reason == self)
            .expect("every reason has its row")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Class, Reason};
    use crate::consts;

    #[test]
    fn numbers_names_and_texts_are_unique() {
        let numbers: BTreeSet<_> = Reason::ALL.iter().map(|r| r.number()).collect();
        let names: BTreeSet<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        let texts: BTreeSet<_> = Reason::ALL.iter().map(|r| r.text()).collect();
        assert_eq!(numbers.len(), Reason::ALL.len());
        assert_eq!(names.len(), Reason::ALL.len());
        assert_eq!(texts.len(), Reason::ALL.len());
    }

    #[test]
    fn every_reason_comes_back_from_its_number_and_name() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason.number()), Some(reason));
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
            assert!(
                reason.number() > 0
                    && reason.number() < consts::SOCKET_REASONS_FIRST + consts::SOCKET_REASONS,
                "{reason}"
            );
        }
    }

    #[test]
    fn the_enum_agrees_with_the_constants_of_c() {
        let rows = [
            (Reason::NotIp, consts::REASON_NOT_IP, Class::Pass, "not_ip"),
            (Reason::ToTc, consts::REASON_TO_TC, Class::Pass, "to_tc"),
            (Reason::Tx, consts::REASON_TX, Class::Forward, "tx"),
            (
                Reason::EchoReply,
                consts::REASON_ECHO_REPLY,
                Class::Answer,
                "echo_reply",
            ),
            (
                Reason::DenyList,
                consts::REASON_DENY_LIST,
                Class::Drop,
                "deny_list",
            ),
        ];
        for (reason, number, class, name) in rows {
            assert_eq!(
                (reason.number(), reason.class(), reason.name()),
                (number, class, name)
            );
        }
    }
}
