//! Arguments of `terrace requests`.

use clap::{Args, ValueEnum};

use crate::api::RequestVerdict;

#[derive(Debug, Args)]
pub struct RequestArgs {
    /// Show requests from now on, as they are answered
    #[arg(long, short)]
    pub follow: bool,
    /// Service: NAME, NAMESPACE/NAME or NAMESPACE/NAME:PORT
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Status of the answer: 404, or 4xx; 000 = none came
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// What became of it
    #[arg(long, value_name = "VERDICT")]
    pub verdict: Option<WantedVerdict>,
    /// Show at most the latest so many; 0 = all that are remembered
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        conflicts_with = "follow"
    )]
    pub limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WantedVerdict {
    Forwarded,
    Redirected,
    Denied,
    NoRoute,
    NoBackend,
    Malformed,
}

impl From<WantedVerdict> for RequestVerdict {
    fn from(verdict: WantedVerdict) -> Self {
        match verdict {
            WantedVerdict::Forwarded => Self::Forwarded,
            WantedVerdict::Redirected => Self::Redirected,
            WantedVerdict::Denied => Self::Denied,
            WantedVerdict::NoRoute => Self::NoRoute,
            WantedVerdict::NoBackend => Self::NoBackend,
            WantedVerdict::Malformed => Self::Malformed,
        }
    }
}
