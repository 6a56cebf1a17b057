//! The metrics page as a scraper reads it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::http;

/// Samples of one scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    #[track_caller]
    pub fn of(ops: SocketAddr) -> Scrape {
        let reply = http::get(ops, "/metrics");
        assert_eq!(reply.status, 200);
        let text = reply.text();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let mut samples = BTreeMap::new();
        for line in lines {
            let (series, value) = line.rsplit_once(' ').expect("a name and a value");
            let value = value.parse().expect("a number");
            let earlier = samples.insert(series.to_owned(), value);
            assert!(earlier.is_none(), "{series} stands on the page twice");
        }
        Scrape { samples }
    }

    /// Sum over the series of `family` that bear every one of `labels`.
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let of_family = |series: &str| {
            let rest = series.strip_prefix(family)?;
            if rest.is_empty() {
                Some(String::new())
            } else {
                Some(rest.strip_prefix('{')?.to_owned())
            }
        };
        self.samples
            .iter()
            .filter(|(series, _)| {
                of_family(series)
                    .is_some_and(|labels| wanted.iter().all(|label| labels.contains(label)))
            })
            .map(|(_, value)| value)
            .sum()
    }

    pub fn series(&self) -> usize {
        self.samples.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }
}
