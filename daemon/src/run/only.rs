//! One daemon a network namespace: two would take each other's programs off,
//! whatever pin roots and control sockets they have.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use anyhow::{Context, Result, bail};
use rustix::net::sockopt::socket_peercred;

/// In the abstract namespace of unix sockets, which each network namespace has
/// for itself; it goes with the daemon, however that ends.
const NAME: &str = "terrace-daemon";

/// The right to be the daemon of this network namespace. None = a stranger
/// without privileges sits on the name, which may not keep the daemon down.
///
/// # Errors
/// Another daemon has it.
pub fn claim() -> Result<Option<UnixListener>> {
    let address = SocketAddr::from_abstract_name(NAME).context("name a socket")?;
    let bound = UnixListener::bind_addr(&address);
    match bound {
        Ok(claim) => {
            claim.set_nonblocking(true).context("claim the namespace")?;
            Ok(Some(claim))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => match holder(&address) {
            Ok((pid, 0)) => bail!(
                "another daemon serves this network namespace (process {pid}): stop it first; two \
                 with different pin roots would take each other's programs off"
            ),
            // Gone meanwhile, or not ours.
            _ => Ok(None),
        },
        Err(error) => Err(error).context("claim the network namespace"),
    }
}

/// Process and user.
fn holder(address: &SocketAddr) -> Result<(i32, u32)> {
    let stream = UnixStream::connect_addr(address)?;
    let peer = socket_peercred(&stream)?;
    Ok((peer.pid.as_raw_nonzero().get(), peer.uid.as_raw()))
}

/// Hangs up on whoever asks who has the claim.
pub async fn answer(claim: UnixListener) -> Result<()> {
    let claim = tokio::net::UnixListener::from_std(claim).context("claim the namespace")?;
    loop {
        claim.accept().await.context("answer for the namespace")?;
    }
}
