//! The name of a named file: four digits, which also say where the file belongs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::Id;

/// A file of the classroom ring: a number of four digits. Its key is the number modulo 256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(u16);

/// A name that is not exactly four digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a file's name is exactly four digits, 0000 to 9999")]
pub struct ParseFileNameError;

impl FileName {
    /// Where the file belongs on the circle of 256 ids.
    pub const fn key(self) -> Id {
        Id::from_u64((self.0 % 256) as u64)
    }
}

impl FromStr for FileName {
    type Err = ParseFileNameError;

    fn from_str(text: &str) -> Result<Self, ParseFileNameError> {
        if text.len() != 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseFileNameError);
        }
        text.parse().map(Self).map_err(|_| ParseFileNameError)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

impl TryFrom<String> for FileName {
    type Error = ParseFileNameError;

    fn try_from(text: String) -> Result<Self, ParseFileNameError> {
        text.parse()
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_exactly_four_digits() {
        for (name, key) in [("2067", 19), ("4103", 7), ("0000", 0), ("0159", 159), ("9999", 15)] {
            let file: FileName = name.parse().unwrap();
            assert_eq!((file.to_string().as_str(), file.key()), (name, Id::from_u64(key)));
        }
        for bad in ["", "a912", "32134", "123", "../x", "+123", "-001", " 123", "12 4", "１２３４"] {
            assert_eq!(bad.parse::<FileName>(), Err(ParseFileNameError), "{bad:?}");
        }
    }
}
