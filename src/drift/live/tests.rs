//! What is made of the counts of one version over hours.

use serde_json::{Value, json};

use super::room::MAX_WATCHED;
use super::*;
use crate::drift::alarm::State;
use crate::drift::profile::Profile;
use crate::drift::tally::Tally;

const SECOND: i64 = 1_000_000;
const START: i64 = 1_800_000_000 * SECOND;

fn numeric(name: &str, place: usize) -> Value {
    json!({
        "name": name, "tensor": "x", "index": [place], "kind": "numeric",
        "edges": [1, 2, 3], "counts": [5000, 5000, 5000, 5000], "min": 0, "max": 4,
        "p001": 0, "p999": 4, "mean": 2, "std": 1.15,
    })
}

pub(super) fn profile(inputs: &[Value], outputs: &[Value]) -> Profile {
    let document = json!({
        "schema": "modelgate.drift.profile/v1", "model": "m",
        "inputs": inputs, "outputs": outputs,
    });
    Profile::parse(document.to_string().as_bytes()).expect("a profile")
}

/// One version whose traffic is looked at every ten seconds.
struct World {
    profile: Profile,
    monitor: Monitor,
    total: Vec<Tally>,
    now: i64,
    random: u64,
}

impl World {
    /// Inputs `a`, `b` and `c`.
    fn new() -> World {
        let inputs: Vec<Value> =
            ["a", "b", "c"].iter().enumerate().map(|(at, name)| numeric(name, at)).collect();
        World::of(profile(&inputs, &[]))
    }

    fn of(profile: Profile) -> World {
        let monitor = Monitor::new(&profile, &DriftOptions::default());
        let total = profile.columns().map(|column| column.tally()).collect();
        World { profile, monitor, total, now: START, random: 1 }
    }

