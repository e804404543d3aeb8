//! The grammar of the command line, with the help that people read.

mod examples;
mod moves;
mod nic;
mod requests;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::api::Tier;
use crate::config;
pub use moves::MoveArgs;
pub use nic::{Allow, NicArgs, NicMode, consent};
pub use requests::RequestArgs;

const EXPLAIN_USAGE: &str = "terrace explain [OPTIONS] <tcp|udp|sctp|icmp> <SOURCE> <DESTINATION>
       terrace explain [OPTIONS] --pcap <FILE>
       terrace explain [OPTIONS] --connect <DESTINATION>";

/// Steers services and policy on this host at the highest tier that can do it right.
///
/// `terrace run` is the daemon. The other commands ask it over its control
/// socket; check, nic, plan, detach, version, completions and man work without it,
/// and services, policy, identities, flows, reasons and explain read the pinned
/// tables when no daemon runs (root only).
#[derive(Debug, Parser)]
#[command(name = "terrace", version, disable_help_subcommand = true)]
#[command(after_long_help = examples::TERRACE, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Global {
    /// The configuration
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "TERRACE_CONFIG",
        global = true
    )]
    #[arg(default_value = config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// The control socket [default: control_socket of the configuration]
    #[arg(long, value_name = "PATH", env = "TERRACE_SOCKET", global = true)]
    pub socket: Option<PathBuf>,
    /// Print JSON: exact numbers, stable names
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto")]
    pub color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    ///
    /// Reads the configuration and the manifests, arms tc, attaches XDP where
    /// the plan says so, and then follows changes of manifests, links,
    /// addresses and health. A daemon that ends leaves forwarding as it is;
    /// the next one takes the tables over. `terrace detach` removes them.
    #[command(after_long_help = examples::RUN)]
    Run(RunArgs),
    /// Check the configuration and the manifests; apply nothing
    ///
    /// Prints every fault with file, line and what to do. Needs neither root
    /// nor a daemon.
    #[command(after_long_help = examples::CHECK)]
    Check(CheckArgs),
    /// Report what this host's interfaces can do, and what is in the way
    ///
    /// For each interface the best tier, a line per tier with verdict, reason
    /// and how sure that is, and numbered blockers with the command that
    /// removes each, its undo and what it does to traffic. What nobody could
    /// tell is unknown, never no. Needs neither root nor a configuration: a
    /// passive report reads only. --mode preload loads programs and frees them;
    /// --mode active also tries what --allow names, and undoes it.
    #[command(after_long_help = examples::NIC)]
    Nic(NicArgs),
    /// Show where each task runs, and why not higher
    ///
    /// One line for each task and interface: the tier, the reason, and for
    /// each better tier what is in its way and how to remove it. Asks the
    /// daemon; with --offline, or when none runs, plans from the
    /// configuration and this host as they are now, and attaches nothing.
    #[command(after_long_help = examples::PLAN)]
    Plan(PlanArgs),
    /// Apply the fixes that would unlock better tiers, on trial
    ///
    /// Takes the commands that `terrace plan` names, by default those that do
    /// nothing to running traffic, and applies them as one transaction: all
    /// or none, each with its undo on record. A guardian process takes
    /// everything back unless it is confirmed in time, also when this command
    /// dies half way or you are cut off.
    #[command(after_long_help = examples::TUNE)]
    Tune(TuneArgs),
    /// Show the daemon, its interfaces, tables and latest events
    #[command(after_long_help = examples::STATUS)]
    Status,
    /// Show services with their backends and their traffic
    #[command(after_long_help = examples::SERVICES)]
    Services(NameArgs),
    /// Show policies, whom they select and what their rules allow
    #[command(after_long_help = examples::POLICY)]
    Policy(NameArgs),
    /// Show identities with their labels and addresses
    #[command(after_long_help = examples::IDENTITIES)]
    Identities(IdentityArgs),
    /// Show the connection table
    ///
    /// One line for each direction of a connection: its five-tuple, where it
    /// goes instead, state, tier that served its latest packet, and traffic.
    #[command(after_long_help = examples::FLOWS)]
    Flows(FlowArgs),
    /// Show requests that the L7 tier decided
    ///
    /// Method, host, path, status, time to the answer, verdict, and who
    /// decided: the route's rule and the policy's. The daemon remembers the
    /// latest ones; --follow shows new ones as they are answered.
    #[command(after_long_help = examples::REQUESTS)]
    Requests(RequestArgs),
    /// Show what happened to packets, by interface, hook and reason
    ///
    /// Every packet that enters a program is counted under exactly one reason.
    #[command(after_long_help = examples::REASONS)]
    Reasons(ReasonArgs),
    /// Show the same-host shortcut with its self-test, or switch it
    ///
    /// `off` sends new data through the stack; no connection breaks.
    #[command(after_long_help = examples::SHORTCUT)]
    Shortcut(ShortcutArgs),
    /// Move a task of an interface to a tier, and keep it there
    ///
    /// Nothing is lost on the way: tc serves before, after and in between. What
    /// can't be done is taken back, with the reason. `auto` gives the task back
    /// to the planner; so does a restart.
    #[command(after_long_help = examples::MOVE)]
    Move(MoveArgs),
    /// Show sockets that go elsewhere than they asked for
    ///
    /// One line for each socket of this host's processes that asked for a
    /// service and has a backend, or that was redirected to its workload's
    /// proxy; in all network namespaces. A datagram socket that is not
    /// connected has a line for each destination.
    #[command(after_long_help = examples::SOCKETS)]
    Sockets,
    /// Run a packet through the live programs, without sending it
    ///
    /// Shows hook by hook: the reason, the service and backend, the flow, the
    /// identities, the policy rule with its file, and the header fields that
    /// change. Nothing is sent, counted or remembered. A packet whose source is
    /// an address of the host is taken for one that the host sends.
    #[command(after_long_help = examples::EXPLAIN, override_usage = EXPLAIN_USAGE)]
    Explain(ExplainArgs),
    /// Have the daemon read the manifests again
    ///
    /// The folder is watched, so this is for folders that can't be (NFS), and
    /// for scripts that want to wait for the result. The wishes of tiers in
    /// terrace.toml are read again too; its other keys count from a start on.
    #[command(after_long_help = examples::RELOAD)]
    Reload,
    /// Remove every trace of Terrace from this host, and prove it
    ///
    /// Detaches the programs, removes pins and tables, and puts sysctls back.
    /// Then looks again, and fails when anything is left. Connections through
    /// services end. Stop the daemon first.
    #[command(after_long_help = examples::DETACH)]
    Detach(DetachArgs),
    /// Show the version of this program, and of the daemon when one runs
    #[command(after_long_help = examples::VERSION)]
    Version,
    /// Print the completion script of a shell
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions(CompletionArgs),
    /// Write the man pages to a folder
    #[command(after_long_help = examples::MAN)]
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Log filter: error, warn, info, debug, or by module (terrace::health=debug)
    #[arg(
        long,
        value_name = "FILTER",
        env = "TERRACE_LOG",
        default_value = "info"
    )]
    pub log: String,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Check these manifests (files or folders) instead of the configured folder
    #[arg(value_name = "PATH")]
    pub manifests: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Plan from the configuration and this host, even when a daemon runs
    #[arg(long)]
    pub offline: bool,
    /// Plan for the machine that a report of `terrace nic --json` is of; without a
    /// configuration its ports are uplinks
    #[arg(long, value_name = "FILE", conflicts_with = "offline")]
    pub nic: Option<PathBuf>,
    /// With --nic: plan on what only the profiles say too
    #[arg(long, requires = "nic")]
    pub trust_profile: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct TuneArgs {
    /// Only these uplinks
    #[arg(value_name = "IFACE")]
    pub interfaces: Vec<String>,
    /// Show what would be done; change nothing
    #[arg(long, group = "what")]
    pub plan: bool,
    /// Do it, on trial
    #[arg(long, group = "what", requires = "confirm")]
    pub apply: bool,
    /// Keep what is on trial
    #[arg(long, group = "what")]
    pub confirm_now: bool,
    /// Take back what is on trial, now
    #[arg(long, group = "what")]
    pub take_back: bool,
    /// Also what interrupts traffic
    #[arg(long)]
    pub all: bool,
    /// Take everything back after so many seconds, unless it is confirmed
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub confirm: Option<u64>,
    /// Be the guardian of the journal in this folder
    #[arg(
        long,
        value_name = "FOLDER",
        group = "what",
        hide = true,
        requires = "confirm"
    )]
    pub guard: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct NameArgs {
    /// Only this one: NAME or NAMESPACE/NAME
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// Only these: a number, a label (app=web, app) or an address
    #[arg(value_name = "WHICH")]
    pub which: Option<String>,
}

