//! Variants, fallbacks, pins and shadows as their records tell them.

use modelgate::predictions::{Assignment, Hasher, Role, SchemaId};
use modelgate::types::Code;
use serde_json::json;

use crate::support::http::Request;
use crate::support::predict::Face;
use crate::{Recorded, numbers, sign_of};

#[test]
fn a_split_is_recorded_with_all_that_an_analysis_needs() {
    let world = Recorded::start("");
    world.apply(
        "sign",
        json!({
            "stickiness": {"key": [{"header": "x-user"}]},
            "variants": [{"name": "b", "version": 1, "weight": 30}],
        }),
    );
    world.wait_for("version 1", || world.variant_is_ready("sign", "b"));
    let key = std::fs::read(world.root().join("hash.key")).expect("the log's key");
    let hasher = Hasher::new(&key);
    let mut seen = [false; 2];
    for number in 0..30 {
        let (id, user) = (format!("v-{number}"), format!("user-{number}"));
        let asked = sign_of(&id, -3.0).header("x-user", &user);
        let answer = asked.ask(&world.gateway, Face::Binary).expect("an answer");
        let record = world.one(&id);
        let is_b = record.variant == "b";
        seen[usize::from(is_b)] = true;
        assert_eq!(record.version.to_string(), answer.version);
        assert_eq!((record.route.as_str(), record.assignment), ("sign", Assignment::Split));
        let (share, answered) = if is_b { (0.3, 3.0) } else { (0.7, 3.0) };
        assert!((record.propensity - share).abs() < 1e-6, "{record:#?}");
        assert_eq!(numbers(&record.outputs[0]), [answered]);
        assert_eq!(record.salt, "sign/r-01/split");
        assert_eq!(record.unit, Some(hasher.hash(user.as_bytes())));
        assert!(record.unit_key.is_empty() && record.revision > 0);
        // The bucket decides, and so anybody can check the assignment.
        assert!(record.bucket.expect("a bucket") < 100_000);
    }
    assert_eq!(seen, [true, true], "both variants answered somebody");
}

#[test]
fn rules_pins_and_keys_that_may_be_kept() {
    let world = Recorded::start("  defaults: {unit: keep}");
    world.apply(
        "sign",
        json!({
            "stickiness": {"key": [{"header": "x-user"}]},
            "match": [{"variant": "b", "headers": [{"name": "x-beta", "exact": "1"}]}],
            "variants": [{"name": "b", "version": 1, "weight": 0}],
        }),
    );
    world.wait_for("version 1", || world.variant_is_ready("sign", "b"));
    let asked = sign_of("k-1", 1.0).header("x-beta", "1").header("x-user", "ada");
    asked.ask(&world.gateway, Face::Json).expect("an answer");
    let record = world.one("k-1");
    assert_eq!((record.variant.as_str(), record.assignment), ("b", Assignment::Rule));
    assert_eq!((record.propensity, record.unit_key.as_str()), (1.0, "ada"));
    let revision = record.revision;
    let pinned = sign_of("k-2", 1.0).version("1").header("x-user", "ada");
    pinned.ask(&world.gateway, Face::Json).expect("an answer");
    let by_header = sign_of("k-3", 1.0).header("x-model-version", "1").header("x-user", "ada");
    by_header.ask(&world.gateway, Face::Binary).expect("an answer");
    for id in ["k-2", "k-3"] {
        let record = world.one(id);
        assert_eq!((record.assignment, record.version), (Assignment::Pin, 1));
        assert_eq!((record.route.as_str(), record.revision), ("sign", revision));
        assert_eq!(record.unit_key, "ada");
        assert!(record.unit.is_some());
    }
    let nobody = sign_of("k-4", 1.0).version("1");
    nobody.ask(&world.gateway, Face::Json).expect("an answer");
    let record = world.one("k-4");
    assert_eq!((record.route.as_str(), record.unit, record.unit_key.as_str()), ("sign", None, ""));
}

#[test]
fn requests_that_name_a_version_are_sampled_by_their_unit() {
    let world = Recorded::start("  models: {sign: {sample: 0.5}}");
    let variants = json!([{"name": "b", "version": 1, "weight": 0}]);
    world.apply(
        "sign",
        json!({"stickiness": {"key": [{"header": "x-user"}]}, "variants": variants}),
    );
    world.wait_for("version 1", || world.variant_is_ready("sign", "b"));
    let mut kept = 0;
    for user in 0..20 {
        let ask = |id: &str, version: &str| {
            let asked = sign_of(id, 1.0).version(version).header("x-user", &format!("user-{user}"));
            asked.ask(&world.gateway, Face::Json).expect("an answer");
            world.of(id).len()
        };
        let (free, pinned) = (format!("f-{user}"), format!("p-{user}"));
        let (free, pinned) = (ask(&free, ""), ask(&pinned, "1"));
        assert_eq!(free, pinned, "user-{user}");
        kept += free;
    }
    assert!((1..20).contains(&kept), "{kept} of 20");
}