    /// A share of 1: SplitMix64.
    fn share(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Rows of which a column's values are cut off at the top by so much.
    fn rows(&mut self, rows: usize, less: [f64; 3]) {
        for _ in 0..rows {
            for (place, less) in less.iter().enumerate() {
                let value = 4.0 * self.share() * (1.0 - less);
                let columns: Vec<_> = self.profile.columns().collect();
                columns[place].bins.count_number(value, &mut self.total[place]);
            }
        }
    }

    fn look(&mut self) -> Report {
        self.monitor.step(&self.profile, self.now, &self.total)
    }

    /// So many minutes of a row a second, as [`World::rows`]; what is found after each.
    fn minutes(&mut self, minutes: usize, less: [f64; 3]) -> Vec<Report> {
        let minute = |_| {
            (0..6).for_each(|_| {
                self.rows(10, less);
                self.now += 10 * SECOND;
                self.look();
            });
            self.look()
        };
        (0..minutes).map(minute).collect()
    }
}

fn states(report: &Report, window: usize) -> Vec<State> {
    report.features.iter().map(|feature| feature.windows[window].state).collect()
}

const NONE: [f64; 3] = [0.0; 3];
const OF_B: [f64; 3] = [0.0, 0.3, 0.0];

#[test]
fn traffic_as_it_was_is_ok_once_there_is_enough() {
    let mut world = World::new();
    let reports = world.minutes(120, NONE);
    assert_eq!(reports[3].state, State::Insufficient, "240 rows");
    assert_eq!(states(&reports[5], 0), [State::Ok; 3], "360 rows");
    assert!(reports[5..].iter().all(|report| report.state == State::Ok));
    let last = reports.last().expect("reports");
    assert!(last.features.iter().all(|feature| feature.evidence_log10 < Some(5.0)), "{last:#?}");
    let rows: Vec<u64> = last.features[0].windows.iter().map(|window| window.score.rows).collect();
    assert!((3540..=3600).contains(&rows[0]), "{rows:?}");
    assert_eq!(rows[1], 7200);
    assert_eq!((last.at, last.left_out), (world.now, 0));
}

#[test]
fn drift_of_one_column_is_an_alarm_of_that_column_once_it_lasts() {
    let mut world = World::new();
    world.minutes(60, NONE);
    let reports = world.minutes(60, OF_B);
    let first = |wanted: State| {
        reports.iter().position(|report| report.features[1].windows[0].state == wanted)
    };
    let warned = first(State::Warning).expect("a warning");
    let drifted = first(State::Drifted).expect("an alarm");
    // Not even the first of them is an alarm before ten minutes have passed.
    assert!(drifted >= warned + 9 && drifted < 40, "{warned} {drifted}");
    let last = reports.last().expect("reports");
    assert_eq!(states(last, 0), [State::Ok, State::Drifted, State::Ok]);
    assert_eq!((last.state, last.features[1].state), (State::Drifted, State::Drifted));
    let others = reports.iter().flat_map(|report| [&report.features[0], &report.features[2]]);
    assert!(others.into_iter().all(|feature| feature.state <= State::Ok));
}

#[test]
fn a_window_forgets_and_an_alarm_ends() {
    let mut world = World::new();
    world.minutes(60, OF_B);
    let reports = world.minutes(120, NONE);
    assert_eq!(reports[0].features[1].windows[0].state, State::Drifted);
    let ended = reports.iter().position(|report| report.features[1].windows[0].state == State::Ok);
    assert!(ended.is_some_and(|minute| (30..90).contains(&minute)), "{ended:?}");
    assert_eq!(states(&reports[119], 1)[1], State::Drifted, "a day remembers");
    // Nobody asks for an hour.
    world.now += 3_601 * SECOND;
    let report = world.look();
    assert_eq!(states(&report, 0), [State::Insufficient; 3]);
    assert_eq!(report.features[0].windows[0].counts, [0; 4]);
    assert!(report.features[0].windows[1].score.rows > 10_000);
}

#[test]
fn evidence_comes_in_blocks_before_the_windows_say_anything() {
    let mut world = World::new();
    world.rows(99, [0.0, 0.6, 0.0]);
    assert!(world.look().features.iter().all(|feature| feature.evidence_log10.is_none()));
    let rises: Vec<f64> = (0..5)
        .map(|_| {
            world.rows(100, [0.0, 0.6, 0.0]);
            world.now += 10 * SECOND;
            let report = world.look();
            assert!(report.features[0].evidence_log10.is_some_and(|evidence| evidence < 2.0));
            assert_eq!(report.features[1].windows[0].state.max(State::Warning), State::Warning);
            report.features[1].evidence_log10.expect("a block")
        })
        .collect();
    assert!(rises.is_sorted() && rises[4] > 5.0, "{rises:?}");
}

#[test]
fn evidence_that_was_told_is_forgotten_once_all_is_well_again() {
    let mut world = World::new();
    world.minutes(30, OF_B);
    let reports = world.minutes(150, NONE);
    let evidence = |report: &Report| report.features[1].evidence_log10.unwrap_or(0.0);
    assert!(evidence(&reports[0]) > 5.0);
    assert!(evidence(&reports[149]) < 5.0, "{:?}", reports[149].features[1]);
}

/// As after a long pause of the thread that looks.
#[test]
fn totals_that_jump_are_taken_whole() {
    let mut world = World::new();
    world.rows(50_000, NONE);
    let report = world.look();
    assert_eq!(report.state, State::Ok);
    for (feature, tally) in report.features.iter().zip(&world.total) {
        assert_eq!(feature.windows[0].counts, tally.bins());
        assert!(feature.evidence_log10.is_some_and(|evidence| evidence < 1.0));
    }
    // The very scores of a file of the same rows.
    let columns: Vec<_> = world.profile.columns().collect();
    assert_eq!(report.features[2].windows[1].score, columns[2].score(&world.total[2]));
}

#[test]
fn a_clock_that_is_set_back_or_leaps_does_no_harm() {
    const YEAR: i64 = 365 * 86_400 * SECOND;
    // What came before a leap forward has left the hour.
    for (leap, back, rows) in [(-YEAR, 0, 50 * 60), (YEAR, -YEAR, 40 * 60)] {
        let mut world = World::new();
        world.minutes(10, NONE);
        world.now += leap;
        world.minutes(10, NONE);
        world.now += back;
        let report = world.minutes(30, OF_B).pop().expect("reports");
        assert_eq!(states(&report, 0), [State::Ok, State::Drifted, State::Ok], "{leap}");
        assert_eq!(report.features[0].windows[0].score.rows, rows, "{leap}");
        assert_eq!(report.at, world.now);
    }
}

#[test]
fn there_is_room_for_so_many_columns_and_the_rest_is_told() {
    let inputs: Vec<Value> = (0..MAX_WATCHED).map(|at| numeric(&format!("i{at}"), at)).collect();
    let mut world = World::of(profile(&inputs, &[numeric("o", 0)]));
    let report = world.look();
    assert_eq!((report.features.len(), report.left_out), (MAX_WATCHED, 1));
    let last = report.features.last().expect("features");
    assert_eq!((&*last.name, last.face), ("o", "output"));
    assert_eq!(&*report.features[MAX_WATCHED - 2].name, format!("i{}", MAX_WATCHED - 2));
}

#[test]
fn a_report_reads_as_json() {
    let mut world = World::new();
    world.rows(1000, OF_B);
    let written = serde_json::to_value(world.look()).expect("JSON");
    let feature = &written["features"][1];
    assert_eq!((&feature["name"], &feature["face"]), (&json!("b"), &json!("input")));
    assert_eq!(feature["bins"][3], json!({"label": ">= 3", "reference": 5000}));
    let window = &feature["windows"][0];
    assert_eq!((&window["window"], &window["state"]), (&json!("1h"), &json!("warning")));
    assert!(window["score"]["psi"].is_f64() && window["counts"].as_array().is_some());
}

/// Two columns of three bins each.
pub(super) fn columns() -> Vec<crate::drift::profile::Column> {
    let column = |name: &str| {
        serde_json::json!({
            "name": name, "tensor": "x", "index": [0], "kind": "numeric", "edges": [1.0, 2.0],
            "counts": [1000, 1000, 1000], "min": 0, "max": 3, "p001": 0, "p999": 3, "mean": 1,
            "std": 1,
        })
    };
    let profile = serde_json::json!({
        "schema": "modelgate.drift.profile/v1", "model": "m",
        "inputs": [column("a"), column("b")],
    });
    Profile::parse(profile.to_string().as_bytes()).expect("a profile").inputs
}
