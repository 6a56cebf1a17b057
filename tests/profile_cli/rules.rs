use std::fs;
use std::path::Path;

use crate::world::World;

fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/drift.rules.yaml");
    fs::read_to_string(path).expect("a file")
}

#[test]
fn rules_are_printed_or_written() {
    let world = World::new();
    assert!(world.done(&["rules"]).stdout == shipped());
    let ended = world.done(&["rules", "--window", "2m", "--long-window", "1h", "-o", "own.yaml"]);
    assert_eq!(ended.stdout, "");
    let own = fs::read_to_string(world.path("own.yaml")).expect("a file");
    assert!(own.contains("modelgate profile rules --window 2m --long-window 1h\n"), "{own}");
    assert!(own.contains("increase(modelgate_drift_observations_total[2m])"), "{own}");
}

#[test]
fn rules_that_would_contradict_themselves_are_refused() {
    let world = World::new();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--window", "1s"], &["a window of 10s or more"]),
        (&["--window", "7m"], &["several windows of 7m", "try 168m"]),
        (&["--window", "1 hour"], &["--window", "expected a duration such as 30s"]),
        (&["--warning-psi", "0.2"], &["0.1 and 0.2 for a warning"]),
        (&["--z", "0"], &["deviations above 0, found 0"]),
        (&["--min-rows", "many"], &["--min-rows"]),
    ];
    for (flags, parts) in cases {
        world.refused(&[&["rules"], flags].concat(), 2, parts);
    }
    world.refused(&["rules", "-o", "no/folder"], 1, &["'no/folder'"]);
}
