//! What a simulation must know of each overlay: its name on the command line, and what it means by near.

use super::truth::Geometry;
use crate::overlay::OverlayKind;

/// The overlay's name, as `--overlay` takes it.
pub const fn name(kind: OverlayKind) -> &'static str {
    match kind {
        OverlayKind::Kademlia => "kad",
        OverlayKind::Ring => "ring",
    }
}

/// What the overlay means by near.
pub const fn geometry(kind: OverlayKind) -> Geometry {
    match kind {
        OverlayKind::Kademlia => Geometry::Xor,
        OverlayKind::Ring => Geometry::Circle,
    }
}
