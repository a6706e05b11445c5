//! What stands in the page, without a browser.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use data_encoding::BASE64;
use flate2::read::DeflateDecoder;
use serde_json::Value;

use super::runs::{RUNS, Workplace};

/// The data of a page.
pub(crate) fn unpack(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"data\">").expect("the page has data");
    let (packed, _) = rest.split_once('<').expect("they end");
    let packed = BASE64.decode(packed.as_bytes()).expect("they are base64");
    let mut text = String::new();
    DeflateDecoder::new(&packed[..]).read_to_string(&mut text).expect("they are packed text");
    serde_json::from_str(&text).expect("they are JSON")
}

/// The moments of a page, of which each arrow must have both ends and go forward.
#[track_caller]
fn check_arrows(data: &Value) -> usize {
    let moments = data["moments"].as_array().expect("a list");
    let peers = data["peers"].as_array().expect("a list");
    let mut arrows = 0;
    for (number, moment) in moments.iter().enumerate() {
        let Some(cause) = moment["cause"].as_u64() else { continue };
        let cause = usize::try_from(cause).expect("it is small");
        assert!(cause < number, "moment {number} came of the later moment {cause}");
        let before = &moments[cause];
        assert!(before["at"].as_i64() <= moment["at"].as_i64(), "{before} {moment}");
        assert!(before["row"].as_u64() < moment["row"].as_u64(), "{before} {moment}");
        if let Some(message) = moment["record"]["event"].get("Message") {
            let sender = &peers[before["peer"].as_u64().expect("a number") as usize];
            assert_eq!(sender["addr"], message["from"], "moment {number}");
            assert!(before["at"].as_i64() < moment["at"].as_i64(), "moment {number} came at once");
            arrows += 1;
        }
    }
    arrows
}

#[test]
fn a_page_holds_all_that_it_shows_asks_no_network_and_each_arrow_has_both_ends_and_goes_forward() {
    let place = Workplace::new();
    for run in RUNS {
        place.record(run, "storm.jsonl");
        place.kadring("trace storm.jsonl --html page.html");
        let page = place.read("page.html");
        assert!(page.len() < 1 << 20, "{} bytes", page.len());
        for fetch in ["http://", "https://", "src=", "href=", "url(//", "import ", "fetch(", "XMLHttp"] {
            assert!(!page.contains(fetch), "{fetch}");
        }
        assert!(page.contains("default-src 'none'"), "the browser is told to ask nobody");
        let mode = fs::metadata(place.path("page.html")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "others read it no more than the records");
        let data = unpack(&page);
        assert!(check_arrows(&data) > 500);
        let lines = place.read("storm.jsonl");
        let moments: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let moments: Vec<&Value> = moments.iter().filter(|line| line.get("event").is_some()).collect();
        let shown = data["moments"].as_array().expect("a list");
        assert_eq!(shown.len(), moments.len(), "every moment is there");
        let count = |records: Vec<&Value>| records.iter().map(|record| record.to_string()).collect::<BTreeSet<_>>();
        assert!(count(shown.iter().map(|moment| &moment["record"]).collect()) == count(moments), "as it was recorded");
    }
}

#[test]
fn one_request_is_shown_alone_with_what_the_peers_knew_before() {
    let place = Workplace::new();
    place.record("--seed 2 --peers 3 --faults 0", "storm.jsonl");
    place.kadring("trace storm.jsonl --only 0 --html page.html");
    let data = unpack(&place.read("page.html"));
    let moments = data["moments"].as_array().expect("a list");
    assert!(moments.len() > 10 && moments.len() < 100, "{}", moments.len());
    assert!(check_arrows(&data) > 5);
    assert!(moments[0]["say"].as_str().is_some_and(|say| say.starts_with("command 0: store")));
    assert_eq!(data["start"], moments.len() - 1, "the end is looked at first");
    let changes = data["changes"].as_array().expect("a list");
    let at_first = |change: &str| changes.iter().filter(|it| it["moment"] == 0 && it["change"] == change).count();
    assert_eq!((at_first("starts"), at_first("meets")), (3, 6), "three peers run and know one another");
    let kept = |moment: usize| changes.iter().filter(|it| it["change"] == "keeps" && it["moment"] == moment).count();
    assert!((1..moments.len()).map(kept).sum::<usize>() >= 6, "two blocks are kept by three peers");
}

#[test]
fn of_two_records_the_one_that_cannot_be_read_is_left_out_and_named() {
    let place = Workplace::new();
    place.record("--seed 2 --peers 3 --faults 0", "good.jsonl");
    let text = place.read("good.jsonl");
    place.write("old.jsonl", &text.replacen("\"kadring_record\":", "\"kadring_record\":1", 1));
    place.write("cut.jsonl", &text[..text.len() / 2]);
    let out = place.kadring("trace good.jsonl old.jsonl --only 0");
    assert!(out.contains("left out: old.jsonl: this record is of version 1"), "{out}");
    place.kadring("trace cut.jsonl --html page.html");
    let complaints = &unpack(&place.read("page.html"))["complaints"];
    assert!(complaints[0].as_str().is_some_and(|text| text.contains("in the middle of a line")), "{complaints}");
    let refused = place.run("trace old.jsonl");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("version 1"));
}
