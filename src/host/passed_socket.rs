//! A socket that systemd opened for this process (`sd_listen_fds(3)`).

use std::io;
use std::net::TcpListener;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// A duplicate of a passed socket, so that the socket itself stays open when the configuration is
/// read again. The kernel makes the duplicate (Linux 5.6): a number alone is no proof that nothing
/// else in this process owns the descriptor.
///
/// # Errors
/// systemd passed no such socket, or the kernel refuses.
pub fn passed_socket(number: i32) -> io::Result<TcpListener> {
    let mut passed = sd_notify::listen_fds()?;
    if !passed.any(|passed| passed == number) {
        let why =
            format!("systemd passed no socket fd:{number}: start pilotfish by its .socket unit");
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket = pidfd_getfd(own, number, PidfdGetfdFlags::empty()).map_err(|error| {
        let hint =
            "a drop-in needs SystemCallFilter=pidfd_getfd, and the kernel must be 5.6 or later";
        io::Error::other(format!("{error}; {hint}"))
    })?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    // What is no listening TCP socket has no such address.
    listener.local_addr()?;
    Ok(listener)
}
