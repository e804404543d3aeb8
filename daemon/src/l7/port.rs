//! The l7 port: a veth pair of ours. tc sends what workers must see into one
//! end; workers have their sockets on the other.
//!
//! It has no offloads, so the kernel segments and checksums on the way: a
//! worker sees whole packets, each with its own headers.

use std::future::Future;
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};
use terrace_abi::sys;

/// tc's end.
pub const TC_END: &str = "terrace-l7";
/// The workers' end.
pub const WORKERS_END: &str = "terrace-l7x";

/// The indexes of both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub tc_ifindex: u32,
    pub workers_ifindex: u32,
}

/// Makes the port, or takes over an earlier daemon's that is of this shape.
///
/// # Errors
/// Somebody else has an interface of that name, or the kernel refused.
pub fn ensure(n_queues: u32, mtu: u32) -> Result<Port> {
    with_netlink(|handle| async move {
        match find(&handle, TC_END).await? {
            Some(link) if !is_veth(&link) => bail!(
                "{TC_END} is an interface of somebody else: rename it, or set [l7] enabled = false"
            ),
            Some(link) if queues(&link) == n_queues => {}
            Some(link) => delete(&handle, link.header.index).await?,
            None => {}
        }
        if find(&handle, TC_END).await?.is_none() {
            make(&handle, n_queues, mtu).await?;
        }
        let ends = [
            bring_up(&handle, TC_END, mtu),
            bring_up(&handle, WORKERS_END, mtu),
        ];
        let [tc, workers] = ends;
        let (tc_ifindex, workers_ifindex) = (tc.await?, workers.await?);
        Ok(Port {
            tc_ifindex,
            workers_ifindex,
        })
    })
    .context("make the l7 port")
}

/// Removes the port; `false` when there is none.
///
/// # Errors
/// The kernel refused.
pub fn remove() -> Result<bool> {
    with_netlink(|handle| async move {
        match find(&handle, TC_END).await? {
            Some(link) if is_veth(&link) => {
                delete(&handle, link.header.index).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    })
    .context("remove the l7 port")
}

/// Whether the port is there.
///
/// # Errors
/// Interfaces can't be listed.
pub fn exists() -> Result<bool> {
    let all = sys::interfaces().context("list interfaces")?;
    Ok(all.iter().any(|(_, name)| name == TC_END))
}

/// Asks the kernel from a thread of its own: callers are in a runtime or not.
fn with_netlink<T: Send, F: Future<Output = Result<T>>>(
    ask: impl FnOnce(Handle) -> F + Send,
) -> Result<T> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection().context("open an rtnetlink socket")?;
            tokio::spawn(connection);
            ask(handle).await
        })
    };
    thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>> {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    match links.try_next().await {
        Ok(link) => Ok(link),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -ENODEV => Ok(None),
        Err(error) => Err(error).with_context(|| format!("look for {name}")),
    }
}

const ENODEV: i32 = 19;

fn is_veth(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| {
        matches!(attribute, LinkAttribute::LinkInfo(infos)
            if infos.contains(&LinkInfo::Kind(InfoKind::Veth)))
    })
}

fn queues(link: &LinkMessage) -> u32 {
    let mut all = link.attributes.iter();
    all.find_map(|attribute| match attribute {
        LinkAttribute::NumRxQueues(n) => Some(*n),
        _ => None,
    })
    .unwrap_or(0)
}

async fn delete(handle: &Handle, index: u32) -> Result<()> {
    let done = handle.link().del(index).execute().await;
    done.with_context(|| format!("delete {TC_END}"))
}

/// Each queue of an end must have one at the other (veth refuses XDP else).
async fn make(handle: &Handle, n_queues: u32, mtu: u32) -> Result<()> {
    let shape = || {
        [
            LinkAttribute::NumTxQueues(n_queues),
            LinkAttribute::NumRxQueues(n_queues),
            LinkAttribute::Mtu(mtu),
        ]
    };
    let peer = shape().into_iter().fold(
        LinkMessageBuilder::<LinkUnspec>::default().name(WORKERS_END),
        LinkMessageBuilder::append_extra_attribute,
    );
    let peer = InfoData::Veth(InfoVeth::Peer(peer.build()));
    let link = shape().into_iter().fold(
        LinkVeth::new(TC_END, WORKERS_END).set_info_data(peer),
        LinkMessageBuilder::append_extra_attribute,
    );
    let made = handle.link().add(link.build()).execute().await;
    made.with_context(|| format!("make {TC_END} and {WORKERS_END}"))
}

