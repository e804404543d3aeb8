//! Answers where no daemon runs: from its pinned tables, with the names that
//! the manifests give them. The same router answers as in the daemon, so the
//! answers are the same; nothing is written but the trace of `explain`.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::body::Body;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper::{Method, Request, StatusCode};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use serde::de::DeserializeOwned;
use terrace_abi::Maps;
use terrace_mesh::{Compiler, Tables};

use super::args::Global;
use super::exit::Failure;
use super::plan::network;
use crate::api::{Interface, Manifests, Phase, Plan};
use crate::client::{ClientError, refusal};
use crate::config::Config;
use crate::explain::headers::mac;
use crate::netlink::Network;
use crate::run::change::read_sources;
use crate::run::shared::{Mesh, Shared, View};
use crate::run::{facts, hooks};
use crate::{apply, control};

/// As the client asks the daemon. None when there is nothing to answer from:
/// no configuration, no pins, not root.
pub(super) fn ask<B: Serialize, T: DeserializeOwned>(
    global: &Global,
    method: Method,
    path: &str,
    body: &B,
) -> Option<Result<T, Failure>> {
    let config = Config::load(&global.config).ok()?;
    let root = config.pin_root.clone();
    if !rustix::process::geteuid().is_root() || !root.join("maps").join("config").exists() {
        return None;
    }
    eprintln!(
        "terrace: no daemon runs; this is from its tables in {}",
        root.display()
    );
    Some(answer(config, method, path, body))
}

fn answer<B: Serialize, T: DeserializeOwned>(
    config: Config,
    method: Method,
    path: &str,
    body: &B,
) -> Result<T, Failure> {
    let shared = Arc::new(shared(config)?);
    let body = serde_json::to_vec(body).context("write the question")?;
    let request = Request::builder()
        .method(method.clone())
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .context("write the question")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .context("start")?;
    let (status, bytes) = runtime.block_on(async {
        let Ok(answer) = TowerToHyperService::new(control::router(shared))
            .call(request)
            .await;
        let status = answer.status();
        let bytes = answer
            .into_body()
            .collect()
            .await
            .context("read the answer")?
            .to_bytes();
        anyhow::Ok((status, bytes))
    })?;
    if status == StatusCode::OK {
        return Ok(serde_json::from_slice(&bytes).context("read the answer")?);
    }
    let error = refusal(status, &bytes);
    Err(ClientError::Refused {
        method,
        path: path.to_owned(),
        status,
        error,
    }
    .into())
}

/// What the daemon would share, without its life.
fn shared(config: Config) -> Result<Shared, Failure> {
    let network = network()?;
    let maps = Maps::open_existing(&config.pin_root).context("open the tables")?;
    let held = apply::recover(&maps).context("read the tables")?;
    let mesh = names(&config, &network, &maps, held);
    let view = view(&config, network)?;
    let (shared, _commands) = Shared::new(config, maps, mesh, true, view);
    Ok(shared)
}

/// Manifests that are refused give no names; the numbers are there all the same.
fn names(config: &Config, network: &Network, maps: &Maps, held: Tables) -> Mesh {
    let compiled = read_sources(config).ok().and_then(|files| {
        let healthy = std::iter::empty();
        let facts = facts::host_facts(config, network, maps.limits(), &files.deny, healthy);
        Compiler::new(files.manifests, facts, Some(&held)).ok()
    });
    match compiled {
        Some(compiler) => Mesh::Compiled(Box::new(compiler)),
        None => Mesh::Recovered(Box::new(held)),
    }
}

fn view(config: &Config, network: Network) -> Result<View, Failure> {
    Ok(View {
        phase: Phase::Stopping,
        interfaces: interfaces(config, &network)?,
        network: Arc::new(network),
        plan: Arc::new(Plan::default()),
        manifests: Manifests::default(),
        unhealthy: Arc::default(),
        checked: 0,
        nics: Arc::default(),
        readings: Arc::default(),
    })
}

/// The configured interfaces with what is attached to them.
pub(super) fn interfaces(config: &Config, network: &Network) -> Result<Vec<Interface>, Failure> {
    let xdp = terrace_xdp::list().context("look for XDP programs")?;
    let tc = terrace_tc::list().context("look for tc programs")?;
    let wanted = facts::wanted(config, network).into_values();
    let interfaces = wanted.map(|(link, role)| {
        let xdp = xdp
            .iter()
            .filter(|a| a.ifindex == link.ifindex)
            .map(hooks::of_xdp);
        let tc = tc
            .iter()
            .filter(|a| a.ifindex == link.ifindex)
            .map(hooks::of_tc);
        let addresses = network.addresses_of(link.ifindex);
        Interface {
            ifindex: link.ifindex,
            role,
            driver: terrace_offload::probe::driver(&link.name),
            up: link.up,
            mtu: link.mtu,
            mac: mac(link.mac),
            addresses: addresses
                .map(|(address, len)| format!("{address}/{len}"))
                .collect(),
            attachments: xdp.chain(tc).collect(),
            name: link.name,
        }
    });
    Ok(interfaces.collect())
}
