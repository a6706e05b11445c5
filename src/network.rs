//! The name of a network: peers of different names never become one network, even if one joins through another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes of the longest name: a ping that bears it still fits what a stranger may be sent.
pub const LONGEST: usize = 16;

/// The name that is meant where none is told: programs that know of no names are of this network.
pub const USUAL: &str = "kadring";

/// A name: 1 to [`LONGEST`] letters, digits, dots, hyphens and underscores of ASCII. It is no secret.
///
/// ```
/// use kadring::network::{NetworkName, USUAL};
///
/// assert_eq!(NetworkName::default().to_string(), USUAL);
/// assert!("comp3331-26t1".parse::<NetworkName>().is_ok());
/// assert!("two words".parse::<NetworkName>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName {
    /// The text, and zeros after it.
    bytes: [u8; LONGEST],
}

/// A text that is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a network's name is 1 to {LONGEST} letters, digits, dots, hyphens and underscores")]
pub struct ParseNetworkNameError;

impl NetworkName {
    /// Whether this is the name that goes without saying.
    pub fn is_usual(&self) -> bool {
        self.as_str() == USUAL
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let len = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(LONGEST);
        std::str::from_utf8(&self.bytes[..len]).unwrap_or_default()
    }
}

impl FromStr for NetworkName {
    type Err = ParseNetworkNameError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkNameError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(1..=LONGEST).contains(&text.len()) || !text.bytes().all(good) {
            return Err(ParseNetworkNameError);
        }
        let mut bytes = [0; LONGEST];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes })
    }
}

impl Default for NetworkName {
    fn default() -> Self {
        let mut bytes = [0; LONGEST];
        bytes[..USUAL.len()].copy_from_slice(USUAL.as_bytes());
        Self { bytes }
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for NetworkName {
    type Error = ParseNetworkNameError;

    fn try_from(text: String) -> Result<Self, ParseNetworkNameError> {
        text.parse()
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_what_could_not_stand_in_a_message_is_none() {
        for good in [USUAL, "a", "COMP3331-26t1", "x.y_z", "0123456789abcdef"] {
            let name: NetworkName = good.parse().unwrap();
            assert_eq!((name.as_str(), name.is_usual()), (good, good == USUAL));
        }
        for bad in ["", "0123456789abcdefg", "a b", "a\"", "é", "a\0", "a\n"] {
            assert_eq!(bad.parse::<NetworkName>(), Err(ParseNetworkNameError), "{bad:?}");
        }
    }
}
