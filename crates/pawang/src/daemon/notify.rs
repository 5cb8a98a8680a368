//! Tells systemd how the daemon is: readiness, reloads, the end, and that all tasks still move.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::environment;

/// The way to systemd; leads nowhere when nothing listens.
pub(super) struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often systemd wants to hear that all is well.
    pub watchdog: Option<Duration>,
}

impl Notify {
    /// Reads where systemd listens, if it started this process.
    pub(super) fn from_environment() -> Notify {
        let socket = environment::variable("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            Some((UnixDatagram::unbound().ok()?, address.ok()?))
        });
        let own = std::process::id().to_string();
        let ours = environment::variable("WATCHDOG_PID").is_none_or(|pid| pid == own);
        let watchdog = environment::variable("WATCHDOG_USEC")
            .filter(|_| ours)
            .and_then(|text| text.parse().ok())
            .filter(|microseconds| *microseconds > 0)
            .map(Duration::from_micros);
        Notify { socket, watchdog }
    }

    /// Says that everything was started, or that a reload is over.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// Says that the configuration is read again; `Type=notify-reload` wants to know since when.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
    }

    /// Says that the end has begun.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// Says that all tasks move.
    pub(super) fn alive(&self) {
        self.send("WATCHDOG=1\n");
    }

    /// Nobody is there to be told when systemd does not listen.
    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(text.as_bytes(), address)
        {
            tracing::debug!("could not tell systemd: {error}");
        }
    }
}
