//! Which records are shown. Pure.

use clap::{Args, ValueEnum};

use crate::cli::when;
use crate::predictions::{Label, Prediction, Role};

#[derive(Args, Debug, Default)]
pub(super) struct Filters {
    /// Only predictions of this model, and labels that name it
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only predictions of this version
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Only predictions of this variant
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Only predictions through this route
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Only predictions that ended with this code: ok, or a gRPC code such as internal
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Only predictions of this role
    #[arg(long, value_enum)]
    role: Option<Wanted>,
    /// Only this request, and its labels
    #[arg(long, value_name = "REQUEST_ID")]
    id: Option<String>,
    /// Only from this time on: 2026-11-21, 2026-11-21T12:00:00Z, or as long ago as 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<i64>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    Primary,
    Fallback,
    Shadow,
}

impl Wanted {
    fn is(self, role: Role) -> bool {
        matches!(
            (self, role),
            (Wanted::Primary, Role::Primary)
                | (Wanted::Fallback, Role::Fallback)
                | (Wanted::Shadow, Role::Shadow)
        )
    }
}

/// Whether nothing else is wanted, or this.
fn is<T: PartialEq + ?Sized>(wanted: Option<&T>, found: &T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

impl Filters {
    pub(super) fn takes_prediction(&self, found: &Prediction) -> bool {
        let code = found.code.map_or("ok", |code| code.label());
        is(self.model.as_deref(), &found.model)
            && is(self.version.as_ref(), &found.version)
            && is(self.variant.as_deref(), &found.variant)
            && is(self.route.as_deref(), &found.route)
            && is(self.code.as_deref(), code)
            && self.role.is_none_or(|role| role.is(found.role))
            && is(self.id.as_deref(), &found.request_id)
            && self.takes_time(found.event_time)
    }

    /// What is asked of a prediction's answer, no label can tell.
    pub(super) fn takes_label(&self, found: &Label) -> bool {
        !self.is_of_answers()
            && is(self.model.as_deref(), &found.model)
            && is(self.id.as_deref(), &found.request_id)
            && self.takes_time(found.recorded_time)
    }

    /// Of what is missing nothing is known.
    pub(super) fn takes_gaps(&self) -> bool {
        !self.is_of_answers()
            && self.model.is_none()
            && self.id.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }

    fn is_of_answers(&self) -> bool {
        self.version.is_some()
            || self.variant.is_some()
            || self.route.is_some()
            || self.code.is_some()
            || self.role.is_some()
    }

    fn takes_time(&self, at: i64) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::Truth;
    use crate::types::Code;

    #[test]
    fn each_filter_takes_what_it_names() {
        let prediction = Prediction {
            model: "fraud".to_owned(),
            version: 3,
            variant: "candidate".to_owned(),
            route: "checkout".to_owned(),
            code: Some(Code::Internal),
            role: Role::Fallback,
            request_id: "r-1".to_owned(),
            event_time: 50,
            ..Prediction::default()
        };
        let label = Label {
            request_id: "r-1".to_owned(),
            row: 0,
            label_time: 10,
            recorded_time: 50,
            truth: Truth::Value(1.0),
            weight: 1.0,
            model: "fraud".to_owned(),
        };
        let text = |text: &str| Some(text.to_owned());
        let none = Filters::default;
        for (filters, takes_prediction, takes_label) in [
            (none(), true, true),
            (Filters { model: text("fraud"), ..none() }, true, true),
            (Filters { model: text("churn"), ..none() }, false, false),
            (Filters { version: Some(3), ..none() }, true, false),
            (Filters { version: Some(4), ..none() }, false, false),
            (Filters { variant: text("candidate"), ..none() }, true, false),
            (Filters { route: text("other"), ..none() }, false, false),
            (Filters { code: text("internal"), ..none() }, true, false),
            (Filters { code: text("ok"), ..none() }, false, false),
            (Filters { role: Some(Wanted::Fallback), ..none() }, true, false),
            (Filters { role: Some(Wanted::Primary), ..none() }, false, false),
            (Filters { id: text("r-1"), ..none() }, true, true),
            (Filters { id: text("r-2"), ..none() }, false, false),
            (Filters { since: Some(50), ..none() }, true, true),
            (Filters { since: Some(51), ..none() }, false, false),
            (Filters { until: Some(50), ..none() }, false, false),
        ] {
            assert_eq!(filters.takes_prediction(&prediction), takes_prediction, "{filters:?}");
            assert_eq!(filters.takes_label(&label), takes_label, "{filters:?}");
        }
        assert!(none().takes_gaps() && !Filters { since: Some(0), ..none() }.takes_gaps());
    }
}
