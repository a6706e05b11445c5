//! Growing a file's tree block by block, and walking it in the file's order.
//!
//! Neither ever holds more than one node of each level, whatever the file's size.

use std::ops::Range;

use super::manifest::{FANOUT, Manifest, ManifestEntry, ManifestError};
use crate::id::{Id, Key};

/// Collects a file's blocks into nodes, and nodes into higher nodes, up to the root.
pub struct TreeBuilder {
    levels: Vec<Vec<ManifestEntry>>,
    fanout: usize,
}

/// What [`TreeBuilder::finish`] asks to be packed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToPack {
    /// A node that is not full but the last of its level: pack it, [`TreeBuilder::push`] it one level up, and ask
    /// again.
    Pack(Manifest),
    /// The root: pack it, and its key names the file.
    Root(Manifest),
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self::with_fanout(FANOUT)
    }
}

impl TreeBuilder {
    /// A tree without blocks, [`FANOUT`] entries to a node.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree without blocks, `fanout` entries to a node (at least 2).
    pub fn with_fanout(fanout: usize) -> Self {
        Self { levels: vec![Vec::new()], fanout: fanout.max(2) }
    }

    /// Adds a data block (level 0) or a packed node of the level below. A node that this would overfill is given out:
    /// pack it and push it at its level plus one before anything else.
    pub fn push(&mut self, level: u8, entry: ManifestEntry) -> Option<Manifest> {
        let at = usize::from(level);
        if self.levels.len() <= at {
            self.levels.resize_with(at + 1, Vec::new);
        }
        let full = (self.levels[at].len() == self.fanout).then(|| self.take(at));
        self.levels[at].push(entry);
        full
    }

    /// After the last block: what is to be packed next, from the lowest level up, until it is the root.
    pub fn finish(&mut self, sha256: Id) -> ToPack {
        let top = self.levels.iter().rposition(|level| !level.is_empty()).unwrap_or(0);
        match self.levels[..top].iter().position(|level| !level.is_empty()) {
            Some(lowest) => ToPack::Pack(self.take(lowest)),
            None => ToPack::Root(Manifest { sha256: Some(sha256), ..self.take(top) }),
        }
    }

    fn take(&mut self, at: usize) -> Manifest {
        let entries = std::mem::take(&mut self.levels[at]);
        let size = entries.iter().map(|entry| entry.size).sum();
        Manifest { level: at as u8, size, sha256: None, folder: false, entries }
    }
}

/// The keys of the lists that a file's tree has above its blocks `entries`; the root's is the last.
pub fn list_keys(entries: impl IntoIterator<Item = ManifestEntry>, sha256: Id) -> Vec<Key> {
    lists(entries, sha256).iter().map(|list| Key::of(&list.encode())).collect()
}

/// The lists that a file's tree has above its blocks `entries`; the root is the last.
pub fn lists(entries: impl IntoIterator<Item = ManifestEntry>, sha256: Id) -> Vec<Manifest> {
    fn pack(builder: &mut TreeBuilder, mut full: Option<Manifest>, lists: &mut Vec<Manifest>) {
        while let Some(node) = full {
            full = builder.push(node.level + 1, ManifestEntry { key: Key::of(&node.encode()), size: node.size });
            lists.push(node);
        }
    }
    let (mut builder, mut lists) = (TreeBuilder::new(), Vec::new());
    for entry in entries {
        let full = builder.push(0, entry);
        pack(&mut builder, full, &mut lists);
    }
    loop {
        match builder.finish(sha256) {
            ToPack::Pack(node) => pack(&mut builder, Some(node), &mut lists),
            ToPack::Root(root) => {
                lists.push(root);
                return lists;
            }
        }
    }
}

/// Walks a file's tree in the file's order, asking for each node as it is reached.
#[derive(Clone)]
pub struct TreeWalk {
    /// The nodes from the root down to the walk's position, each with the entries still to be walked.
    stack: Vec<OpenList>,
    offset: u64,
    /// Level and size of the node that was asked for and is not here yet.
    wanted: Option<(u8, u64)>,
    /// The bytes of the file that are wanted: what holds none of them is passed over.
    within: Range<u64>,
}

#[derive(Clone)]
struct OpenList {
    level: u8,
    entries: std::vec::IntoIter<ManifestEntry>,
}

