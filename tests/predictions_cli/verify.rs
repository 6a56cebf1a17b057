use std::fs;

use modelgate::predictions::frame::{Cause, Gap};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::stats::predictions;
use crate::world::{Ended, World};

fn verify(world: &World) -> (i32, Value) {
    let Ended { code, stdout, stderr } = world.run(&["verify", "-o", "json"]);
    (code, serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}")))
}

fn lines(world: &World, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(world.root().join("archive.jsonl"), text).expect("written");
}

#[test]
fn every_number_is_a_record_or_a_gap() {
    let world = World::new();
    let mut first = world.segment(0, 0);
    first.predict(1, "a", |_| {});
    first.label(2, "a");
    first.gap(Gap { count: 3, cause: Cause::Refused });
    let next = first.next;
    first.seal();
    let mut second = world.segment(0, next);
    second.predict(3, "b", |_| {});
    let (code, found) = verify(&world);
    assert_eq!((code, &found["complete"]), (0, &json!(true)), "{found:#}");
    let shard = &found["segments"]["shards"][0];
    assert_eq!((&shard["first"], &shard["next"]), (&json!(0), &json!(6)));
    assert_eq!((&shard["raw_records"], &shard["gaps"]), (&json!(3), &json!({"refused": 3})));
    assert!(world.run(&["verify"]).stdout.ends_with("\ncomplete\n"));

    // Two numbers that nothing tells of.
    let mut third = world.segment(0, 8);
    third.predict(4, "c", |_| {});
    let ended = world.run(&["verify"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("2: 6..8"), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("\nNOT complete\n"), "{}", ended.stdout);
}

#[test]
fn files_are_what_their_accounts_say() {
    let world = World::new();
    predictions(&world, 3, 12, &[(Some("champion"), "ok"); 5]);
    let path = "parquet/predictions/model=fraud/version=3/date=2026-11-21/hour=12/a.parquet";
    let place = world.root().join(path);
    let bytes = fs::read(&place).expect("a file");
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = |rows: u64, sha256: &str| json!({"path": path, "rows": rows, "bytes": bytes.len(), "sha256": sha256});
    let account = |file: &Value| {
        json!({"shard": 0, "epoch": 1, "first": 0, "next": 6, "records": 5,
            "gaps": [[2, 1, "torn"]], "predictions": 5, "labels": 0, "files": [file]})
    };
    let problem = |expected: &str| {
        let (code, found) = verify(&world);
        assert_eq!((code, &found["complete"]), (1, &json!(false)), "{found:#}");
        let problem = found["files"]["problems"][0]["problem"].as_str().expect("a problem");
        assert!(problem.contains(expected), "{problem}");
    };
    lines(&world, &[account(&file(5, &digest))]);
    let (code, found) = verify(&world);
    assert_eq!(code, 0, "{found:#}");
    assert_eq!((&found["files"]["checked"], &found["files"]["rows"]), (&json!(1), &json!(5)));
    assert_eq!(found["segments"]["shards"][0]["archived_records"], 5);

    lines(&world, &[account(&file(6, &digest))]);
    problem("5 rows, not 6");
    lines(&world, &[account(&file(5, &"0".repeat(64)))]);
    problem("digest");
    assert_eq!(world.run(&["verify", "--quick"]).code, 0);
    // Rows that were deleted on request, and files that got too old, are no loss.
    let changed = json!({"path": path, "rows": 6, "cause": "deleted", "now": file(5, &digest)});
    lines(&world, &[account(&file(6, "")), changed.clone()]);
    assert_eq!(verify(&world).1["files"]["removed"], json!({"deleted": 1}));
    fs::remove_file(&place).expect("removed");
    lines(&world, &[account(&file(6, "")), changed.clone()]);
    problem("not there");
    let aged = json!({"path": path, "rows": 5, "cause": "age"});
    lines(&world, &[account(&file(6, "")), changed, aged]);
    let (code, found) = verify(&world);
    assert_eq!((code, &found["files"]["removed"]), (0, &json!({"deleted": 1, "age": 5})));
}
