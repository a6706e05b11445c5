//! What a node holds, to look at.

use super::{Node, job};
use crate::id::Key;
use crate::name::FileName;

impl Node {
    /// The blocks held here, with their sizes in bytes, in the order of keys.
    pub fn held(&self) -> impl Iterator<Item = (Key, u32)> + '_ {
        self.desk.held()
    }

    /// The named files that this peer keeps for the classroom ring, in the order of names.
    pub fn named_files(&self) -> Vec<(FileName, job::Version)> {
        self.parts.iter().flat_map(|(_, part)| part.named_files()).collect()
    }
}
