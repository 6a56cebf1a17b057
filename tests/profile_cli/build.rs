use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::world::{Row, World, rows};

const OUTPUTS: [&str; 8] =
    ["--time", "at", "--label", "label", "--prediction", "prediction", "--score", "score"];

fn column<'a>(profile: &'a Value, name: &str) -> &'a Value {
    let columns = ["inputs", "outputs"].iter().flat_map(|face| profile[*face].as_array());
    let mut columns = columns.flatten();
    columns.find(|column| column["name"] == name).unwrap_or_else(|| panic!("no {name}: {profile}"))
}

/// Counts between quantiles, found by sorting.
fn plainly(values: &[f64]) -> (Vec<f64>, Vec<u64>) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = (1..10)
        .map(|tenth| sorted[(sorted.len() as f64 * f64::from(tenth) / 10.0).ceil() as usize - 1])
        .collect();
    edges.dedup();
    let mut counts = vec![0; edges.len() + 1];
    values.iter().for_each(|value| counts[edges.iter().filter(|edge| *edge <= value).count()] += 1);
    (edges, counts)
}

fn assert_counted(profile: &Value, rows: &[Row]) {
    let ages: Vec<f64> = rows.iter().filter_map(|row| row.age).collect();
    let (edges, counts) = plainly(&ages);
    let age = column(profile, "age");
    assert_eq!((&age["kind"], &age["edges"]), (&json!("numeric"), &json!(edges)));
    assert_eq!(
        (&age["counts"], &age["missing"]),
        (&json!(counts), &json!(rows.len() - ages.len()))
    );
    let mean = ages.iter().sum::<f64>() / ages.len() as f64;
    assert!((age["mean"].as_f64().expect("a number") - mean).abs() < 1e-9);

    let of = |value: fn(&Row) -> String| {
        let mut counts = BTreeMap::new();
        rows.iter().for_each(|row| *counts.entry(value(row)).or_insert(0u64) += 1);
        counts
    };
    let doors = of(|row| row.doors.to_string());
    let own = column(profile, "doors");
    assert_eq!((&own["kind"], &own["values"]), (&json!("values"), &json!([2.0, 3.0, 4.0, 5.0])));
    assert_eq!(own["counts"], json!(doors.values().collect::<Vec<_>>()));

    let plans = of(|row| row.plan.clone());
    let own = column(profile, "plan");
    let named = ["basic", "plus, \"gold\"", "größer"];
    assert_eq!((&own["kind"], &own["categories"]), (&json!("categorical"), &json!(named)));
    assert_eq!(own["counts"], json!(named.map(|name| plans[name])));
    let rare: u64 = plans.iter().filter(|(name, _)| name.starts_with("rare")).map(|(_, n)| n).sum();
    assert_eq!(
        (&own["other"], own["dictionary"].as_array().map(Vec::len)),
        (&json!(rare), Some(7))
    );

    // Every note is another, so it stands there by its length.
    let words: Vec<f64> = rows.iter().map(|row| row.note.split(' ').count() as f64).collect();
    let (edges, counts) = plainly(&words);
    let own = column(profile, "note_words");
    assert_eq!((&own["edges"], &own["counts"]), (&json!(edges), &json!(counts)));
    assert_eq!((&own["derived"], &own["tensor"]), (&json!("words"), &json!("note")));
    let active = rows.iter().filter(|row| row.active).count();
    assert_eq!(column(profile, "active")["counts"], json!([rows.len() - active, active]));
}

#[test]
fn both_formats_are_counted_as_they_are_plainly() {
    let (world, rows) = (World::new(), rows(20_000, 1, 20.0));
    world.csv("train.csv", &rows);
    world.parquet("train.parquet", &rows);
    let of_csv = world.built(&[&["--data", "train.csv", "--name", "cars"], &OUTPUTS[..]].concat());
    assert_counted(&of_csv, &rows);
    assert_eq!((&of_csv["model"], &of_csv["source"]["rows"]), (&json!("cars"), &json!(20_000)));
    let (from, to) = (&of_csv["source"]["from"], &of_csv["source"]["to"]);
    assert_eq!(from, "2026-01-01T00:00:00.000000Z");
    assert!(to.as_str().is_some_and(|to| to.starts_with("2026-05-")), "{to}");

    let arguments = [&["--data", "train.parquet", "--name", "cars"], &OUTPUTS[..]].concat();
    let mut of_parquet = world.built(&arguments);
    let first = fs::read(world.path("built.json")).expect("a file");
    assert_counted(&of_parquet, &rows);
    for key in ["uri", "sha256", "to"] {
        // The dates of the CSV are days of 28, so that they need no calendar.
        of_parquet["source"][key] = of_csv["source"][key].clone();
    }
    assert_eq!(of_parquet, of_csv);
    world.built(&arguments);
    let again = fs::read(world.path("built.json")).expect("a file");
    assert!(first == again, "the same data makes the same bytes");
    assert!(!world.path("built.json.tmp").exists());
}

