//! The root program on interfaces, through netlink.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use terrace_abi::{messages, sys};

use crate::{Attachment, Error, Mode};

/// The programs' common name. The kernel keeps 15 bytes of each.
const PREFIX: &str = "terrace_xdp";

/// Puts the root program on an interface, or finds it there.
pub(crate) fn attach(
    iface: &str,
    ifindex: u32,
    root: BorrowedFd<'_>,
    root_id: u32,
    mode: Mode,
) -> Result<Attachment, Error> {
    let attachment = |taken_over| Attachment {
        iface: iface.to_owned(),
        ifindex,
        mode,
        program_id: root_id,
        taken_over,
    };
    let state = query(iface, ifindex)?;
    // The NIC's own program runs before this one and leaves it its place.
    for (id, mode_name) in state.programs().filter(|(_, mode)| *mode != "offloaded") {
        let other_mode = Mode::of_name(mode_name) != Some(mode);
        let name = name(id);
        if id == root_id && !other_mode {
            return Ok(attachment(true));
        }
        if !name.starts_with(PREFIX) {
            return Err(Error::Foreign {
                iface: iface.to_owned(),
                program: name,
                id,
                mode: mode_name,
            });
        }
        // Terrace's own in the other mode, or one whose pin is lost: both modes
        // at once are impossible (DESIGN section 4, fact 2); tc serves meanwhile.
        crate::detach(iface, ifindex)?;
    }
    let (result, log) = messages::capture(|| sys::xdp_attach(ifindex, root, mode.into()));
    result.map_err(|source| Error::Attach {
        iface: iface.to_owned(),
        mode,
        reason: messages::extack(&log).unwrap_or_default(),
        source,
    })?;
    Ok(attachment(false))
}

pub(crate) fn detach(attachment: &Attachment) -> Result<(), Error> {
    let detach_error = |reason: Option<String>, source| Error::Detach {
        iface: attachment.iface.clone(),
        reason: reason.unwrap_or_default(),
        source,
    };
    let program =
        sys::program_by_id(attachment.program_id).map_err(|source| detach_error(None, source))?;
    let (result, log) = messages::capture(|| {
        sys::xdp_detach(attachment.ifindex, program.as_fd(), attachment.mode.into())
    });
    result.map_err(|source| detach_error(messages::extack(&log), source))
}

/// Terrace's programs on one interface.
pub(crate) fn ours(iface: &str, ifindex: u32) -> Result<Vec<Attachment>, Error> {
    let programs = match query(iface, ifindex) {
        Ok(state) => state.programs().collect::<Vec<_>>(),
        // It went away meanwhile.
        Err(Error::Ask { source, .. }) if is_gone(&source) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(programs
        .into_iter()
        .filter(|(id, _)| name(*id).starts_with(PREFIX))
        .filter_map(|(program_id, mode)| {
            let mode = Mode::of_name(mode)?;
            Some(Attachment {
                iface: iface.to_owned(),
                ifindex,
                mode,
                program_id,
                taken_over: true,
            })
        })
        .collect())
}

fn query(iface: &str, ifindex: u32) -> Result<sys::XdpState, Error> {
    let (state, _) = messages::capture(|| sys::xdp_query(ifindex));
    state.map_err(|source| Error::Ask {
        what: format!("the XDP programs of {iface}"),
        source,
    })
}

fn is_gone(error: &io::Error) -> bool {
    const ENODEV: i32 = 19;
    error.raw_os_error() == Some(ENODEV)
}

fn name(id: u32) -> String {
    let info = sys::program_by_id(id).and_then(|program| sys::program_info(program.as_fd()));
    info.map_or_else(|_| "unknown".to_owned(), |info| info.name)
}
