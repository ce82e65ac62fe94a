//! Datagrams that the kernel dropped because a socket's buffer was full.

use std::fs;
use std::net::UdpSocket;

use rustix::fs::fstat;

/// Drops of a socket since it was opened, as `/proc/self/net/udp` tells them. `None`: it tells nothing.
pub(super) fn udp_drops(socket: &UdpSocket) -> Option<u64> {
    let inode = fstat(socket).ok()?.st_ino;
    ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|table| drops_of(&table, inode))
}

/// Columns (proc(5)): the tenth is the inode, the last the drops.
fn drops_of(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let found: u64 = columns.nth(9)?.parse().ok()?;
        (found == inode).then(|| columns.last()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_found_by_the_inode() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  263: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 17424 2 0000000000000000 5
 1234: 0100007F:2364 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 17425 2 0000000000000000 1772";
        assert_eq!(drops_of(table, 17425), Some(1772));
        assert_eq!(drops_of(table, 17426), None);
    }
}
