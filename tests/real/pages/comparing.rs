//! Two runs side by side, and patterns of messages.

use super::data::unpack;
use super::runs::Workplace;

/// What a saboteur does to this run is marked.
const SOUND: &str = "--seed 0 --peers 10 --faults 8 --only none";

#[test]
fn two_equal_runs_do_not_differ_and_a_saboteur_s_does_from_where_it_begins() {
    let place = Workplace::new();
    place.record(SOUND, "good.jsonl");
    let same = place.kadring("trace good.jsonl --diff good.jsonl");
    assert!(
        same.contains("0 of them at different points; 0 only in the first (<), 0 only in the second (>)"),
        "{same}"
    );
    // The broken run fails a check, which ends the program otherwise than well.
    place.run(&format!("sim --storm --saboteur lost-tick {SOUND} --record bad.jsonl"));
    let differs = place.kadring("trace good.jsonl --diff bad.jsonl");
    assert!(differs.contains(" moments after the end of the other run") && differs.lines().count() < 100, "{differs}");
    let first = differs.lines().find(|line| line.get(24..25) == Some("<")).expect("something differs");
    assert!(
        first.split_whitespace().next().and_then(|at| at.parse().ok()).is_some_and(|at: u64| at > 1_000_000),
        "{first}"
    );

    place.kadring("trace good.jsonl --diff bad.jsonl --html page.html");
    let data = unpack(&place.read("page.html"));
    let moments = data["moments"].as_array().expect("a list");
    let runs: Vec<u64> =
        data["peers"].as_array().expect("a list").iter().filter_map(|peer| peer["run"].as_u64()).collect();
    let run = |moment: &serde_json::Value| runs[moment["peer"].as_u64().expect("a number") as usize];
    let mut shared = 0;
    for (number, moment) in moments.iter().enumerate() {
        if let Some(cause) = moment["cause"].as_u64().map(|cause| &moments[cause as usize]) {
            assert!(run(cause) == run(moment) && cause["row"].as_u64() < moment["row"].as_u64(), "{cause} {moment}");
        }
        let twin = number.checked_sub(1).map(|before| &moments[before]).filter(|before| before["row"] == moment["row"]);
        shared += usize::from(twin.is_some_and(|twin| run(twin) != run(moment)));
    }
    let differ = moments.iter().filter(|moment| moment["differs"] == true).count();
    assert!(shared > 10 && differ > 10, "{shared} rows are shared, {differ} moments differ");
    assert_eq!(moments[data["start"].as_u64().expect("a number") as usize]["differs"], true);
}

#[test]
fn a_pattern_finds_messages_that_came_of_one_another_and_unknown_words_get_the_list() {
    let place = Workplace::new();
    place.record("--seed 2 --peers 3 --faults 0", "three.jsonl");
    let times = |pattern: &str| {
        let output = place.run_words(&["trace", "three.jsonl", "--find", pattern]);
        let text = String::from_utf8(output.stdout).expect("text");
        let count = text.lines().next().and_then(|line| line.split(' ').rev().nth(1)?.parse::<usize>().ok());
        (count.unwrap_or_else(|| panic!("{pattern}: {text}")), text)
    };
    // Nothing is lost here, so each question that came is answered.
    let (questions, _) = times("find_node");
    let (answers, _) = times("find_node nodes");
    assert!(questions > 10 && answers == questions, "{questions} {answers}");
    let (copies, text) = times("nodes store stored");
    assert!(copies > 0 && text.contains("store") && times("nodes … saved").0 >= copies, "{text}");
    assert_eq!(times("saved store").0, 0, "nothing is offered because of an earlier copy");
    assert!(times("saved store").1.contains("none of the"), "so there is nothing to draw");
    let unknown = place.run_words(&["trace", "three.jsonl", "--find", "find_node nowhere"]);
    let error = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(2), "{error}");
    assert!(error.contains("'nowhere'") && error.contains("find_node, ") && error.contains("tick"), "{error}");
}
