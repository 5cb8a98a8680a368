//! Who listens on a port or socket, from `/proc/net`.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use pawang_core::Listener;

use super::directory::is_postgres;
use crate::host::read;

/// More processes than this are not searched for the owner of a socket.
const PROCESSES_MAX: usize = 20_000;
const LISTENING: &str = "0A";

/// Returns who listens on the addresses that were asked.
pub(super) fn listeners(addresses: &[(String, u16)]) -> Vec<Listener> {
    let mut found: Vec<(u64, Listener)> = Vec::new();
    let mut add = |inode: u64, address: String| {
        if !found.iter().any(|(known, _)| *known == inode) {
            let listener = Listener {
                address,
                ..Listener::default()
            };
            found.push((inode, listener));
        }
    };
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = read(Path::new(file)).unwrap_or_default();
        for (inode, ip, port) in text.lines().skip(1).filter_map(tcp) {
            if addresses.iter().any(|(_, wanted)| *wanted == port) {
                add(inode, format!("{ip}:{port}"));
            }
        }
    }
    let text = read(Path::new("/proc/net/unix")).unwrap_or_default();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, _, _, "00010000", _, _, inode, path] = words[..] else {
            continue;
        };
        let wanted = addresses.iter().any(|(host, port)| {
            Path::new(path) == Path::new(host).join(format!(".s.PGSQL.{port}"))
        });
        if let (true, Ok(inode)) = (wanted, inode.parse()) {
            add(inode, path.to_owned());
        }
    }
    owners(&mut found);
    found.into_iter().map(|(_, listener)| listener).collect()
}

fn tcp(line: &str) -> Option<(u64, String, u16)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    if *state != LISTENING {
        return None;
    }
    let (ip, port) = address.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((inode.parse().ok()?, ip_address(ip)?, port))
}

/// Reads the kernel's hexadecimal address: words of four bytes in the machine's order.
fn ip_address(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    for word in text.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
    Some(format!("[{}]", Ipv6Addr::from(sixteen)))
}

/// Finds the processes that hold the sockets; other users' processes stay unseen without root.
fn owners(found: &mut [(u64, Listener)]) {
    if found.is_empty() {
        return;
    }
    let names: BTreeMap<String, usize> = found
        .iter()
        .enumerate()
        .map(|(index, (inode, _))| (format!("socket:[{inode}]"), index))
        .collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes.take(PROCESSES_MAX) {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let files = fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten();
        for file in files.flatten() {
            let Ok(link) = fs::read_link(file.path()) else {
                continue;
            };
            let Some(index) = names.get(link.to_string_lossy().as_ref()) else {
                continue;
            };
            let listener = &mut found[*index].1;
            // The postmaster's children inherit its sockets; it is the eldest of them.
            if listener.pid.is_none_or(|known| pid < known) {
                let name = read(&process.path().join("comm")).unwrap_or_default();
                listener.postgres = is_postgres(name.trim());
                listener.process = Some(name.trim().to_owned());
                listener.pid = Some(pid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_addresses() {
        let line = "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105 0 648 1 0 100 0 0 10 0";
        assert_eq!(tcp(line), Some((648, "127.0.0.1".to_owned(), 5432)));
        assert_eq!(
            ip_address("00000000000000000000000001000000").as_deref(),
            Some("[::1]")
        );
    }
}
