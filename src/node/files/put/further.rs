//! Others are offered a block where those that it was offered to are silent, or say that they have it and do not show
//! it.

use std::net::SocketAddr;

use super::{Flow, Put};
use crate::id::Key;
use crate::node::desk::Desk;

impl Put {
    /// A peer is silent: what it was offered is offered to the next nearest too.
    pub(super) fn on_overdue(&mut self, desk: &mut Desk, addr: SocketAddr) -> Flow {
        let late: Vec<Key> =
            self.placing.iter().filter(|(_, block)| block.out.contains(&addr)).map(|(&key, _)| key).collect();
        for key in late {
            if self.do_without(desk, key, addr) == Flow::Over {
                return Flow::Over;
            }
        }
        Flow::Goes
    }

    /// The peer at `addr` occupies no place any longer, though it may still take the block.
    pub(super) fn do_without(&mut self, desk: &mut Desk, key: Key, addr: SocketAddr) -> Flow {
        let Some(placing) = self.placing.get_mut(&key) else { return Flow::Goes };
        if !placing.out.remove(&addr) {
            return Flow::Goes;
        }
        placing.overdue.insert(addr);
        self.offer_on(desk, key)
    }

    /// Liars stand together: then peers further away will do.
    pub(super) fn go_further(&mut self, desk: &Desk, key: Key) {
        if let Some(placing) = self.placing.get_mut(&key) {
            placing.go_further(desk.behind_liars(&key));
        }
    }
}
