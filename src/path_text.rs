//! Paths in JSON: text, or an array of the bytes where they are no UTF-8, so that every name comes back as it was.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Either form.
#[derive(Deserialize)]
#[serde(untagged)]
enum PathForm {
    Text(String),
    Bytes(Vec<u8>),
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
    Ok(match PathForm::deserialize(from)? {
        PathForm::Text(text) => text.into(),
        PathForm::Bytes(bytes) => OsString::from_vec(bytes).into(),
    })
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