/// The next stop of a [`TreeWalk`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A data block, and where it starts in the file.
    Slot {
        /// The block's key.
        key: Key,
        /// The block's size in bytes.
        size: u32,
        /// The offset of its first byte in the file.
        offset: u64,
    },
    /// A node: fetch it and [`TreeWalk::supply`] it.
    Need {
        /// The key of the node's block.
        key: Key,
    },
    /// The node that was asked for is not here yet.
    Wait,
    /// The end of the file.
    Done,
}

impl TreeWalk {
    /// A walk from the root.
    pub fn new(root: Manifest) -> Self {
        Self::below(root.level, root.entries)
    }

    /// A walk over a flat list of data blocks.
    pub fn flat(entries: Vec<ManifestEntry>) -> Self {
        Self::below(0, entries)
    }

    fn below(level: u8, entries: Vec<ManifestEntry>) -> Self {
        let open = OpenList { level, entries: entries.into_iter() };
        Self { stack: vec![open], offset: 0, wanted: None, within: 0..u64::MAX }
    }

    /// The same, past all blocks and nodes that have no byte of this part of the file.
    #[must_use]
    pub fn within(self, part: Range<u64>) -> Self {
        Self { within: part, ..self }
    }

    /// Goes on to the next block or node.
    pub fn next_step(&mut self) -> Stop {
        if self.wanted.is_some() {
            return Stop::Wait;
        }
        while let Some(open) = self.stack.last_mut() {
            let Some(ManifestEntry { key, size }) = open.entries.next() else {
                self.stack.pop();
                continue;
            };
            let end = self.offset.saturating_add(size);
            let is_before = self.offset < self.within.start && end <= self.within.start;
            if is_before || self.offset >= self.within.end || self.within.is_empty() {
                self.offset = end;
                continue;
            }
            if open.level > 0 {
                self.wanted = Some((open.level - 1, size));
                return Stop::Need { key };
            }
            let offset = self.offset;
            self.offset += size;
            return Stop::Slot { key, size: u32::try_from(size).unwrap_or(u32::MAX), offset };
        }
        Stop::Done
    }

    /// Whether every block has been walked over that is wanted.
    pub fn is_over(&self) -> bool {
        let all_taken = self.stack.iter().all(|open| open.entries.len() == 0);
        self.wanted.is_none() && (all_taken || self.offset >= self.within.end)
    }

    /// Passes over the node that [`Stop::Need`] asked for, and all below it.
    pub fn pass_over(&mut self) {
        if let Some((_, size)) = self.wanted.take() {
            self.offset = self.offset.saturating_add(size);
        }
    }

