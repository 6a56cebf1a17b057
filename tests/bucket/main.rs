//! The bucketing function in three languages: the gateway's own, and the ones
//! in `bucket.py` and `bucket.mjs`, on 10,000 made-up keys. All of them have to
//! come to the same hash, slots and variant.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use http::{HeaderMap, HeaderValue};
use modelgate::routing::{Attributes, Route, RouteDocument};
use modelgate::types::Parameter;
use serde_json::{Value, json};

const KEYS_PER_ROUTE: usize = 2_000;

/// Routes as people write them, and what the other languages need of them.
fn routes() -> [(Value, Value); 5] {
    let long = "ü".repeat(200);
    let variant = |name: &str, weight: f64, most: f64| {
        let thousandths = |percent: f64| (percent * 1e3).round() as u64;
        let (low, high) = (thousandths(weight), thousandths(most));
        (
            json!({"name": name, "version": "latest", "weight": weight, "maxWeight": most}),
            json!({"name": name, "weight": low, "maxWeight": high}),
        )
    };
    [
        (None, vec![variant("candidate", 1.0, 100.0)]),
        (None, vec![variant("candidate", 50.0, 100.0)]),
        (Some("Ünïcødé-✓/r-01"), vec![variant("a", 5.0, 30.0), variant("b", 12.345, 50.001)]),
        (Some(&long), vec![variant("a", 99.999, 99.999)]),
        (Some("s"), (0..15).map(|i| variant(&format!("v{i}"), 3.3, 6.666)).collect()),
    ]
    .map(|(salt, variants): (Option<&str>, Vec<(Value, Value)>)| {
        let (written, plain): (Vec<_>, Vec<_>) = variants.into_iter().unzip();
        let document = json!({
            "apiVersion": "modelgate.dev/v1",
            "kind": "Route",
            "metadata": {"name": "fraud"},
            "spec": {
                "variants": written,
                "stickiness": {
                    "key": [{"header": "x-user-id"}, {"parameter": "user"}],
                    "salt": salt,
                },
                "shadow": {},
            },
        });
        (document, json!({"salt": salt.unwrap_or("fraud/r-01"), "variants": plain}))
    })
}

/// Steele, Lea and Flood's SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }
}

/// A unit where a request may carry it.
enum Key {
    Header(Vec<u8>),
    Parameter(Parameter<'static>),
}

impl Key {
    fn any(dice: &mut Dice) -> Key {
        let length = 1 + dice.below(70);
        let long = 1 + dice.below(2_000);
        let text = |dice: &mut Dice, length: u64| -> String {
            let alphabet: Vec<char> = "aZ09-_. ÄßéñЖ中文字🙂✓".chars().collect();
            let letter = |_| alphabet[dice.below(alphabet.len() as u64) as usize];
            (0..length).map(letter).collect()
        };
        match dice.below(8) {
            0 => Key::Parameter(Parameter::Int(dice.roll() as i64)),
            1 => Key::Parameter(Parameter::Uint(dice.roll() >> dice.below(64))),
            2 => Key::Parameter(Parameter::Text(Cow::Owned(text(dice, length)))),
            3 => Key::Header(format!("user-{}", dice.below(1_000_000)).into_bytes()),
            4 => Key::Header(format!("{:016x}-{:016x}", dice.roll(), dice.roll()).into_bytes()),
            // What a header may carry that is no text at all.
            5 => Key::Header((0..length).map(|_| 0x80 | dice.roll() as u8).collect()),
            6 => Key::Header(text(dice, long).into_bytes()),
            _ => Key::Header(text(dice, length).into_bytes()),
        }
    }

    /// What the other languages hash.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Key::Header(bytes) => bytes.clone(),
            Key::Parameter(Parameter::Int(number)) => number.to_string().into_bytes(),
            Key::Parameter(Parameter::Uint(number)) => number.to_string().into_bytes(),
            Key::Parameter(Parameter::Text(text)) => text.as_bytes().to_vec(),
            Key::Parameter(other) => panic!("no unit: {other:?}"),
        }
    }

    /// As the other languages write it.
    fn decide(&self, route: &Route) -> String {
        let mut headers = HeaderMap::new();
        let mut parameters = Vec::new();
        match self {
            Key::Header(bytes) => {
                headers.insert("x-user-id", HeaderValue::from_bytes(bytes).expect("a value"));
            }
            Key::Parameter(value) => parameters.push((Cow::Borrowed("user"), value.clone())),
        }
        let decision = route.decide(&Attributes {
            headers: &headers,
            parameters: &parameters,
            request_id: b"",
        });
        let unit = decision.unit.expect("a unit");
        let variant = &route.variants[decision.variant].name;
        format!("{:016x} {} {} {variant}", unit.hash, unit.slot, unit.shadow_slot)
    }
}

/// What a program writes on its output, by line.
fn run(program: &str, script: &str, input: &str) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bucket").join(script);
    let mut child = Command::new(program)
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "cannot start {program} ({error}), which this test compares with: install it, on \
                 Debian and Ubuntu by `apt-get install python3 nodejs`"
            )
        });
    let mut stdin = child.stdin.take().expect("a pipe");
    // Both scripts read everything before they write anything.
    stdin.write_all(input.as_bytes()).expect("the script reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("the script's output");
    assert!(output.status.success(), "{program} {}: {}", script.display(), output.status);
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn three_languages_come_to_the_same_buckets() {
    let mut dice = Dice(4);
    let mut decided = Vec::new();
    let mut input = Vec::new();
    for (document, mut plain) in routes() {
        let document: RouteDocument = serde_json::from_value(document).expect("a document");
        let route = Route::compile(&document, None).expect("a route");
        let keys: Vec<Key> = (0..KEYS_PER_ROUTE).map(|_| Key::any(&mut dice)).collect();
        let hex = |key: &Key| -> String {
            key.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        plain["units"] = keys.iter().map(hex).collect();
        decided.extend(keys.iter().map(|key| key.decide(&route)));
        input.push(plain);
    }
    assert_eq!(decided.len(), 10_000);
    for name in ["champion", "candidate", "a", "b", "v0", "v14"] {
        let name = format!(" {name}");
        assert!(decided.iter().any(|line| line.ends_with(&name)), "nobody got{name}");
    }
    let input = Value::from(input).to_string();
    for (program, script) in [("python3", "bucket.py"), ("node", "bucket.mjs")] {
        let found = run(program, script, &input);
        assert_eq!(found.len(), decided.len(), "{program}");
        for (number, (found, expected)) in found.iter().zip(&decided).enumerate() {
            assert_eq!(found, expected, "{program} and the gateway, on key {number}");
        }
    }
}
