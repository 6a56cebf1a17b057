//! Flags that narrow the tables.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use datafusion::logical_expr::{Expr, ident, lit};
use datafusion::scalar::ScalarValue;

#[derive(Args, Clone, Debug, Default)]
pub struct Filters {
    /// Only predictions of this model
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Only predictions of this version
    #[arg(long, value_name = "N")]
    pub version: Option<u64>,
    /// Only predictions of this variant
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Only predictions through this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Only predictions that ended with this code: ok, or a gRPC code such as internal
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Only predictions of this role
    #[arg(long, value_enum)]
    pub role: Option<Role>,
    /// Only this request, and its labels
    #[arg(long, value_name = "REQUEST_ID")]
    pub id: Option<String>,
    /// Only requests from this time on: 2026-11-21, 2026-11-21T12:00:00Z, or as long ago as 90s,
    /// 15m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<i64>,
    /// Only requests before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Primary,
    Fallback,
    Shadow,
}

impl Role {
    pub fn label(self) -> &'static str {
        match self {
            Role::Primary => "primary",
            Role::Fallback => "fallback",
            Role::Shadow => "shadow",
        }
    }
}

pub const MICROS_PER_DAY: i64 = 86_400_000_000;

impl Filters {
    /// What holds of the predictions that are wanted. Files whose folders say
    /// that none is in them are not opened.
    pub fn of_predictions(&self) -> Vec<Expr> {
        let texts = [
            ("model", self.model.as_deref()),
            ("variant", self.variant.as_deref()),
            ("route", self.route.as_deref()),
            ("code", self.code.as_deref()),
            ("role", self.role.map(Role::label)),
            ("request_id", self.id.as_deref()),
        ];
        let equal = texts.into_iter().filter_map(|(name, value)| Some(ident(name).eq(lit(value?))));
        let version = self.version.map(|version| ident("version").eq(lit(version)));
        let since = self.since.into_iter().flat_map(|at| {
            [ident("date").gt_eq(lit(day(at))), ident("event_time").gt_eq(lit(timestamp(at)))]
        });
        let until = self.until.into_iter().flat_map(|at| {
            [ident("date").lt_eq(lit(day(at))), ident("event_time").lt(lit(timestamp(at)))]
        });
        equal.chain(version).chain(since).chain(until).collect()
    }

    /// Labels come late, and may not know their model: only a request's id narrows them.
    pub fn of_labels(&self) -> Vec<Expr> {
        self.id.iter().map(|id| ident("request_id").eq(lit(id.as_str()))).collect()
    }
}

fn day(at: i64) -> ScalarValue {
    ScalarValue::Date32(i32::try_from(at.div_euclid(MICROS_PER_DAY)).ok())
}

fn timestamp(at: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into()))
}

/// Microseconds since 1970, of a time or of how long ago it was.
fn time(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    time_from(text, now).ok_or_else(|| {
        "expected a time such as 2026-11-21 or 2026-11-21T12:00:00Z, or how long ago: 90s, 15m, \
         2h, 7d"
            .to_owned()
    })
}

pub fn time_from(text: &str, now: i64) -> Option<i64> {
    let unit = match text.bytes().last()? {
        b's' => 1_000_000,
        b'm' => 60_000_000,
        b'h' => 3_600_000_000,
        b'd' => MICROS_PER_DAY,
        _ => return string_to_timestamp_nanos(text).ok().map(|nanos| nanos.div_euclid(1000)),
    };
    let count: u32 = text[..text.len() - 1].parse().ok()?;
    Some(now.saturating_sub(unit * i64::from(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_how_long_ago() {
        let now = 1_795_264_689_000_000;
        for (text, expected) in [
            ("90s", Some(now - 90_000_000)),
            ("2h", Some(now - 7_200_000_000)),
            ("7d", Some(now - 7 * MICROS_PER_DAY)),
            ("2026-11-21", Some(1_795_219_200_000_000)),
            ("2026-11-21T12:38:09Z", Some(now)),
            ("2026-11-21T13:38:09+01:00", Some(now)),
            ("-5m", None),
            ("m", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(time_from(text, now), expected, "{text}");
        }
    }
}
