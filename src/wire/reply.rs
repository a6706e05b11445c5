//! The first line of what comes for a block that was asked for.

use crate::config::MAX_BLOCK_SIZE;

/// Digits of a size at most.
const DIGITS: usize = 10;

/// What such a line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockHead<'a> {
    /// The block follows, of so many bytes.
    Size(u32),
    /// There is none to be had from this peer, for this reason.
    Refused(&'a str),
    /// Nothing that can be believed.
    Malformed,
}

impl<'a> BlockHead<'a> {
    /// Reads a line, without its newline.
    pub fn read(line: &'a str) -> Self {
        if let Some(reason) = line.strip_prefix("error: ") {
            return Self::Refused(reason);
        }
        let digits = line.len() <= DIGITS && line.bytes().all(|byte| byte.is_ascii_digit());
        let size = line.parse().ok().filter(|size| digits && *size <= MAX_BLOCK_SIZE);
        size.map_or(Self::Malformed, Self::Size)
    }
}
