//! Identifiers: 256-bit numbers that name peers and blocks alike.
//!
//! Peers and keys share one space, so that "the peers nearest to a key" means something. Each overlay puts its own
//! geometry on it: Kademlia measures [`Id::distance`] by XOR (Maymounkov and Mazières 2002, section 2.1), the ring
//! walks clockwise through [`Id::is_between`] (Stoica et al. 2001, section 4).

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use rand::{Rng, RngExt};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::as_text::as_text;

/// Bits in an [`Id`].
pub const ID_BITS: usize = 256;

/// A 256-bit identifier, big-endian: byte 0 holds the most significant bits. Ordered as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id([u8; 32]);

/// The name of a block: the SHA-256 of its bytes.
pub type Key = Id;

/// Text that is not exactly 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an id or key is 64 hexadecimal digits")]
pub struct ParseIdError;

impl Id {
    /// The smallest id, all bits zero.
    pub const ZERO: Self = Self([0; 32]);

    /// The greatest id, all bits one.
    pub const MAX: Self = Self([u8::MAX; 32]);

    /// The id with these 32 bytes, most significant first.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of a block: the SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// An id drawn uniformly from the whole space.
    pub fn random(rng: &mut impl Rng) -> Self {
        Self(rng.random())
    }

    /// The id with the numerical value `value`, as the classroom ring (ids 0 to 255) uses it.
    pub const fn from_u64(value: u64) -> Self {
        let mut bytes = [0; 32];
        let low = value.to_be_bytes();
        let mut i = 0;
        while i < 8 {
            bytes[24 + i] = low[i];
            i += 1;
        }
        Self(bytes)
    }

    /// The numerical value, if it fits.
    pub fn to_u64(self) -> Option<u64> {
        let (high, low) = self.0.split_at(24);
        let low: [u8; 8] = low.try_into().ok()?;
        high.iter().all(|&byte| byte == 0).then(|| u64::from_be_bytes(low))
    }

    /// XOR distance (Kademlia, section 2.1). Distances compare as numbers.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Self {
        let mut bytes = self.0;
        for (byte, theirs) in bytes.iter_mut().zip(other.0) {
            *byte ^= theirs;
        }
        Self(bytes)
    }

    /// The way clockwise from `other` to this id: the difference, modulo 2^256.
    #[must_use]
    pub fn minus(mut self, other: &Self) -> Self {
        let mut borrowed = false;
        for (byte, theirs) in self.0.iter_mut().zip(other.0).rev() {
            let (less, under) = byte.overflowing_sub(theirs);
            let (less, under_too) = less.overflowing_sub(u8::from(borrowed));
            (*byte, borrowed) = (less, under || under_too);
        }
        self
    }

    /// Zero bits before the first one, 0 to 256. Of a distance: the length of the common prefix.
    pub fn leading_zeros(&self) -> usize {
        match self.0.iter().position(|&byte| byte != 0) {
            Some(at) => at * 8 + self.0[at].leading_zeros() as usize,
            None => ID_BITS,
        }
    }

    /// Bit `index`, counted from the most significant (0) to the least (255).
    pub fn bit(&self, index: usize) -> bool {
        self.0[index / 8] & (0x80 >> (index % 8)) != 0
    }

    /// The same id with bit `index` (0 = most significant) inverted.
    #[must_use]
    pub fn flip_bit(mut self, index: usize) -> Self {
        self.0[index / 8] ^= 0x80 >> (index % 8);
        self
    }

    /// `self + 2^exponent`, modulo `2^bits`: where finger number `exponent` starts (Chord, figure 3).
    #[must_use]
    pub fn plus_power_of_two(mut self, exponent: usize, bits: usize) -> Self {
        debug_assert!(exponent < bits && bits <= ID_BITS, "finger {exponent} of a space of {bits} bits");
        let mut carry = 1_u16 << (exponent % 8);
        for byte in self.0[..32 - exponent / 8].iter_mut().rev() {
            let sum = u16::from(*byte) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
            if carry == 0 {
                break;
            }
        }
        self.modulo_power_of_two(bits)
    }

    /// The id after this one in the order of numbers; none after the greatest.
    pub fn next(&self) -> Option<Self> {
        (*self != Self::MAX).then(|| self.plus_power_of_two(0, ID_BITS))
    }

    /// The least and the greatest id that share the first `bits` bits with this one.
    pub fn cell(&self, bits: usize) -> (Self, Self) {
        let low = ID_BITS - bits.min(ID_BITS);
        let rest = Self::MAX.modulo_power_of_two(low);
        let (mut first, mut last) = (*self, *self);
        for ((first, last), rest) in first.0.iter_mut().zip(&mut last.0).zip(rest.0) {
            *first &= !rest;
            *last |= rest;
        }
        (first, last)
    }

    /// The low `bits` bits of the id: the id modulo `2^bits`.
    #[must_use]
    pub fn modulo_power_of_two(mut self, bits: usize) -> Self {
        let high = ID_BITS - bits.min(ID_BITS);
        self.0[..high / 8].fill(0);
        if !high.is_multiple_of(8) {
            self.0[high / 8] &= 0xff >> (high % 8);
        }
        self
    }

    /// Whether a clockwise walk from just after `from` up to and including `to` meets this id: `self` in `(from, to]`.
    /// Where `from == to` the walk is the whole circle, so a peer alone is responsible for every key (Chord, section
    /// 4.2).
    pub fn is_between(&self, from: &Self, to: &Self) -> bool {
        if from < to { from < self && self <= to } else { from < self || self <= to }
    }

    /// [`is_between`](Self::is_between) without the end: `self` in `(from, to)`, where `(a, a)` is all but `a`.
    pub fn is_strictly_between(&self, from: &Self, to: &Self) -> bool {
        self != to && self.is_between(from, to)
    }

    /// The first 8 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        HEXLOWER_PERMISSIVE.encode(&self.0[..4])
    }

    /// The number of a small id, and the first digits of any other, for people.
    pub fn numeral(&self) -> String {
        self.to_u64().map_or_else(|| self.short(), |number| number.to_string())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_u64() {
            Some(number) => write!(f, "Id({number})"),
            None => write!(f, "Id({})", self.short()),
        }
    }
}

