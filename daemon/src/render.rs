//! From the answers of the control socket to text for people: pure.
//!
//! Numbers are rounded for reading; `--json` has the exact ones.

mod explain;
mod flows;
mod mesh;
mod nic;
mod plan;
mod reasons;
mod requests;
mod shortcut;
mod sockets;
mod status;
mod table;
mod tune;
pub mod units;

pub use explain::explain;
pub use flows::flows;
pub use mesh::{identities, policies, services};
pub use nic::nic;
pub use plan::{moved, plan};
pub use reasons::{reasons, reasons_since, reasons_with_zero};
pub use requests::{request, requests, verdict};
pub use shortcut::shortcut;
pub use sockets::{connect, sockets};
pub use status::{reload, status};
pub use tune::tuned;

/// How to print.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    pub color: bool,
    /// Columns of the terminal; None = not a terminal, nothing is folded.
    pub width: Option<usize>,
}

/// A colour by what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Head,
    Good,
    Warn,
    Bad,
    Faint,
}

impl Style {
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.color || text.is_empty() => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Head => "1",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
