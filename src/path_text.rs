//! Paths in JSON: text, or an array of the bytes where they are no UTF-8, so that every name comes back as it was.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Takes either form.
struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = PathBuf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path, as text or as an array of its bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PathBuf, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, bytes: A) -> Result<PathBuf, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(bytes)).map(|bytes| OsString::from_vec(bytes).into())
    }
}

/// For a field's `serde(with)`.
pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => text.serialize(to),
        None => path.as_os_str().as_bytes().serialize(to),
    }
}

/// For a field's `serde(with)`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    from.deserialize_any(EitherForm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct Named(#[serde(with = "super")] PathBuf);

    #[test]
    fn every_name_comes_back_as_it_was() {
        for (bytes, text) in [(&b"a \"b\".pdf"[..], r#""a \"b\".pdf""#), (b"\xff\n", "[255,10]"), (b"", r#""""#)] {
            let path = Named(OsString::from_vec(bytes.to_vec()).into());
            let written = serde_json::to_string(&path).unwrap();
            assert_eq!(written, text);
            assert_eq!(serde_json::from_str::<Named>(&written).unwrap(), path);
        }
    }
}
