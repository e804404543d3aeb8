//! The same-host shortcut: payload from socket to socket.
