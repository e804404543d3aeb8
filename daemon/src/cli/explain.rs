//! `terrace explain`: asks for the packets' way and prints it.

use std::net::SocketAddr;

use clap::ValueEnum;

use super::args::{ExplainArgs, Global};
use super::daemon;
use super::exit::{Code, Failure};
use super::output::Output;
use crate::api::{
    ConnectAnswer, ConnectRequest, ExplainAnswer, ExplainRequest, PacketSpec, TupleSpec,
};
use crate::explain::{ExplainError, capture, chain};
use crate::render;

pub(super) fn explain(
    global: &Global,
    args: &ExplainArgs,
    output: &Output,
) -> Result<Code, Failure> {
    if let Some(destination) = args.connect.connect {
        return connect(global, args, destination, output);
    }
    let request = ExplainRequest {
        iface: args.iface.clone(),
        packets: packets(args)?,
    };
    let answer: ExplainAnswer = daemon::inquire(global, "/v1/explain", &request)?;
    output.print(&answer, render::explain)
}

fn connect(
    global: &Global,
    args: &ExplainArgs,
    destination: SocketAddr,
    output: &Output,
) -> Result<Code, Failure> {
    if destination.port() == 0 {
        let what = "a connect() has a port";
        let fix = "write `terrace explain --connect 10.96.0.10:80`";
        return Err(Failure::usage(what, fix));
    }
    let who = &args.connect;
    let file = |name: &String| match name.contains('/') {
        true => name.clone(),
        false => format!("/run/netns/{name}"),
    };
    let request = ConnectRequest {
        destination,
        protocol: if who.udp { "udp" } else { "tcp" }.to_owned(),
        pid: who.pid,
        netns: who.netns.as_ref().map(file),
        cgroup: who.cgroup.as_ref().map(|path| path.display().to_string()),
        uid: who.uid,
        gid: who.gid,
        mark: who.mark.unwrap_or(0),
        source: None,
    };
    let answer: ConnectAnswer = daemon::post(global, "/v1/connect", &request)?;
    output.print(&answer, render::connect)
}

fn packets(args: &ExplainArgs) -> Result<Vec<PacketSpec>, Failure> {
    if let Some(file) = &args.pcap {
        let frames = capture::read(file, args.limit)?;
        if frames.is_empty() {
            let what = format!("{}: no packets in it", file.display());
            return Err(Failure::new(
                Code::Failure,
                what,
                "capture again, or name another file",
            ));
        }
        let hex = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect();
        return Ok(frames
            .iter()
            .map(|frame| PacketSpec::Frame(hex(frame)))
            .collect());
    }
    let protocol = args
        .protocol
        .and_then(|protocol| protocol.to_possible_value());
    let (Some(protocol), Some(source), Some(destination)) =
        (protocol, args.source, args.destination)
    else {
        return Err(Failure::usage(
            "a packet needs protocol, source and destination",
            EXAMPLE,
        ));
    };
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(ExplainError::Families(source, destination).into());
    }
    let needs_ports = protocol.get_name() != "icmp";
    if needs_ports && (source.port() == 0 || destination.port() == 0) {
        let what = format!("a {} packet has ports", protocol.get_name());
        return Err(Failure::usage(what, EXAMPLE));
    }
    Ok(vec![PacketSpec::Tuple(TupleSpec {
        protocol: protocol.get_name().to_owned(),
        source,
        destination,
        tcp_flags: args.flags.clone(),
        payload_len: args.payload,
    })])
}

const EXAMPLE: &str = "write `terrace explain tcp 10.0.0.1:4000 10.96.0.10:80`";

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Failure {
        let code = match &error {
            ExplainError::Protocol(_)
            | ExplainError::Families(..)
            | ExplainError::TcpFlag(_)
            | ExplainError::Build(_)
            | ExplainError::Hex => Code::Usage,
            _ => Code::Failure,
        };
        Failure::new(code, chain(&error), error.fix())
    }
}
