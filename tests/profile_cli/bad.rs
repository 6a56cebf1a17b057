use std::fs::{self, File};

use crate::world::{World, rows};

#[test]
fn data_that_is_none_is_refused() {
    let world = World::new();
    world.csv("good.csv", &rows(1200, 1, 0.0));
    world.parquet("good.parquet", &rows(1200, 1, 0.0));
    let parquet = fs::read(world.path("good.parquet")).expect("a file");
    world.write("cut.parquet", &parquet[..parquet.len() / 2]);
    world.write("empty.csv", "");
    world.write("header.csv", "a,b\n");
    world.write("ragged.csv", "a,b\n1,2\n1,2,3\n");
    world.write("latin.csv", b"a,b\n1,caf\xe9\n");
    world.write("twice.csv", "a,a\n1,2\n");
    world.write("few.csv", "a,b\n".to_owned() + &"1,2\n3,4\n".repeat(300));
    world.write("nan.csv", "a,b\n".to_owned() + &"NaN,1\n,2\n".repeat(600));
    world.write("endless.csv", "a,b\n\"".to_owned() + &"x".repeat(17 << 20));
    let cases: [(&str, &[&str]); 10] = [
        ("none.csv", &["none.csv"]),
        ("empty.csv", &["empty.csv", "expected Parquet, or CSV with a header", "an empty file"]),
        ("header.csv", &["expected rows, found a header alone"]),
        ("ragged.csv", &["expected 2 fields in every line", "3 in line 3", "quote"]),
        ("latin.csv", &["UTF-8", "line 2, field 2", "iconv"]),
        ("twice.csv", &["two of the name 'a'"]),
        ("few.csv", &["'a'", "at least 1000", "found 600", "--min-reference-rows"]),
        ("nan.csv", &["'a' has no values", "leave the column out"]),
        ("cut.parquet", &["expected a whole Parquet file", "cut short"]),
        ("endless.csv", &["a row of more than 16777216 bytes", "quote left open"]),
    ];
    for (name, parts) in cases {
        world.refused(&["build", "--data", name], 1, parts);
        assert!(!world.path("profile.json").exists(), "{name}");
    }
    world.done(&["build", "--data", "few.csv", "--min-reference-rows", "500"]);
    world.refused(&["score", "profile.json", "--data", "header.csv"], 1, &["expected rows"]);
    let parts = ["a column 'a'", "a column 'b'", "there are: "];
    world.refused(&["score", "profile.json", "--data", "good.csv"], 1, &parts);
}

#[test]
fn flags_that_mean_nothing_are_refused() {
    let world = World::new();
    world.csv("good.csv", &rows(1200, 1, 0.0));
    let cases: [(&[&str], i32, &[&str]); 8] = [
        (&["--time", "when"], 1, &["a column 'when'", "there are: age"]),
        (&["--time", "plan"], 1, &["--time", "2026-11-21"]),
        (&["--score", "scores"], 1, &["did you mean 'score'?"]),
        (&["--label", "label"], 1, &["--label", "--prediction or --score"]),
        (&["--label", "plan", "--prediction", "prediction"], 1, &["both", "texts"]),
        (&["--label", "label", "--score", "age"], 1, &["probabilities from 0 to 1"]),
        (&["--kind", "age=number"], 2, &["no kind 'number'"]),
        (&["--bins", "25"], 2, &["2 to 24"]),
    ];
    for (flags, code, parts) in cases {
        world.refused(&[&["build", "--data", "good.csv"], flags].concat(), code, parts);
    }
}

#[test]
fn profiles_that_are_none_are_invalid() {
    let world = World::new();
    world.csv("good.csv", &rows(1200, 1, 0.0));
    world.built(&["--data", "good.csv"]);
    let good = fs::read_to_string(world.path("built.json")).expect("a file");
    let checked = world.done(&["check", "built.json"]).stdout;
    assert!(checked.ends_with("valid\n") && checked.contains("age"), "{checked}");
    world.write("wrong.json", good.replacen("\"missing\":", "\"misssing\":", 1));
    world.write("text.json", "age,doors\n");
    world.write("other.json", good.replace("profile/v1", "profile/v9"));
    // Without a byte on the disk; nobody reads it to its end.
    File::create(world.path("huge.json")).and_then(|file| file.set_len(1 << 30)).expect("a file");
    let cases: [(&str, &[&str]); 5] = [
        ("wrong.json", &["wrong.json", "inputs[0]", "misssing"]),
        ("text.json", &["not a profile"]),
        ("other.json", &["schema: expected modelgate.drift.profile/v1"]),
        ("huge.json", &["at most 4194304 bytes", "found more"]),
        ("none.json", &["none.json"]),
    ];
    for (name, parts) in cases {
        world.refused(&["check", name], 3, parts);
        world.refused(&["score", name, "--data", "good.csv"], 3, parts);
        world.refused(&["diff", "built.json", name], 3, parts);
    }
}
