//! What shows that a peer has the block that it says it has saved: a hash of some of its bytes.
//!
//! Which bytes they are the magic of the offer names, so no peer can know beforehand. The magic is hashed before them:
//! of a short block all bytes are asked for, and their hash alone would be its key. So is the id of the peer that shows
//! them, or a peer could pass on to an honest holder what it is asked for, and back what that one shows.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::id::Id;

/// Bytes of a block that are hashed; all of them, where it has no more.
pub const SAMPLE: u32 = 4096;

/// The range of a block's bytes, of which it has `size`, that the offer `magic` asks for.
pub fn range(magic: u64, size: u32) -> Range<u32> {
    let len = size.min(SAMPLE);
    // The remainder is below a number of 32 bits.
    let start = (magic % (u64::from(size - len) + 1)) as u32;
    start..start + len
}

/// What shows that the peer `by` has the `bytes` in that range.
pub fn hash(magic: u64, by: &Id, bytes: &[u8]) -> Id {
    let hash = Sha256::new().chain_update(magic.to_be_bytes()).chain_update(by.as_bytes()).chain_update(bytes);
    Id::from_bytes(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_lies_within_its_block_and_is_another_for_each_offer() {
        for size in [0, 1, SAMPLE - 1, SAMPLE, SAMPLE + 1, 1 << 20] {
            for magic in [0, 1, 12_345_678_901, crate::wire::MAGIC_LIMIT - 1] {
                let range = range(magic, size);
                assert!(range.end <= size && range.len() as u32 == size.min(SAMPLE), "{magic} {size}: {range:?}");
            }
        }
        assert!(range(1, 1 << 20) != range(2, 1 << 20));
        let block = b"of a short block the hash of all bytes is known";
        let [one, other] = [Id::ZERO, Id::MAX];
        assert!(hash(1, &one, block) != hash(2, &one, block) && hash(1, &one, block) != Id::of(block));
        assert!(hash(1, &one, block) != hash(1, &other, block), "nobody can show what another peer has");
    }
}