/// The shadow's answer stands beside the primary's; where it differs, both are
/// kept although the sampling had left them out.
#[test]
fn shadows_are_recorded_beside_the_primary() {
    let world = Recorded::start("  models: {sign: {sample: 0.0}}");
    world.apply(
        "sign",
        json!({"shadow": {"version": 1, "percent": 100, "cpuPercent": 100}, "variants": []}),
    );
    // -x and |x| are the same for what is negative.
    let same = ["m-1", "m-2", "m-3"];
    world.wait_for("a shadow's record", || {
        for id in same {
            sign_of(id, -3.0).ask(&world.gateway, Face::Binary).expect("an answer");
        }
        sign_of("d-1", 3.0).ask(&world.gateway, Face::Binary).expect("an answer");
        world.of("d-1").len() >= 2
    });
    let differing = world.of("d-1");
    let of_role = |role: Role| differing.iter().find(|record| record.role == role);
    let (primary, shadow) = (of_role(Role::Primary), of_role(Role::Shadow));
    let (primary, shadow) = (primary.expect("a primary"), shadow.expect("a shadow"));
    assert_eq!((primary.version, shadow.version), (2, 1));
    assert_eq!((primary.sampling, shadow.sampling), (1.0, 1.0));
    assert_eq!(numbers(&primary.inputs[0]), [3.0]);
    assert_eq!(
        (numbers(&primary.outputs[0]), numbers(&shadow.outputs[0])),
        (vec![3.0], vec![-3.0])
    );
    assert!(shadow.inputs.is_empty(), "they stand in the primary's record");
    for id in same {
        assert!(world.of(id).is_empty(), "agreed, and not in the sample");
    }
}

#[test]
fn a_fallback_is_told_from_the_answer_of_its_own_variant() {
    let world = Recorded::start("");
    // Version 3 makes NaN of every negative number.
    let registry = world.registry.version("sign", 3, &crate::sign("Sqrt").model());
    let world = Recorded { registry, ..world };
    let sync = Request::post("/admin/v1/registry/events", "{}").header("host", "localhost");
    sync.header("content-type", "application/json").send(world.gateway.admin);
    world.wait_for("version 3", || {
        let ready = Request::get("/v2/models/sign/versions/3/ready").send(world.gateway.http);
        ready.status == 200
    });
    world.apply(
        "sign",
        json!({
            "variants": [
                {"name": "champion", "version": 2}, {"name": "b", "version": 3, "weight": 100},
            ],
        }),
    );
    world.wait_for("version 3", || world.variant_is_ready("sign", "b"));
    sign_of("f-1", -4.0).ask(&world.gateway, Face::Binary).expect("the champion's answer");
    let record = world.one("f-1");
    assert_eq!((record.role, record.version), (Role::Fallback, 2), "{record:#?}");
    assert_eq!(record.variant, "champion");
    assert_eq!((numbers(&record.inputs[0]), numbers(&record.outputs[0])), (vec![-4.0], vec![4.0]));
    assert_eq!(record.code, None::<Code>);
}

#[test]
fn of_a_private_route_nothing_is_kept_but_that_it_was_asked() {
    // Unsampled, the primary's record is made beside the shadow's: of what differs.
    for sample in ["1.0", "0.0"] {
        let world = Recorded::start(&format!("  models: {{sign: {{sample: {sample}}}}}"));
        let shadow = json!({"version": 1, "percent": 100, "cpuPercent": 100});
        world.apply("sign", json!({"private": true, "shadow": shadow, "variants": []}));
        world.wait_for("a shadow's record", || {
            sign_of("p-1", 3.0).ask(&world.gateway, Face::Json).expect("an answer");
            world.of("p-1").iter().any(|record| record.role == Role::Shadow)
        });
        let records = world.of("p-1");
        assert!(records.iter().any(|record| record.role == Role::Primary));
        for record in records {
            assert_eq!((record.route.as_str(), record.code, record.rows), ("sign", None, 1));
            assert_ne!(record.schema, SchemaId::NONE, "each row is a row of Parquet");
            assert!(record.inputs.is_empty() && record.outputs.is_empty());
        }
    }
}