#[derive(Debug, Args)]
pub struct FlowArgs {
    /// Service: NAME, NAMESPACE/NAME or NAMESPACE/NAME:PORT
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Backend: ADDRESS or ADDRESS:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub backend: Option<String>,
    /// State of the connection
    #[arg(long, value_name = "STATE")]
    pub state: Option<FlowState>,
    /// Tier that served the latest packet
    #[arg(long, value_name = "TIER")]
    pub tier: Option<FlowTier>,
    /// Source: ADDRESS, PREFIX or ADDRESS:PORT, before or after translation
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,
    /// Destination: ADDRESS, PREFIX or ADDRESS:PORT, before or after translation
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<String>,
    /// Show at most this many; 0 = all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FlowState {
    New,
    Established,
    Closing,
    Closed,
    Udp,
    UdpStream,
    Icmp,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FlowTier {
    XdpNative,
    XdpGeneric,
    Tc,
    Socket,
}

impl From<FlowTier> for Tier {
    fn from(tier: FlowTier) -> Tier {
        match tier {
            FlowTier::XdpNative => Tier::XdpNative,
            FlowTier::XdpGeneric => Tier::XdpGeneric,
            FlowTier::Tc => Tier::Tc,
            FlowTier::Socket => Tier::Socket,
        }
    }
}

#[derive(Debug, Args)]
pub struct ShortcutArgs {
    /// Switch it on or off, until the next start
    #[arg(value_name = "on|off")]
    pub switch: Option<Switch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
pub struct ReasonArgs {
    /// List the reasons that counted nothing too
    #[arg(long)]
    pub all: bool,
    /// Only this class
    #[arg(long, value_name = "CLASS")]
    pub class: Option<ReasonClass>,
    /// Only this interface
    #[arg(long, value_name = "NAME")]
    pub iface: Option<String>,
    /// Print what was counted since the last print, until interrupted
    #[arg(long)]
    pub watch: bool,
    /// Seconds between two prints of --watch
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReasonClass {
    Pass,
    Forward,
    Answer,
    Drop,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Protocol of the packet
    #[arg(required_unless_present_any = ["pcap", "connect"], requires = "source")]
    pub protocol: Option<PacketProtocol>,
    /// Source, as ADDRESS:PORT ([ADDRESS]:PORT for IPv6; ADDRESS for icmp)
    #[arg(requires = "destination", value_parser = endpoint)]
    pub source: Option<SocketAddr>,
    /// Destination, in the same form
    #[arg(value_parser = endpoint)]
    pub destination: Option<SocketAddr>,
    /// Interface where the packet arrives [default: the workload that owns the
    /// source, else the uplink]
    #[arg(long, value_name = "NAME")]
    pub iface: Option<String>,
    /// TCP flags, letters of FSRPAU
    #[arg(long, value_name = "FLAGS", default_value = "S", value_parser = tcp_flags)]
    pub flags: String,
    /// Bytes of payload
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=8000))]
    pub payload: u16,
    /// Take the packets from a capture (pcap, Ethernet) instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["protocol", "flags", "payload"])]
    pub pcap: Option<PathBuf>,
    /// At most this many packets of the capture; 0 = all
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub limit: usize,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Who calls connect(), and where to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a connect()")]
pub struct ConnectArgs {
    /// Tell what connect() to this ADDRESS:PORT does, instead of a packet
    #[arg(long, value_name = "DESTINATION", value_parser = endpoint)]
    #[arg(conflicts_with_all = ["protocol", "pcap"])]
    pub connect: Option<SocketAddr>,
    /// The socket is of UDP
    #[arg(long, requires = "connect")]
    pub udp: bool,
    /// Who calls: namespace, cgroup and user of this process
    #[arg(long, value_name = "PID", requires = "connect")]
    pub pid: Option<u32>,
    /// Its network namespace: a name, or a file [default: the daemon's]
    #[arg(long, value_name = "NAME", requires = "connect")]
    pub netns: Option<String>,
    /// Its cgroup: a folder
    #[arg(long, value_name = "PATH", requires = "connect")]
    pub cgroup: Option<PathBuf>,
    /// Its user
    #[arg(long, value_name = "UID", requires = "connect")]
    pub uid: Option<u32>,
    /// Its group
    #[arg(long, value_name = "GID", requires = "connect")]
    pub gid: Option<u32>,
    /// The socket's mark
    #[arg(long, value_name = "MARK", requires = "connect")]
    pub mark: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PacketProtocol {
    Tcp,
    Udp,
    Sctp,
    Icmp,
}

#[derive(Debug, Args)]
pub struct DetachArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Only look what is there; remove nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Where the maps and links are pinned [default: pin_root of the configuration]
    #[arg(long, value_name = "PATH")]
    pub pin_root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder; it is made when it is missing
    pub folder: PathBuf,
}

/// An address with a port, or without one (port 0).
fn endpoint(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(SocketAddr::new(address, 0));
    }
    let wanted = "write 192.0.2.1:80 or [2001:db8::1]:80";
    text.parse()
        .map_err(|_| format!("neither an address nor an address with a port; {wanted}"))
}

fn tcp_flags(text: &str) -> Result<String, String> {
    let flags = text.to_ascii_uppercase();
    match flags.chars().all(|flag| "FSRPAU".contains(flag)) {
        true => Ok(flags),
        false => {
            Err("write letters of F (FIN), S (SYN), R (RST), P (PSH), A (ACK), U (URG)".into())
        }
    }
}
