//! Bounds the connections that one peer has at the same time, so that nobody takes all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::network;

/// Connections of one peer address (of IPv6: of one /64) at the same time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;

/// How many connections which peer has.
#[derive(Default)]
pub(super) struct Peers {
    connections: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection, until this is dropped.
pub(super) struct Held {
    peers: Arc<Peers>,
    network: IpAddr,
}

impl Peers {
    /// Takes a place for one more connection of a peer; `None` when it has as many as it may.
    pub(super) fn enter(self: &Arc<Peers>, address: IpAddr) -> Option<Held> {
        let network = network(address);
        let mut connections = self.connections();
        let count = connections.entry(network).or_default();
        if *count >= CONNECTIONS_MAX {
            return None;
        }
        *count += 1;
        Some(Held {
            peers: Arc::clone(self),
            network,
        })
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        let connections = self.connections.lock();
        connections.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut connections = self.peers.connections();
        if let Some(count) = connections.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_leaves_room_for_others_and_is_forgotten() {
        let peers = Arc::new(Peers::default());
        let peer = |last| IpAddr::from([192, 0, 2, last]);
        let mut held: Vec<Held> = (0..CONNECTIONS_MAX)
            .map(|_| peers.enter(peer(1)).unwrap())
            .collect();
        assert!(peers.enter(peer(1)).is_none());
        assert!(peers.enter(peer(2)).is_some());
        held.pop();
        held.push(peers.enter(peer(1)).unwrap());
        held.clear();
        assert!(peers.connections().is_empty());
    }
}