#[test]
fn the_quality_of_the_reference_is_measured() {
    let (world, rows) = (World::new(), rows(4000, 2, 0.0));
    world.csv("train.csv", &rows);
    let of = |more: &[&str]| {
        let profile = world.built(&[&["--data", "train.csv", "--label", "label"], more].concat());
        profile["quality"].clone()
    };
    let right = rows.iter().filter(|row| row.prediction() == row.label).count();
    let quality = of(&["--prediction", "prediction"]);
    assert_eq!((&quality["metric"], &quality["chunk"]), (&json!("accuracy"), &json!(200)));
    assert_eq!(quality["value"], json!(right as f64 / 4000.0));
    // The usual chunk is within three deviations of a proportion.
    let value = quality["value"].as_f64().expect("a number");
    let apart = 3.0 * (value * (1.0 - value) / 200.0).sqrt();
    let width = quality["upper"].as_f64().expect("a number") - value;
    assert!(width > 0.5 * apart && width < 2.0 * apart, "{quality}");

    let quality = of(&["--score", "score"]);
    let scores =
        |label: i64| rows.iter().filter(move |row| row.label == label).map(|row| row.score);
    let mut pairs = 0.0;
    for positive in scores(1) {
        pairs += scores(0)
            .map(|negative| match positive.total_cmp(&negative) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })
            .sum::<f64>();
    }
    let area = pairs / (scores(1).count() * scores(0).count()) as f64;
    let found = quality["value"].as_f64().expect("a number");
    assert_eq!(quality["metric"], "roc_auc");
    assert!((found - area).abs() < 0.005, "{found}, exactly {area}");

    let error: f64 = rows.iter().map(|row| (row.score - row.label as f64).abs()).sum();
    let quality = of(&["--prediction", "score"]);
    assert_eq!(quality["metric"], "mae");
    assert!((quality["value"].as_f64().expect("a number") - error / 4000.0).abs() < 1e-12);
}

/// Rows of a file that is in no order are put into blocks by their time.
#[test]
fn dispersion_is_over_time() {
    let (world, mut rows) = (World::new(), rows(15_000, 3, 0.0));
    // Doors come in waves of 300 rows.
    rows.iter_mut().enumerate().for_each(|(at, row)| row.doors = (at / 300 % 2) as i64);
    world.parquet("sorted.parquet", &rows);
    let shuffled: Vec<Row> = (0..15_000).map(|at| rows[at * 7919 % 15_000].clone()).collect();
    world.parquet("shuffled.parquet", &shuffled);
    let of = |arguments: &[&str]| {
        let profile = world.built(arguments);
        let dispersion = |name: &str| column(&profile, name)["dispersion"].as_f64();
        assert!(dispersion("age") < Some(1.5), "{:?}", dispersion("age"));
        dispersion("doors").expect("a number")
    };
    let expected = 300.0 * 50.0 / 49.0;
    assert!((of(&["--data", "sorted.parquet"]) - expected).abs() < 1e-9);
    assert!((of(&["--data", "shuffled.parquet", "--time", "at"]) - expected).abs() < 1e-9);
    assert!(of(&["--data", "shuffled.parquet"]) < 1.5);
    let told = world.done(&["build", "--data", "sorted.parquet"]).stderr;
    assert!(told.contains("in the order of time"), "{told}");
}

#[test]
fn kinds_can_be_said() {
    let (world, rows) = (World::new(), rows(2000, 4, 0.0));
    world.csv("train.csv", &rows);
    let profile = world.built(&[
        "--data",
        "train.csv",
        "--kind",
        "doors=categorical",
        "--kind",
        "plan=text",
        "--leave-out",
        "note",
        "--leave-out",
        "at",
        "--bins",
        "4",
    ]);
    assert_eq!(column(&profile, "doors")["categories"].as_array().map(Vec::len), Some(4));
    assert_eq!(column(&profile, "plan_chars")["derived"], "chars");
    assert_eq!(column(&profile, "age")["edges"].as_array().map(Vec::len), Some(3));
    let names: Vec<&Value> =
        profile["inputs"].as_array().expect("columns").iter().map(|own| &own["name"]).collect();
    assert!(!names.iter().any(|name| name.as_str().is_some_and(|name| name.starts_with("note"))));
}

/// Categories that most rows have none of would say nothing of them.
#[test]
fn texts_that_are_mostly_rare_stand_there_by_their_length() {
    let world = World::new();
    let line = |own: usize, at: usize| {
        let text = |is_usual: bool| if is_usual { "usual".to_owned() } else { format!("t{at}") };
        format!("{},{}\n", text(own < 4), text(own < 6))
    };
    let lines: String = (0..2000).map(|at| line(at % 10, at)).collect();
    world.write("train.csv", "rare,frequent\n".to_owned() + &lines);
    let profile = world.built(&["--data", "train.csv"]);
    let names: Vec<&Value> =
        profile["inputs"].as_array().expect("columns").iter().map(|own| &own["name"]).collect();
    assert_eq!(
        json!(names),
        json!(["rare_chars", "rare_words", "rare_non_ascii_ratio", "frequent"])
    );
    let frequent = column(&profile, "frequent");
    assert_eq!(json!([frequent["counts"], frequent["other"]]), json!([[1200], 800]));
}
