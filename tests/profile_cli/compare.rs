use serde_json::{Value, json};

use crate::world::{World, rows};

fn counts(value: &Value) -> Vec<f64> {
    value.as_array().expect("counts").iter().filter_map(Value::as_f64).collect()
}

/// Pearson's statistic of the table of two rows, by expected counts.
fn chi2(reference: &[f64], live: &[f64]) -> f64 {
    let (m, n): (f64, f64) = (reference.iter().sum(), live.iter().sum());
    let cells = reference.iter().zip(live).filter(|(r, c)| *r + *c > 0.0);
    cells
        .map(|(r, c)| {
            let expected = |of: f64| (r + c) * of / (m + n);
            (r - expected(m)).powi(2) / expected(m) + (c - expected(n)).powi(2) / expected(n)
        })
        .sum()
}

#[test]
fn a_file_is_scored_as_live_traffic_is() {
    let world = World::new();
    world.csv("train.csv", &rows(20_000, 1, 0.0));
    let live = rows(3000, 2, 15.0);
    world.parquet("live.parquet", &live);
    world.csv("live.csv", &live);
    let built = world.built(&["--data", "train.csv", "--time", "at", "--score", "score"]);
    let answer = world.done(&["score", "built.json", "--data", "live.parquet", "--json"]);
    let answer: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!((&answer["rows"], &answer["model"]), (&json!(3000), &json!("train")));
    let columns = answer["columns"].as_array().expect("columns");
    for column in columns {
        let state = if column["name"] == "age" { "drifted" } else { "ok" };
        assert_eq!(column["state"], state, "{column}");
        let (reference, live) =
            (counts(&column["reference_counts"]), counts(&column["live_counts"]));
        let (found, plain) = (column["chi2"].as_f64().expect("a number"), chi2(&reference, &live));
        assert!((found - plain).abs() <= 1e-9 * plain.max(1.0), "{column}: {plain}");
    }
    let age = &columns[0];
    let edges = counts(&built["inputs"][0]["edges"]);
    let mut plain = vec![0.0; edges.len() + 1];
    for age in live.iter().filter_map(|row| row.age) {
        plain[edges.iter().filter(|edge| **edge <= age).count()] += 1.0;
    }
    assert_eq!(counts(&age["live_counts"]), plain);
    let above = live.iter().filter_map(|row| row.age).filter(|age| *age > 80.0).count() as f64;
    assert_eq!(age["rates"]["above"]["live"], json!(above / plain.iter().sum::<f64>()));
    let missing = live.iter().filter(|row| row.age.is_none()).count();
    assert_eq!(age["rates"]["missing"]["live"], json!(missing as f64 / 3000.0));

    // The same rows in another format are the same.
    let again = world.done(&["score", "built.json", "--data", "live.csv", "-o", "json"]).stdout;
    assert_eq!(serde_json::from_str::<Value>(&again).expect("JSON"), answer);
    let table = world.done(&["score", "built.json", "--data", "live.csv"]).stdout;
    assert!(
        table.lines().any(|line| line.starts_with("age ") && line.contains("drifted")),
        "{table}"
    );
    // What it was built from has not drifted at all.
    let own = world.done(&["score", "built.json", "--data", "train.csv", "--json"]).stdout;
    let own: Value = serde_json::from_str(&own).expect("JSON");
    for column in own["columns"].as_array().expect("columns") {
        assert_eq!((&column["chi2"], &column["state"]), (&json!(0.0), &json!("ok")), "{column}");
    }
}

/// A feed that breaks is not refused: that is what is to be seen.
#[test]
fn live_rows_may_be_broken() {
    let world = World::new();
    world.csv("train.csv", &rows(2000, 1, 0.0));
    world.built(&[
        "--data",
        "train.csv",
        "--leave-out",
        "note",
        "--leave-out",
        "plan",
        "--leave-out",
        "at",
    ]);
    let mut text = "age,doors,active,label,score,prediction\n".to_owned();
    (0..1000).for_each(|at| {
        text.push_str(if at % 2 == 0 { "inf,,true,1,0.5,1\n" } else { "old,3,false,1,0.5,1\n" })
    });
    world.write("live.csv", text);
    let answer = world.done(&["score", "built.json", "--data", "live.csv", "--json"]).stdout;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let rate = |at: usize, name: &str| answer["columns"][at]["rates"][name]["live"].as_f64();
    assert_eq!((rate(0, "invalid"), rate(1, "missing")), (Some(1.0), Some(0.5)));
}

#[test]
fn profiles_are_compared_column_by_column() {
    let world = World::new();
    world.csv("a.csv", &rows(4000, 1, 0.0));
    world.csv("b.csv", &rows(4000, 1, 15.0));
    let mut other = rows(4000, 1, 0.0);
    other.iter_mut().for_each(|row| row.active = row.doors > 3);
    world.csv("c.csv", &other);
    let build = |data: &str, out: &str, more: &[&str]| {
        world.done(&[&["build", "--data", data, "--out", out], more].concat());
    };
    build("a.csv", "a.json", &["--leave-out", "note"]);
    build("b.csv", "b.json", &["--leave-out", "doors"]);
    build("c.csv", "c.json", &["--leave-out", "note"]);
    let diff = |after: &str| {
        let text = world.done(&["diff", "a.json", after, "-o", "json"]).stdout;
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let what = |column: &Value| (column["name"].clone(), column["what"].clone());
        let columns: Vec<_> = answer["columns"].as_array().expect("columns").to_vec();
        let found: Vec<_> = columns.iter().map(what).collect();
        (columns, move |name: &str| {
            found.iter().find(|own| own.0 == name).map(|own| own.1.clone()).unwrap_or_default()
        })
    };
    let (_, what) = diff("b.json");
    assert_eq!(
        ["age", "doors", "plan", "note_words"].map(&what),
        ["other_bins", "removed", "same", "added"].map(|what| json!(what))
    );
    let (columns, what) = diff("c.json");
    assert_eq!(["age", "active"].map(&what), ["same", "other_counts"].map(|what| json!(what)));
    let active = columns.iter().find(|column| column["name"] == "active").expect("a column");
    assert!(active["psi_adjusted"].as_f64() > Some(0.1), "{active}");
}
