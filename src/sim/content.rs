//! What a simulated job moves: bytes, or the reason why there are none.
//!
//! Bytes are shared, not copied: seven replicas of a block on seven disks take the room of one.

use std::rc::Rc;

use crate::node::job::JobErrorKind;

/// The bytes of a block or file.
pub type Bytes = Rc<[u8]>;

/// Why a job could not be done.
pub(super) type JobRefusal = (JobErrorKind, String);

/// Size of a block in bytes, which always fits a `u32`.
pub(super) fn size_of(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
