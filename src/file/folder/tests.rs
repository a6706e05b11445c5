//! What a listing promises, a forged one too.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

const HEAD: &str = "{\"kind\":\"listing\",\"version\":1}\n";

fn file(path: &str, content: &[u8], place: FileBytes) -> Item {
    let (size, sha256) = (content.len() as u64, Id::of(content));
    Item { path: path.into(), kind: ItemKind::File(Content { size, executable: false, sha256, place }) }
}

fn write(items: &[Item]) -> String {
    let (mut writer, mut text) = ListingWriter::begin();
    items.iter().for_each(|item| text.push_str(&writer.item(item)));
    text
}

fn read(text: &str) -> Result<(Vec<Item>, u64), ListingError> {
    let (mut reader, mut items) = (ListingReader::default(), Vec::new());
    for line in text.lines() {
        items.extend(reader.line(line.as_bytes())?);
    }
    Ok((items, reader.end()?))
}

/// A tree with everything that there can be in one.
fn tree() -> Vec<Item> {
    let pack = Id::of(b"a pack");
    let packed = |offset| FileBytes::Packed { pack, size: 15 + 7, offset };
    let odd = OsString::from_vec(b"z\n\xff\x1b[2J".to_vec());
    let mut script = file("a/run.sh", b"four", packed(15));
    if let ItemKind::File(content) = &mut script.kind {
        content.executable = true;
    }
    vec![
        Item { path: "a".into(), kind: ItemKind::Folder },
        Item { path: "a/b".into(), kind: ItemKind::Folder },
        file("a/empty", b"", FileBytes::Nowhere),
        script,
        file("a/video", &[7; 100], FileBytes::Own(Id::of(b"a root"))),
        file("a.txt", b"abc", packed(19)),
        Item { path: odd.into(), kind: ItemKind::Link { target: OsString::from_vec(vec![0xfe]).into() } },
    ]
}

#[test]
fn a_tree_reads_back_as_it_was_written_whatever_its_names() {
    let text = write(&tree());
    assert!(text.starts_with(HEAD));
    assert_eq!(text.matches("\"kind\":\"pack\"").count(), 1, "a pack is named once: {text}");
    assert_eq!(read(&text), Ok((tree(), 4 + 100 + 3)));
    assert_eq!(read(HEAD), Ok((Vec::new(), 0)), "a folder may be empty");
    assert!(tree().windows(2).all(|two| order(&two[0].path).lt(order(&two[1].path))));
}

#[test]
fn a_listing_that_is_cut_off_is_refused() {
    let text = write(&tree());
    assert!(read("").is_err());
    let pack_ends = text.find("\"path\":\"a.txt\"").expect("it is in a pack");
    let packed = text.find("\"kind\":\"pack\"").expect("there is one");
    for (at, _) in text.match_indices('\n').filter(|(at, _)| (packed..pack_ends).contains(at)) {
        assert!(read(&text[..=at]).is_err(), "the pack has bytes of no file, cut at {at}");
    }
    for at in 1..HEAD.len() - 1 {
        assert!(read(&text[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn no_path_leads_out_of_the_folder_or_through_anything_but_folders() {
    let folder = |path: &str| format!("{{\"kind\":\"folder\",\"path\":{path:?}}}\n");
    let long = "n".repeat(256);
    let deep = "d/".repeat(3000) + "d";
    for path in ["", "/", "/etc", "..", "../x", "a/..", "./a", ".", "a//b", "a/", "a/./b", "\0", "a\0", &long, &deep] {
        let path = path.replace('\0', "\\u0000");
        let text =
            format!("{HEAD}{{\"kind\":\"folder\",\"path\":\"a\"}}\n{{\"kind\":\"folder\",\"path\":\"{path}\"}}\n");
        assert!(read(&text).is_err(), "{path:?}");
    }
    let link = "{\"kind\":\"link\",\"path\":\"a\",\"target\":\"/etc\"}\n";
    let empty = format!("{{\"kind\":\"file\",\"path\":\"a\",\"size\":0,\"sha256\":\"{}\"}}\n", Id::of(b""));
    for above in [link, &empty, "", &folder("b")] {
        assert!(read(&format!("{HEAD}{above}{}", folder("a/passwd"))).is_err(), "below {above:?}");
    }
    for twice in [folder("a"), link.to_owned(), empty.clone()] {
        assert!(read(&format!("{HEAD}{}{twice}", folder("a"))).is_err(), "two of one name: {twice}");
    }
    assert!(read(&format!("{HEAD}{}{}", folder("b"), folder("a"))).is_err(), "not in order");
    assert!(read(&format!("{HEAD}{}{}{}", folder("a"), folder("a/b"), folder("c"))).is_ok());
    assert!(read(&format!("{HEAD}{}{}{}", folder("a"), folder("a.c"), folder("a/b"))).is_err(), "left before");
}

#[test]
fn sizes_that_cannot_be_and_bytes_of_nowhere_are_refused() {
    let sha256 = Id::of(b"x");
    let pack = |size: u64| format!("{{\"kind\":\"pack\",\"key\":\"{sha256}\",\"size\":{size}}}\n");
    let file = |path: &str, size: u64| {
        format!("{{\"kind\":\"file\",\"path\":\"{path}\",\"size\":{size},\"sha256\":\"{sha256}\"}}\n")
    };
    let own = |path: &str, size: u64| file(path, size).replace('}', &format!(",\"key\":\"{sha256}\"}}"));
    assert!(read(&format!("{HEAD}{}{}{}", pack(15 + 3), file("a", 1), file("b", 2))).is_ok());
    assert!(read(&format!("{HEAD}{}", own("a", 10 << 30))).is_ok(), "a large file may be so large");
    for wrong in [
        file("a", 1),
        pack(15) + &file("a", 1),
        pack(1 << 21) + &file("a", 1),
        pack(u64::MAX) + &file("a", 1),
        pack(15 + 3) + &file("a", 4),
        pack(15 + 3) + &file("a", 10 << 30),
        pack(15 + 3) + &file("a", 1),
        pack(15 + 3) + &file("a", 1) + &pack(15 + 3) + &file("b", 3),
        file("a", 0),
        own("a", 0),
        own("a", u64::MAX) + &own("b", 1),
        HEAD.to_owned(),
        HEAD.replace('1', "2"),
        "\n".to_owned(),
        "{}\n".to_owned(),
        own("a", 1).replace("\"size\"", "\"mode\":4095,\"size\""),
        "{\"kind\":\"link\",\"path\":\"a\",\"target\":\"\"}\n".to_owned(),
        "{\"kind\":\"link\",\"path\":\"a\",\"target\":\"\\u0000\"}\n".to_owned(),
    ] {
        assert!(read(&(HEAD.to_owned() + &wrong)).is_err(), "{wrong}");
    }
    let error = read(&(HEAD.to_owned() + &file("a", 1))).unwrap_err();
    assert_eq!(error.to_string(), "line 2 of the folder's listing tells of a file whose bytes are nowhere");
}
