//! Whether a connection that nobody has opened yet would take the shortcut.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use terrace_abi::consts::{ENDPOINT_HOST, ENDPOINT_SERVICE, ENDPOINT_WORKLOAD};
use terrace_abi::types;

use crate::run::shared::{Mesh, Shared};

/// What is asked about a connect().
#[derive(Debug)]
pub(crate) struct Wanted {
    pub tcp: bool,
    /// Where it goes, after services and proxies had their say.
    pub to: SocketAddr,
    /// Of the process; None = nobody said.
    pub cgroup: Option<PathBuf>,
}

/// What is in the way, in words; `Ok` = nothing on the client's side, and what
/// is asked of the server's.
pub(crate) fn joins(shared: &Shared, wanted: &Wanted) -> Result<Result<String, String>> {
    let config = &shared.config.shortcut;
    let Some(state) = shared.shortcut.get() else {
        return Ok(Err("the daemon is starting".to_owned()));
    };
    let Some(armed) = &state.armed else {
        return Ok(Err(state.reason.clone()));
    };
    let switched_on = armed.is_enabled()?;
    let mesh = shared.mesh();
    Ok(
        match judge(
            wanted,
            &config.cgroups,
            &config.settings.ports,
            is_local(&mesh, wanted.to.ip()),
        ) {
            _ if !switched_on => Err("it is switched off; `terrace shortcut on`".to_owned()),
            verdict => verdict,
        },
    )
}

fn judge(
    wanted: &Wanted,
    cgroups: &[PathBuf],
    ports: &[u16],
    local: bool,
) -> Result<String, String> {
    if !wanted.tcp {
        return Err("only TCP is joined".to_owned());
    }
    let inside = |path: &Path| cgroups.iter().any(|chosen| path.starts_with(chosen));
    match &wanted.cgroup {
        None => {
            return Err("it is not known who asks: name the process (--pid) or its cgroup".into());
        }
        Some(path) if !inside(path) => {
            return Err(format!(
                "cgroup {} is none of those in [shortcut] cgroups, nor below one",
                path.display()
            ));
        }
        Some(_) => {}
    }
    if !local {
        return Err(format!("{} is not on this host", wanted.to.ip()));
    }
    let port = wanted.to.port();
    if !ports.is_empty() && !ports.contains(&port) {
        return Err(format!("port {port} is none of [shortcut] ports"));
    }
    Ok("if the server is in such a cgroup too, and policy lets them talk".to_owned())
}

/// As the programs tell it (`may_be_local`): the tables know the address as one
/// of this host.
fn is_local(mesh: &Mesh, address: IpAddr) -> bool {
    let address = address.to_canonical();
    if address.is_loopback() {
        return true;
    }
    let known = mesh.directory().addresses.iter();
    let nearest = known
        .filter(|(net, _)| net.contains(&address))
        .max_by_key(|(net, _)| net.prefix_len());
    let ours = ENDPOINT_WORKLOAD | ENDPOINT_HOST | ENDPOINT_SERVICE;
    nearest.is_some_and(|(_, found)| {
        let endpoint: types::endpoint = mesh.tables().endpoints.read(found.endpoint);
        endpoint.flags & ours != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_joined_only_within_the_chosen_scope() {
        let rows = [
            ("in scope", true, Some("/c/web"), true, &[][..], ""),
            ("the cgroup itself", true, Some("/c"), true, &[], ""),
            ("a datagram", false, Some("/c/web"), true, &[], "only TCP"),
            ("nobody said who", true, None, true, &[], "--pid"),
            ("another cgroup", true, Some("/d"), true, &[], "cgroup /d"),
            ("a longer name", true, Some("/cc"), true, &[], "cgroup /cc"),
            ("elsewhere", true, Some("/c"), false, &[], "not on this"),
            ("a port", true, Some("/c"), true, &[80], ""),
            ("another port", true, Some("/c"), true, &[81], "port 80"),
        ];
        for (name, tcp, cgroup, local, ports, words) in rows {
            let wanted = Wanted {
                tcp,
                to: SocketAddr::from(([10, 0, 0, 1], 80)),
                cgroup: cgroup.map(PathBuf::from),
            };
            match judge(&wanted, &["/c".into()], ports, local) {
                Ok(_) => assert_eq!(words, "", "{name}"),
                Err(why) => assert!(!words.is_empty() && why.contains(words), "{name}: {why}"),
            }
        }
    }
}
