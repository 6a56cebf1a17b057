//! Over the counters of three gateways the rules of quality give what one
//! gateway computes that has seen everything.

use std::fmt::Write as _;
use std::sync::Arc;

use modelgate::predictions::{Label, Role, Truth};
use modelgate::quality::extract::Declared;
use modelgate::quality::index::Bounds;
use modelgate::quality::join::{Declare, Joiner};
use modelgate::quality::{Observed, Served};
use modelgate::telemetry::{Telemetry, TelemetryOptions};
use modelgate::types::{DType, Dim, ModelName, Shape, Tensor, TensorSpec, Version};
use smallvec::{SmallVec, smallvec};

use crate::{promtool, root};

struct Model {
    name: ModelName,
    outputs: Vec<TensorSpec>,
}

impl Served for Model {
    fn model(&self) -> &ModelName {
        &self.name
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }
}

fn model(name: &str, columns: i64) -> Arc<dyn Served> {
    let dims = vec![Dim::Free(None), Dim::from(columns)];
    let spec = TensorSpec { name: Arc::from("y"), dtype: DType::Fp64, dims, labels: Arc::from([]) };
    Arc::new(Model { name: ModelName::parse(name).expect("a name"), outputs: vec![spec] })
}

/// A gateway's quality, without the gateway.
struct Replica {
    telemetry: Telemetry,
    joiner: Joiner,
    now: i64,
}

impl Replica {
    fn new() -> Replica {
        let telemetry = Telemetry::new(TelemetryOptions::default());
        let bounds = Bounds { rows: 1 << 20, bytes: 1 << 30, pending: 9, ttl: 1 << 50 };
        let declare: Arc<Declare> = Arc::new(|_: &str| Declared::default());
        let joiner = Joiner::new(bounds, Arc::clone(telemetry.quality()), declare);
        Replica { telemetry, joiner, now: 1_800_000_000_000_000 }
    }

    fn saw(&mut self, served: &Arc<dyn Served>, id: &str, row: &[f64], label: Option<Label>) {
        let data: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = Shape::new([1, row.len() as i64]).expect("a shape");
        let observed = Observed {
            id: SmallVec::from_slice(id.as_bytes()),
            served: Arc::clone(served),
            variant: "champion".into(),
            role: Role::Primary,
            at: self.now,
            rows: 1,
            wanted: smallvec![0],
            outputs: smallvec![Tensor::new(DType::Fp64, shape, data.into()).expect("a tensor")],
        };
        self.joiner.saw(&observed, self.now);
        if let Some(label) = label {
            assert_eq!(self.joiner.label(label, self.now).label(), "joined");
        }
    }

    /// Samples of quality as a scraper reads them.
    fn samples(&mut self) -> Vec<(String, f64)> {
        self.now += 20_000_000;
        self.joiner.tick(self.now);
        let page = self.telemetry.render();
        let lines = page.lines().filter(|line| line.starts_with("modelgate_quality_"));
        lines
            .map(|line| line.rsplit_once(' ').expect("a name and a value"))
            .map(|(series, value)| (series.to_owned(), value.parse().expect("a number")))
            .collect()
    }
}

