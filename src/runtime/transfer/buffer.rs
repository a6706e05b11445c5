//! A worker's buffer: room for a block, in small pieces.
//!
//! The pieces come from the system and go back to it. What goes back to the C library stays with the process as long as
//! anything lies above it, such as an outcome that the worker told: a peer that had moved a few files kept 1 MiB for
//! each worker that there had been at a time. So bytes stream through one piece, and only a block that must be verified
//! before a reader may see it is held in several.

use std::ops::Range;
use std::sync::Arc;

use memmap2::MmapMut;

use super::io_failed;
use crate::node::job::JobError;

/// Bytes of a piece: in the processor's cache from where they are read to where they are hashed and written.
const BUFFER_PIECE: usize = 64 * 1024;

/// Pieces of [`BUFFER_PIECE`] bytes, made when they are needed and kept from job to job.
#[derive(Default)]
pub(super) struct Buffer(Vec<MmapMut>);

impl Buffer {
    /// One piece, for bytes that stream through.
    ///
    /// # Errors
    /// The system gives no memory: under a limit (`ulimit -v`) there may be none left.
    pub(super) fn piece(&mut self) -> Result<&mut [u8], JobError> {
        self.nth(0)
    }

    /// Has `read` fill the first `size` bytes, piece by piece; it is told where in the block a piece begins.
    ///
    /// # Errors
    /// Those of `read`, and those of [`piece`](Self::piece).
    pub(super) fn fill(
        &mut self,
        size: usize,
        mut read: impl FnMut(&mut [u8], u64) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        cuts(size).enumerate().try_for_each(|(n, cut)| read(&mut self.nth(n)?[..cut.len()], cut.start as u64))
    }

    /// The first `size` bytes, which were filled before, piece by piece.
    pub(super) fn pieces(&self, size: usize) -> impl Iterator<Item = &[u8]> {
        self.0.iter().zip(cuts(size)).map(|(piece, cut)| &piece[..cut.len()])
    }

    /// A copy of the first `size` bytes, which were filled before.
    pub(super) fn to_bytes(&self, size: usize) -> Arc<[u8]> {
        self.pieces(size).collect::<Vec<_>>().concat().into()
    }

    fn nth(&mut self, n: usize) -> Result<&mut [u8], JobError> {
        while self.0.len() <= n {
            let piece = MmapMut::map_anon(BUFFER_PIECE);
            self.0.push(piece.map_err(|error| io_failed("get memory for a block's bytes", &error))?);
        }
        Ok(&mut self.0[n])
    }
}

/// Where the pieces of `size` bytes begin and end.
pub(super) fn cuts(size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..size).step_by(BUFFER_PIECE).map(move |begin| begin..size.min(begin + BUFFER_PIECE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_comes_back_whatever_its_size() {
        let mut buffer = Buffer::default();
        for size in [3 * BUFFER_PIECE + 1, 0, 1, BUFFER_PIECE, BUFFER_PIECE + 1] {
            let bytes: Vec<u8> = (0..size).map(|n| (n / 7 + size) as u8).collect();
            let copy = |piece: &mut [u8], at: u64| {
                piece.copy_from_slice(&bytes[at as usize..][..piece.len()]);
                Ok(())
            };
            buffer.fill(size, copy).expect("nothing refuses");
            assert!(buffer.pieces(size).all(|piece| !piece.is_empty() && piece.len() <= BUFFER_PIECE));
            assert_eq!(buffer.pieces(size).collect::<Vec<_>>().concat(), bytes);
        }
    }
}