impl FromStr for Id {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(ParseIdError);
        }
        HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut bytes).map_err(|_| ParseIdError)?;
        Ok(Self(bytes))
    }
}

as_text!(Id);

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u64) -> Id {
        Id::from_u64(value)
    }

    #[test]
    fn a_difference_is_the_way_clockwise_and_two_ways_make_the_circle() {
        let id = Id::from_u64;
        assert_eq!(id(300).minus(&id(44)), id(256));
        assert_eq!(id(0x1_0000).minus(&id(1)), id(0xffff));
        assert_eq!(id(1).minus(&id(2)), Id::from_bytes([0xff; 32]));
        assert_eq!(id(7).minus(&id(7)), Id::ZERO);
    }

    #[test]
    fn text_and_bytes_round_trip_and_anything_else_is_refused() {
        let id = Id::of(b"kadring");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for bad in ["", "12", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65)] {
            assert_eq!(bad.parse::<Id>(), Err(ParseIdError), "{bad:?}");
        }
    }

    #[test]
    fn small_ids_are_debugged_as_the_numbers_they_are() {
        assert_eq!(format!("{:?}", id(19)), "Id(19)");
        let large = Id::of(b"kadring");
        assert_eq!(format!("{large:?}"), format!("Id({})", large.short()));
    }

    #[test]
    fn xor_distance_is_a_metric_that_counts_common_prefixes() {
        let (a, b) = (Id::of(b"a"), Id::of(b"b"));
        assert_eq!(a.distance(&a), Id::ZERO);
        assert_eq!(a.distance(&b), b.distance(&a));
        assert_eq!(a.distance(&a.flip_bit(77)).leading_zeros(), 77);
        assert_eq!(Id::ZERO.leading_zeros(), 256);
    }

    #[test]
    fn an_interval_on_the_circle_wraps_past_the_greatest_id() {
        assert!(id(7).is_between(&id(5), &id(8)));
        assert!(id(8).is_between(&id(5), &id(8)) && !id(8).is_strictly_between(&id(5), &id(8)));
        assert!(!id(5).is_between(&id(5), &id(8)));
        assert!(id(1).is_between(&id(19), &id(2)) && id(200).is_between(&id(19), &id(2)));
        assert!(!id(19).is_between(&id(19), &id(2)));
        assert!(id(5).is_between(&id(5), &id(5)) && !id(5).is_strictly_between(&id(5), &id(5)));
    }

    #[test]
    fn fingers_start_at_powers_of_two_modulo_the_space() {
        assert_eq!(id(250).plus_power_of_two(3, 8), id(2));
        assert_eq!(id(255).plus_power_of_two(0, 9), id(256));
        assert_eq!(Id([0xff; 32]).plus_power_of_two(0, 256), Id::ZERO);
        assert_eq!(Id([0xff; 32]).modulo_power_of_two(4), id(15));
    }
}