async fn bring_up(handle: &Handle, name: &'static str, mtu: u32) -> Result<u32> {
    set_sysctls(name)?;
    for feature in sys::OFFLOADS {
        sys::ethtool_offload_off(name, feature)
            .with_context(|| format!("switch offloads of {name} off"))?;
    }
    let link = find(handle, name).await?;
    let index = link
        .with_context(|| format!("{name} went away"))?
        .header
        .index;
    let up = LinkUnspec::new_with_index(index).mtu(mtu).up().build();
    let done = handle.link().set(up).execute().await;
    done.with_context(|| format!("bring {name} up with MTU {mtu}"))?;
    Ok(index)
}

/// Makes the sysctls of an end what they must be.
///
/// # Errors
/// The kernel refused.
pub fn set_sysctls(name: &str) -> Result<()> {
    for (sysctl, value) in SYSCTLS {
        let path = format!("/proc/sys/net/{}", sysctl.replace("{}", name));
        // A kernel without IPv6 has none of its sysctls.
        let Ok(held) = fs::read_to_string(&path) else {
            continue;
        };
        if held.trim() != value {
            fs::write(&path, value).with_context(|| format!("write {value} to {path}"))?;
        }
    }
    Ok(())
}

/// What comes out of the port has addresses of everybody, and it has none
/// itself; bpf_fib_lookup() answers for interfaces that forward.
const SYSCTLS: [(&str, &str); 6] = [
    ("ipv6/conf/{}/addr_gen_mode", "1"),
    ("ipv6/conf/{}/accept_ra", "0"),
    ("ipv6/conf/{}/forwarding", "1"),
    ("ipv4/conf/{}/rp_filter", "0"),
    ("ipv4/conf/{}/accept_local", "1"),
    ("ipv4/conf/{}/forwarding", "1"),
];

#[cfg(test)]
mod tests {
    use terrace_testkit::Netns;

    use super::*;

    #[test]
    fn root_a_port_is_made_once_taken_over_and_removed() {
        let ns = Netns::new("l7port").unwrap();
        let there = || ns.run("ip", &["-d", "link", "show", TC_END]).unwrap();
        ns.enter(|| {
            assert!(!remove().unwrap());
            let first = ensure(2, 1_500).unwrap();
            assert_eq!(ensure(2, 9_000).unwrap(), first, "another MTU");
            assert!(there().contains("mtu 9000"), "{}", there());
            assert_ne!(ensure(1, 1_500).unwrap(), first, "another number of queues");
            assert!(there().contains("numrxqueues 1"), "{}", there());
            assert!(exists().unwrap());
            assert!(remove().unwrap());
            assert!(!exists().unwrap());
        })
        .unwrap();
    }

    #[test]
    fn root_an_interface_of_somebody_else_is_left_alone() {
        let ns = Netns::new("l7port-foreign").unwrap();
        ns.ip([format!("tuntap add {TC_END} mode tap")]).unwrap();
        ns.enter(|| {
            let error = format!("{:#}", ensure(1, 1_500).unwrap_err());
            assert!(error.contains("somebody else"), "{error}");
            assert!(!remove().unwrap());
            assert!(exists().unwrap());
        })
        .unwrap();
    }

    #[test]
    fn root_the_port_has_no_offloads() {
        let ns = Netns::new("l7port-offloads").unwrap();
        ns.enter(|| ensure(1, 1_500).unwrap()).unwrap();
        let features = ns.run("ethtool", &["-k", TC_END]).unwrap();
        for feature in [
            "tx-checksumming",
            "scatter-gather",
            "tx-tcp-segmentation",
            "generic-segmentation-offload",
        ] {
            assert!(
                features.contains(&format!("{feature}: off")),
                "{feature}: {features}"
            );
        }
    }
}
