use modelgate::predictions::frame::{Cause, Gap, Kind};
use modelgate::predictions::{Assignment, Role};
use modelgate::types::Code;
use serde_json::{Value, json};

use crate::world::{Running, World};

/// The request ids of lines of JSON; the kind of record where it has none.
fn ids(text: &str) -> Vec<String> {
    let id = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        let id =
            if value["request_id"].is_null() { &value["record"] } else { &value["request_id"] };
        id.as_str().expect("a text").to_owned()
    };
    text.lines().map(id).collect()
}

#[test]
fn the_last_records_of_all_shards_come_in_the_order_of_time() {
    let world = World::new();
    let mut old = world.segment(0, 0);
    (0..5).for_each(|at| old.predict(at, &format!("old-{at}"), |_| {}));
    let next = old.next;
    old.seal();
    let mut zero = world.segment(0, next);
    zero.predict(10, "a", |_| {});
    zero.predict(30, "c", |_| {});
    let mut one = world.segment(1, 0);
    one.predict(20, "b", |_| {});
    one.label(40, "a");
    let shown = |count: &str| ids(&world.run(&["tail", "-n", count, "-o", "json"]).stdout);
    assert_eq!(shown("2"), ["c", "a"]);
    assert_eq!(shown("4"), ["a", "b", "c", "a"]);
    assert_eq!(shown("6"), ["old-3", "old-4", "a", "b", "c", "a"]);
    assert_eq!(shown("100").len(), 9);
    assert!(shown("0").is_empty());
}

#[test]
fn a_line_tells_what_happened_and_json_all_of_it() {
    let world = World::new();
    let schema = world.schema();
    let mut segment = world.segment(0, 41);
    segment.predict(1, "r-1", |head| {
        head.schema = schema;
        head.route = "checkout";
        head.revision = 9;
        head.role = Role::Fallback;
        head.assignment = Assignment::Split;
        head.bucket = Some(7);
        head.unit = Some([1; 16]);
    });
    segment.predict(2, "r-2\n\u{1b}[31m", |head| {
        head.code = Some(Code::ResourceExhausted);
        head.reason = "queue_full";
        head.variant = b"";
    });
    segment.label(3, "r-1");
    segment.gap(Gap { count: 4, cause: Cause::Refused });
    let text = world.run(&["tail"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "2026-11-21T12:00:01.000000Z  fraud/3  champion  fallback  ok  r-1  rows 1  250 us",
        "2026-11-21T12:00:02.000000Z  fraud/3  -  primary  resource_exhausted  r-2  [31m  rows 1  250 us  queue_full",
        "2026-11-21T12:00:03.000000Z  label  r-1  row 0  class good",
        "2026-11-21T12:00:03.000000Z  gap  4 missing: refused  shard 0, 44 to 47",
    ];
    assert_eq!(lines, expected);
    let text = world.run(&["tail", "-o", "json"]).stdout;
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (key, value) in [
        ("event_time", json!("2026-11-21T12:00:01.000000Z")),
        ("route_revision", json!(9)),
        ("assignment", json!("split")),
        ("propensity", json!(0.05)),
        ("bucket", json!(7)),
        ("unit_hash", json!("01".repeat(16))),
        ("sequence", json!(41)),
        ("epoch", json!(77)),
        ("inputs", json!({"x": [{"amount": 0.1, "user": "ab".repeat(16)}]})),
        ("outputs", json!({"score": {"shape": [1, 1], "datatype": "FP32", "data": [0.75]}})),
    ] {
        assert_eq!(lines[0][key], value, "{key}");
    }
    assert_eq!(lines[2]["class"], "good");
    assert_eq!((&lines[3]["cause"], &lines[3]["count"]), (&json!("refused"), &json!(4)));
}

#[test]
fn filters_leave_out_what_does_not_fit() {
    let world = World::new();
    let mut segment = world.segment(0, 0);
    segment.predict(1, "a", |_| {});
    segment.predict(2, "b", |head| head.model = "churn");
    segment.predict(3, "c", |head| head.code = Some(Code::Internal));
    segment.label(4, "a");
    let shown = |flags: &[&str]| ids(&world.run(&[&["tail", "-o", "json"], flags].concat()).stdout);
    assert_eq!(shown(&["--model", "churn"]), ["b"]);
    assert_eq!(shown(&["--id", "a"]), ["a", "a"]);
    assert_eq!(shown(&["--code", "internal"]), ["c"]);
    assert_eq!(shown(&["--code", "ok", "-n", "1"]), ["b"]);
    assert_eq!(shown(&["--since", "2026-11-21T12:00:03Z"]), ["c", "a"]);
    assert_eq!(shown(&["--until", "2026-11-21T12:00:02Z"]), ["a"]);
}

/// New records, a roll-over, a shard that begins late, and a segment that the
/// archive takes as soon as it is sealed.
#[test]
fn following_shows_what_is_written() {
    let world = World::new();
    let mut segment = world.segment(0, 0);
    segment.predict(1, "first", |_| {});
    let mut tail = Running::start(world.command(&["tail", "-f", "-o", "json"]));
    assert_eq!(ids(&tail.line()), ["first"]);
    segment.predict(2, "second", |_| {});
    assert_eq!(ids(&tail.line()), ["second"]);
    let mut other = world.segment(1, 0);
    other.predict(3, "other", |_| {});
    assert_eq!(ids(&tail.line()), ["other"]);
    segment.predict(4, "last of it", |_| {});
    let next = segment.next;
    std::fs::remove_file(segment.seal()).expect("archived");
    assert_eq!(ids(&tail.line()), ["last of it"]);
    let mut segment = world.segment(0, next);
    segment.predict(5, "rolled over", |_| {});
    assert_eq!(ids(&tail.line()), ["rolled over"]);
    let sealed = segment.seal();
    let mut segment = world.segment(0, next + 1);
    segment.predict(6, "once more", |_| {});
    assert_eq!(ids(&tail.line()), ["once more"]);
    assert!(sealed.exists());
}

#[test]
fn garbage_is_noted_and_passed_over() {
    let world = World::new();
    let mut segment = world.segment(0, 0);
    segment.predict(1, "a", |_| {});
    segment.write(&[0xEE; 64]);
    segment.append(Kind::Prediction, 1, b"no prediction");
    segment.predict(2, "b", |_| {});
    segment.write(&[0xEE; 16]);
    segment.seal();
    std::fs::create_dir_all(world.root().join("raw/noise")).expect("a folder");
    std::fs::write(world.root().join("raw/000/00000000000000000099.seg"), "short").expect("a file");
    let ended = world.run(&["tail", "-o", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ids(&ended.stdout), ["a", "b"]);
    assert!(
        ended.stderr.contains("shard 0, segment 0: 64 bytes are no record"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("sequence 1: a record that cannot be read"), "{}", ended.stderr);
}

#[test]
fn a_folder_without_a_log_is_told() {
    let world = World::new();
    std::fs::remove_dir_all(world.root()).expect("removed");
    let ended = world.run(&["tail"]);
    assert!(ended.code != 0 && ended.stderr.contains("no prediction log"), "{}", ended.stderr);
}
