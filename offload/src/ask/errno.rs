//! Error numbers by name. The names go into reports and recordings, as the
//! numbers differ between architectures.

macro_rules! errnos {
    ($($name:ident)*) => {
        const NAMES: &[(i32, &str)] = &[$((libc::$name, stringify!($name))),*];
    };
}

errnos! {
    EPERM ENOENT EINTR EIO ENXIO E2BIG EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST ENODEV
    ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY EFBIG ENOSPC EROFS EDOM ERANGE EDEADLK
    ENAMETOOLONG ENOSYS ELOOP EPROTO EOVERFLOW EMSGSIZE EPROTONOSUPPORT EOPNOTSUPP
    EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENOBUFS ETIMEDOUT ECONNREFUSED
    EHOSTUNREACH EALREADY ESTALE ECANCELED ENODATA
}

/// `EINVAL`; a number that has no name here stays one: `E524`.
pub fn errno_name(errno: i32) -> String {
    let known = NAMES.iter().find(|(number, _)| *number == errno);
    known.map_or_else(|| format!("E{errno}"), |(_, name)| (*name).to_owned())
}

/// The number of a name on this machine.
pub fn errno_of(name: &str) -> Option<i32> {
    let known = NAMES.iter().find(|(_, known)| *known == name);
    known.map(|(number, _)| *number)
}
