//! What Alertmanager sends to a webhook (version "4" of its form) as facts. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::facts::{Alert, AlertKind};
use crate::types::{ModelName, Version};

/// Bytes of one notification.
pub const MAX_BYTES: usize = 1 << 20;

/// Alerts of one model that are kept; more are counted as ignored.
const MOST: usize = 256;

/// How long an alert counts of which nothing more is heard. Alertmanager repeats
/// what still fires every 4 hours by default, and may never say that it ended.
const FORGET_US: i64 = 12 * 3_600_000_000;

/// Alerts of ours that say that a feature drifts, or that quality is worse.
const DRIFT: [&str; 1] = ["ModelFeatureDrift"];
const QUALITY: [&str; 4] =
    ["ModelAccuracyDropped", "ModelAucDropped", "ModelLogLossRose", "ModelErrorRose"];

#[derive(Debug, Error)]
pub enum HookError {
    #[error("expected what Alertmanager's webhook_config sends: {0}")]
    Form(#[from] serde_json::Error),
    #[error("expected version \"4\" of Alertmanager's form, got \"{0}\"")]
    Version(String),
}

/// What is used of a notification; the rest of it is passed over.
#[derive(Deserialize)]
struct Notification {
    version: String,
    alerts: Vec<Notified>,
}

#[derive(Deserialize)]
struct Notified {
    status: Status,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    fingerprint: String,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

/// The alerts that fire, by model.
#[derive(Debug, Default)]
pub struct Alerts {
    models: BTreeMap<ModelName, BTreeMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    alert: Alert,
    heard_at: i64,
}

/// What was made of a notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    pub firing: usize,
    pub resolved: usize,
    /// About nothing that is known here.
    pub ignored: usize,
}

impl Alerts {
    /// Takes in a notification. `is_model` says of which models alerts are kept.
    ///
    /// # Errors
    /// Where it is none; then nothing has changed.
    pub fn take(
        &mut self,
        body: &[u8],
        now: i64,
        is_model: impl Fn(&ModelName) -> bool,
    ) -> Result<Taken, HookError> {
        let notification: Notification = serde_json::from_slice(body)?;
        if notification.version != "4" {
            return Err(HookError::Version(notification.version.chars().take(20).collect()));
        }
        let mut taken = Taken::default();
        for notified in notification.alerts {
            let ours = read(&notified, now).filter(|(model, _)| is_model(model));
            let is_kept =
                ours.is_some_and(|(model, alert)| self.keep(model, alert, &notified, now));
            match notified.status {
                _ if !is_kept => taken.ignored += 1,
                Status::Firing => taken.firing += 1,
                Status::Resolved => taken.resolved += 1,
            }
        }
        Ok(taken)
    }

    /// The alerts of a model that fire, but for those not heard of for long.
    pub fn of(&mut self, model: &ModelName, now: i64) -> Vec<Alert> {
        let Some(known) = self.models.get_mut(model) else { return Vec::new() };
        known.retain(|_, known| now.saturating_sub(known.heard_at) < FORGET_US);
        known.values().map(|known| known.alert.clone()).collect()
    }

