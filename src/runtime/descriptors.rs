//! How many file descriptors each sort of connection may have, so that strangers' connections leave enough for the
//! rest.
//!
//! What strangers can have opened is bounded by shares of the limit that the system sets. The rest is a reserve for the
//! workers (a connection, a file and its folder each), clients of the control socket and the peer's own files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// With fewer descriptors, what strangers may have opened leaves too few to the rest.
const LEAST: u64 = 128;

/// Connections of each sort at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ConnectionShares {
    /// Connections that are served. Each reads a file beside.
    pub(super) served: usize,
    /// Links to other peers of the ring.
    pub(super) links: usize,
    /// Idle connections that are kept for the next request.
    pub(super) kept: usize,
}

impl ConnectionShares {
    /// The shares under the limit of this process.
    pub(super) fn of_process() -> Self {
        Self::of(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    fn of(limit: u64) -> Self {
        let eighth = usize::try_from(limit / 8).unwrap_or(usize::MAX);
        Self { served: eighth.clamp(4, 128), links: eighth.clamp(4, 512), kept: eighth.clamp(2, 64) }
    }
}

/// Lets this process have as many file descriptors as the system allows it: the usual limit of 1,024 is kept low for
/// programs that cannot count further.
pub fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::debug!("the limit of file descriptors stays as it is: {error}");
    }
}

/// Says so where the system allows this process too few: what then fails looks like a firewall's work.
pub(super) fn tell_of_few() {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit < LEAST {
        log::warn!(
            "this process may have {limit} file descriptors at a time (ulimit -n); with fewer than {LEAST} it can lack \
             some for its connections, which fails as behind a firewall"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_can_open_leaves_a_reserve_under_any_usual_limit() {
        for limit in [LEAST, 256, 1024, 4096, 1 << 20] {
            let ConnectionShares { served, links, kept } = ConnectionShares::of(limit);
            let of_strangers = (2 * served + links + kept) as u64;
            assert!(of_strangers <= limit / 2, "{of_strangers} of {limit}");
        }
        assert_eq!(ConnectionShares::of(1 << 20), ConnectionShares { served: 128, links: 512, kept: 64 });
    }
}
