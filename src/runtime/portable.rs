//! Fast or portable: some work is done by system calls that only Linux has, and by plain ones elsewhere.
//!
//! Each of the two stands in a file of its own: datagrams ([`udp`](super::udp)) and the sending of files
//! ([`send_file`](super::send_file)). Read the plain one first. What a stream gave has a name on the disk in the plain
//! way ([`Spooled`](super::Spooled)). On Linux the environment variable `KADRING_PLAIN` has
//! the plain ones run there too, for tests and to measure what the fast ones buy.

use std::sync::LazyLock;

/// Whether the plain ones run.
pub(super) fn only() -> bool {
    static PLAIN: LazyLock<bool> =
        LazyLock::new(|| cfg!(not(target_os = "linux")) || std::env::var_os("KADRING_PLAIN").is_some());
    *PLAIN
}