    /// The node that [`Stop::Need`] asked for.
    ///
    /// # Errors
    /// The node is not what its parent said: of another level or size.
    pub fn supply(&mut self, node: Manifest) -> Result<(), ManifestError> {
        let Some((level, size)) = self.wanted.take() else { return Ok(()) };
        if node.level != level {
            return Err(ManifestError::WrongLevel { expected: level, found: node.level });
        }
        if node.size != size {
            return Err(ManifestError::WrongSize { expected: size, found: node.size });
        }
        self.stack.push(OpenList { level, entries: node.entries.into_iter() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn entry(n: u64) -> ManifestEntry {
        ManifestEntry { key: Id::from_u64(n), size: n % 7 + 1 }
    }

    /// Builds the tree of `blocks` blocks; returns its root and its nodes by key.
    fn build(blocks: u64, fanout: usize) -> (Manifest, BTreeMap<Key, Manifest>) {
        let (mut tree, mut nodes) = (TreeBuilder::with_fanout(fanout), BTreeMap::new());
        let mut pack = |tree: &mut TreeBuilder, mut node: Manifest| loop {
            assert!(node.entries.len() <= fanout);
            let key = Id::from_u64(1_000_000 + nodes.len() as u64);
            let (level, size) = (node.level, node.size);
            nodes.insert(key, node);
            match tree.push(level + 1, ManifestEntry { key, size }) {
                Some(full) => node = full,
                None => break,
            }
        };
        for n in 0..blocks {
            if let Some(node) = tree.push(0, entry(n)) {
                pack(&mut tree, node);
            }
        }
        loop {
            match tree.finish(Id::ZERO) {
                ToPack::Pack(node) => pack(&mut tree, node),
                ToPack::Root(root) => return (root, nodes),
            }
        }
    }

    #[test]
    fn the_lists_above_blocks_are_those_that_a_store_packs() {
        let of = |count: usize| list_keys((0..count as u64).map(entry), Id::ZERO);
        let node = |level, entries: Vec<ManifestEntry>, sha256| {
            let size = entries.iter().map(|entry| entry.size).sum();
            let node = Manifest { level, size, sha256, folder: false, entries };
            ManifestEntry { key: Key::of(&node.encode()), size }
        };
        let blocks: Vec<ManifestEntry> = (0..FANOUT as u64 + 1).map(entry).collect();
        assert_eq!(of(2), [node(0, blocks[..2].to_vec(), Some(Id::ZERO)).key]);
        let lower = [node(0, blocks[..FANOUT].to_vec(), None), node(0, blocks[FANOUT..].to_vec(), None)];
        let root = node(1, lower.to_vec(), Some(Id::ZERO));
        assert_eq!(of(FANOUT + 1), [lower[0].key, lower[1].key, root.key]);
    }

    #[test]
    fn a_tree_of_any_height_is_walked_in_the_files_order() {
        for (fanout, blocks) in [(2, 0), (2, 1), (2, 2), (2, 3), (3, 9), (3, 28), (4, 1000), (10, 12_345)] {
            let (root, nodes) = build(blocks, fanout);
            assert_eq!(root.sha256, Some(Id::ZERO));
            assert_eq!(root.size, (0..blocks).map(|n| entry(n).size).sum::<u64>());
            let (mut walk, mut next, mut at) = (TreeWalk::new(root), 0, 0);
            loop {
                match walk.next_step() {
                    Stop::Slot { key, size, offset } => {
                        assert_eq!((key, u64::from(size), offset), (entry(next).key, entry(next).size, at));
                        (next, at) = (next + 1, at + u64::from(size));
                    }
                    Stop::Need { key } => {
                        assert_eq!(walk.next_step(), Stop::Wait);
                        walk.supply(nodes[&key].clone()).expect("the tree is sound");
                    }
                    Stop::Wait => panic!("nothing is awaited"),
                    Stop::Done => break,
                }
            }
            assert_eq!(next, blocks, "fan-out {fanout}");
        }
    }

    #[test]
    fn a_walk_within_a_part_of_the_file_asks_for_no_block_or_node_outside() {
        let (root, nodes) = build(200, 3);
        let blocks: Vec<Range<u64>> = (0..200)
            .scan(0, |at, n| {
                let start = *at;
                *at += entry(n).size;
                Some(start..*at)
            })
            .collect();
        for part in [0..1, 5..5, 100..101, 99..300, root.size - 1..u64::MAX, root.size..u64::MAX] {
            let is_wanted = |block: &&Range<u64>| block.start < part.end && block.end > part.start && !part.is_empty();
            let (mut walk, mut met, mut asked) = (TreeWalk::new(root.clone()).within(part.clone()), Vec::new(), 0);
            loop {
                match walk.next_step() {
                    Stop::Slot { size, offset, .. } => met.push(offset..offset + u64::from(size)),
                    Stop::Need { key } => {
                        asked += 1;
                        walk.supply(nodes[&key].clone()).expect("the tree is sound");
                    }
                    Stop::Wait => panic!("nothing is awaited"),
                    Stop::Done => break,
                }
            }
            let wanted: Vec<_> = blocks.iter().filter(is_wanted).cloned().collect();
            assert_eq!(met, wanted, "{part:?}");
            assert!(asked <= 10 + wanted.len(), "{asked} nodes for {part:?}");
        }
    }

    #[test]
    fn a_node_that_is_not_what_its_parent_said_is_refused() {
        let (root, nodes) = build(5, 2);
        for spoil in [|node: &mut Manifest| node.level += 1, |node: &mut Manifest| node.size += 1] {
            let mut walk = TreeWalk::new(root.clone());
            let Stop::Need { key } = walk.next_step() else { panic!("the root has nodes below") };
            let mut node = nodes[&key].clone();
            spoil(&mut node);
            assert!(walk.supply(node).is_err());
        }
    }
}