/// A share between 0 and 1, made of a number: always the same.
fn share(number: u64) -> f64 {
    let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn three_gateways_together_are_one_that_saw_everything() {
    let mut replicas = [Replica::new(), Replica::new(), Replica::new()];
    let mut whole = Replica::new();
    let (classes, numbers) = (model("classes", 2), model("numbers", 1));
    for number in 0..900u64 {
        let of_class = share(number) < 0.4;
        let score = (share(number + 10_000) * 0.7 + if of_class { 0.3 } else { 0.0 }).min(1.0);
        let row = [1.0 - score, score];
        let id = number.to_string();
        let weight = 0.5 + (number % 3) as f64;
        let label = |truth: Truth| Label {
            request_id: id.clone(),
            row: 0,
            label_time: 0,
            recorded_time: 0,
            truth,
            weight,
            model: String::new(),
        };
        let truth = label(Truth::Value(f64::from(u8::from(of_class))));
        let reward = label(Truth::Reward(share(number + 20_000) - 0.4));
        let value = share(number + 30_000) * 50.0;
        let actual = value + share(number + 40_000) * 4.0 - 1.0;
        let actual = Label { request_id: format!("n{number}"), ..label(Truth::Value(actual)) };
        for replica in [&mut replicas[number as usize % 3], &mut whole] {
            // One in five predictions is never labelled.
            let labelled = number % 5 > 0;
            replica.saw(&classes, &id, &row, labelled.then(|| truth.clone()));
            if labelled {
                replica.joiner.label(reward.clone(), replica.now);
            }
            replica.saw(&numbers, &format!("n{number}"), &[value], Some(actual.clone()));
        }
    }

    let whole = whole.samples();
    let local = |family: &str, model: &str| -> f64 {
        let wanted = format!("modelgate_quality_{family}{{model=\"{model}\"");
        let found = whole.iter().find(|(series, _)| {
            series.starts_with(&wanted) && (!series.contains("window") || series.contains("\"1h\""))
        });
        found.unwrap_or_else(|| panic!("no {family} of {model}")).1
    };
    let mut document = String::from("evaluation_interval: 1m\nrule_files:\n");
    let rules = root().join("deploy/prometheus/quality.rules.yaml");
    let _ =
        writeln!(document, "  - {}\ntests:\n  - interval: 1m\n    input_series:", rules.display());
    for (at, replica) in replicas.iter_mut().enumerate() {
        for (series, value) in replica.samples() {
            if series.contains("window=") || !series.contains('{') || series.contains("reason=") {
                continue;
            }
            let series = series.replacen('{', &format!("{{instance=\"{at}\","), 1);
            // Everything came in the hour's first minute.
            let _ =
                writeln!(document, "      - series: '{series}'\n        values: '0 {value}x59'");
        }
    }
    let _ = writeln!(document, "    promql_expr_test:");
    for (rule, selected, family, model) in [
        ("variant:modelgate_quality_auc:1h", "", "auc", "classes"),
        ("variant:modelgate_quality_auc_error:1h", "", "auc_error", "classes"),
        ("variant:modelgate_quality_accuracy:1h", "", "accuracy", "classes"),
        ("variant_class:modelgate_quality_precision:1h", ",class=\"1\"", "precision", "classes"),
        ("variant_class:modelgate_quality_recall:1h", ",class=\"1\"", "recall", "classes"),
        ("variant_class:modelgate_quality_f1:1h", ",class=\"1\"", "f1", "classes"),
        ("variant:modelgate_quality_log_loss:1h", "", "log_loss", "classes"),
        ("variant:modelgate_quality_brier_score:1h", "", "brier_score", "classes"),
        ("variant:modelgate_quality_calibration_error:1h", "", "calibration_error", "classes"),
        ("variant:modelgate_quality_coverage:1h", "", "coverage", "classes"),
        ("variant:modelgate_quality_reward:1h", "", "reward", "classes"),
        ("variant:modelgate_quality_mae:1h", "", "mae", "numbers"),
        ("variant:modelgate_quality_rmse:1h", "", "rmse", "numbers"),
        ("variant:modelgate_quality_bias:1h", "", "bias", "numbers"),
        ("variant:modelgate_quality_accuracy:24h", "", "accuracy", "classes"),
    ] {
        let expected = local(family, model);
        // Ours is tested by the scores of all; and that it is no trivial figure.
        assert!(expected.abs() > 1e-3, "{family} is {expected}");
        let difference =
            format!("sum(abs({rule}{{model=\"{model}\"{selected}}} - ({expected:e})))");
        let _ = writeln!(
            document,
            "      - expr: '{difference} < bool 1e-9'\n        eval_time: 60m\n        \
             exp_samples: [{{labels: '{{}}', value: 1}}]"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("three.yaml");
    std::fs::write(&file, document).expect("a file");
    promtool(&["test", "rules"], &[file]);
}
