//! How much memory a large network takes, and how much is available.

use std::fs;

use crate::overlay::OverlayKind;

/// Bytes that a simulated peer takes beside its routing table: the node, its place in the world, what is on its way.
const PEER: u64 = 6 * 1024;
/// Bytes that a contact in a table takes, with its share of the room that tables keep free.
const CONTACT: u64 = 130;
/// Bytes that the program itself takes.
const PROGRAM: u64 = 16 << 20;

/// About how many bytes a network of so many peers takes, with so many contacts in a bucket (Kademlia) or successors.
pub fn estimate(kind: OverlayKind, peers: usize, bucket: usize) -> u64 {
    let doublings = (peers.max(2) as f64).log2();
    let contacts = match kind {
        // Full buckets for every doubling down to the last bucket's worth, and that bucket.
        OverlayKind::Kademlia => bucket as f64 * ((doublings - (bucket.max(1) as f64).log2()).max(0.0) + 2.0),
        OverlayKind::Ring => doublings + 2.0 * bucket as f64,
    };
    PROGRAM + peers as u64 * (PEER + (contacts as u64).min(peers as u64) * CONTACT)
}

/// Bytes of memory that are available now: what the system says, or the limit this program runs under if that is less.
/// `None` where the system does not say.
pub fn available() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| field(&text, "MemAvailable:"));
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max");
    let used = number("/sys/fs/cgroup/memory.current");
    let group = limit.map(|limit| limit.saturating_sub(used.unwrap_or(0)));
    match (system, group) {
        (Some(system), Some(group)) => Some(system.min(group)),
        (system, group) => system.or(group),
    }
}

/// Bytes that this program occupies now; `None` where the system does not say.
pub fn occupied() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// A line such as `VmRSS:   1234 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_system_s_is_read_in_bytes() {
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t  1234 kB\n", "VmRSS:"), Some(1234 * 1024));
        assert_eq!(field("VmPeak: 9 kB\n", "VmRSS:"), None);
        assert_eq!(field("VmRSS: many kB\n", "VmRSS:"), None);
    }

    #[test]
    fn more_peers_and_larger_tables_take_more() {
        let of = |peers, bucket| estimate(OverlayKind::Kademlia, peers, bucket);
        assert!(of(1000, 20) < of(10_000, 20) && of(10_000, 8) < of(10_000, 20));
        assert!(of(100_000, 20) < 24 << 30, "a hundred thousand peers fit into 24 GB");
    }
}