    /// `false` where there is no room.
    fn keep(&mut self, model: ModelName, mut alert: Alert, of: &Notified, now: i64) -> bool {
        let known = self.models.entry(model).or_default();
        // What makes two alerts of one rule different, where Alertmanager does not say.
        let key = match of.fingerprint.as_str() {
            "" => format!("{} {:?} {:?}", alert.name, alert.kind, alert.version),
            fingerprint => fingerprint.chars().take(64).collect(),
        };
        if of.status == Status::Resolved {
            known.remove(&key);
            return true;
        }
        if known.len() >= MOST && !known.contains_key(&key) {
            return false;
        }
        if let Some(before) = known.get(&key) {
            alert.since = before.alert.since;
        }
        known.insert(key, Known { alert, heard_at: now });
        true
    }
}

/// An alert of one of our rules, about answers and not about a shadow's.
fn read(notified: &Notified, now: i64) -> Option<(ModelName, Alert)> {
    let label = |name: &str| notified.labels.get(name).map(String::as_str);
    let name = label("alertname")?;
    let kind = if DRIFT.contains(&name) {
        AlertKind::Drift(label("feature")?.to_owned())
    } else if QUALITY.contains(&name) {
        AlertKind::Quality
    } else {
        return None;
    };
    if label("role").is_some_and(|role| role == "shadow") {
        return None;
    }
    let model = ModelName::parse(label("model")?).ok()?;
    let version = match label("version") {
        Some(version) => Some(Version::parse(version).ok()?),
        None => None,
    };
    Some((model, Alert { name: name.to_owned(), kind, version, since: now }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn model() -> ModelName {
        ModelName::parse("churn").expect("a name")
    }

    /// As Alertmanager 0.28 sends it, but for what nobody reads.
    fn notification(alerts: &[Value]) -> Vec<u8> {
        json!({
            "version": "4", "groupKey": "{}:{model=\"churn\"}", "truncatedAlerts": 0,
            "status": "firing", "receiver": "modelgate", "groupLabels": {"model": "churn"},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://127.0.0.1:9093",
            "alerts": alerts,
        })
        .to_string()
        .into_bytes()
    }

    fn alert(status: &str, feature: &str) -> Value {
        json!({
            "status": status, "fingerprint": format!("f-{feature}"),
            "startsAt": "2026-11-21T12:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "", "annotations": {},
            "labels": {"alertname": "ModelFeatureDrift", "model": "churn", "version": "7",
                "profile": "0123456789ab", "feature": feature, "role": "primary"},
        })
    }

    fn take(alerts: &mut Alerts, body: &[u8], now: i64) -> Taken {
        alerts.take(body, now, |name| *name == model()).expect("a notification")
    }

    #[test]
    fn alerts_fire_until_they_are_resolved() {
        let mut alerts = Alerts::default();
        let both = notification(&[alert("firing", "age"), alert("firing", "plan")]);
        assert_eq!(take(&mut alerts, &both, 5), Taken { firing: 2, ..Taken::default() });
        take(&mut alerts, &both, 9);
        let known = alerts.of(&model(), 10);
        assert_eq!(known.len(), 2);
        assert_eq!(known[0].kind, AlertKind::Drift("age".to_owned()));
        assert_eq!(
            (known[0].since, known[0].version.map(|of| of.to_string())),
            (5, Some("7".to_owned()))
        );
        let taken = take(&mut alerts, &notification(&[alert("resolved", "age")]), 11);
        assert_eq!(taken, Taken { resolved: 1, ..Taken::default() });
        assert_eq!(alerts.of(&model(), 12).len(), 1);
        assert!(alerts.of(&model(), 9 + FORGET_US).is_empty(), "nothing more was heard");
    }

    #[test]
    fn what_is_not_ours_is_ignored() {
        let mut alerts = Alerts::default();
        let with = |label: &str, value: Value| {
            let mut alert = alert("firing", "age");
            alert["labels"][label] = value;
            alert
        };
        let strange = [
            with("alertname", json!("NodeDown")),
            with("model", json!("unknown")),
            with("model", json!("../x")),
            with("version", json!("-1")),
            with("role", json!("shadow")),
        ];
        let taken = take(&mut alerts, &notification(&strange), 0);
        assert_eq!(taken, Taken { ignored: 5, ..Taken::default() });
        assert!(alerts.models.values().all(BTreeMap::is_empty));
        let quality = with("alertname", json!("ModelAucDropped"));
        assert_eq!(take(&mut alerts, &notification(&[quality]), 0).firing, 1);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut alerts = Alerts::default();
        let many: Vec<Value> = (0..MOST + 5).map(|at| alert("firing", &at.to_string())).collect();
        let taken = take(&mut alerts, &notification(&many), 0);
        assert_eq!((taken.firing, taken.ignored), (MOST, 5));
    }

    #[test]
    fn other_forms_are_refused() {
        let mut alerts = Alerts::default();
        for (body, expected) in [
            ("{", "expected what"),
            ("[]", "expected what"),
            (r#"{"version": "4"}"#, "expected what"),
            (r#"{"version": "5", "alerts": []}"#, "got \"5\""),
        ] {
            let error = alerts.take(body.as_bytes(), 0, |_| true).expect_err("refused");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
