//! The local manifest file: the seed's text, `<64 hex>$<size>|` for each block in order, on one line.

use thiserror::Error;

use super::ManifestEntry;
use crate::config::MAX_BLOCK_SIZE;
use crate::id::Key;

/// Text that is no local manifest.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("block {block} of the list {problem}")]
pub struct TextError {
    /// The number of the block in the list, from 1.
    pub block: usize,
    /// What is wrong with that block's entry.
    pub problem: &'static str,
}

/// The text of one block's entry.
pub fn write_entry(entry: &ManifestEntry) -> String {
    format!("{}${}|", entry.key, entry.size)
}

/// Reads a list; the empty file has an empty one.
///
/// # Errors
/// [`TextError`] names the first block that is not as it should be.
pub fn parse(text: &str) -> Result<Vec<ManifestEntry>, TextError> {
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let error = |block, problem| TextError { block, problem };
    let list = text.strip_suffix('|').ok_or_else(|| error(text.split('|').count(), "does not end with '|'"))?;
    let items = list.split('|').zip(1..);
    items.map(|(item, block)| parse_entry(item).map_err(|problem| error(block, problem))).collect()
}

fn parse_entry(item: &str) -> Result<ManifestEntry, &'static str> {
    let (key, size) = item.split_once('$').ok_or("has no '$' between its key and its size")?;
    let key: Key = key.parse().map_err(|_| "does not begin with 64 hexadecimal digits")?;
    let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
    let size: u64 = size.parse().ok().filter(|_| digits).ok_or("has a size that is no number")?;
    if size > MAX_BLOCK_SIZE.into() {
        return Err("is larger than a block can be (1048576 bytes)");
    }
    Ok(ManifestEntry { key, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        let list: Vec<_> =
            (0..5).map(|n: u64| ManifestEntry { key: Key::of(&n.to_le_bytes()), size: n * 1000 }).collect();
        let text: String = list.iter().map(write_entry).collect();
        assert_eq!(parse(&text), Ok(list.clone()));
        assert_eq!(parse(&format!("{text}\r\n")), Ok(list), "an editor may end the line");
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn a_broken_list_is_refused_with_the_place_that_is_wrong() {
        let good = write_entry(&ManifestEntry { key: Key::of(b"x"), size: 7 });
        let key = Key::of(b"x");
        for bad in
            ["|", "x$1|", &format!("{key}$|"), &format!("{key}$+7|"), &format!("{key}7|"), &format!("{key}$1048577|")]
        {
            assert_eq!(parse(&format!("{good}{bad}")).map_err(|error| error.block), Err(2), "{bad}");
        }
        assert_eq!(parse(&good[..good.len() - 1]).map_err(|error| error.block), Err(1), "cut off");
        assert_eq!(parse("report.pdf is not a manifest").map_err(|error| error.block), Err(1));
    }

    #[test]
    fn a_list_cut_anywhere_but_between_blocks_is_refused() {
        let text: String = (1..4).map(|size| write_entry(&ManifestEntry { key: Key::of(b"x"), size })).collect();
        for at in 1..text.len() {
            assert_eq!(parse(&text[..at]).is_ok(), text[..at].ends_with('|'), "cut at {at}");
        }
        assert!(parse(&format!("é{text}")).is_err() && parse(&"|".repeat(1 << 20)).is_err());
    }
}
