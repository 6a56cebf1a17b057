//! Times of answers, by model and by what went on meanwhile.

use std::time::Duration;

use loadtest::record;
use serde_json::{Value, json};

use super::MODELS;
use super::load::Answered;
use super::windows::Window;

/// What went on while a request was under way.
#[derive(Clone, Copy, Debug)]
pub enum Phase {
    /// A block without swaps.
    Quiet,
    /// A swap.
    Window,
    /// The time between two swaps.
    Between,
}

impl Phase {
    pub const ALL: [Phase; 3] = [Phase::Quiet, Phase::Window, Phase::Between];

    pub fn name(self) -> &'static str {
        match self {
            Phase::Quiet => "quiet",
            Phase::Window => "in windows",
            Phase::Between => "between windows",
        }
    }
}

#[derive(Debug, Default)]
pub struct Times([[record::Times; 3]; 2]);

impl Times {
    pub fn of(&self, model: usize, phase: Phase) -> &record::Times {
        &self.0[model][phase as usize]
    }

    pub fn quiet(&mut self, answered: &[Answered]) {
        for answer in answered {
            self.record(answer, Phase::Quiet);
        }
    }

    /// A request belongs to a window when it was under way in a part of it.
    pub fn swapping(&mut self, answered: &[Answered], windows: &[Window]) {
        for answer in answered {
            let next = windows.partition_point(|window| window.end <= answer.due);
            let meets = windows.get(next).is_some_and(|window| window.start < answer.done);
            self.record(answer, if meets { Phase::Window } else { Phase::Between });
        }
    }

    fn record(&mut self, answer: &Answered, phase: Phase) {
        let time = answer.done.saturating_sub(answer.due);
        self.0[answer.model][phase as usize].record(time);
    }

    pub fn p99_line(&self) -> String {
        let of = |model: usize| {
            let [quiet, window] =
                [Phase::Quiet, Phase::Window].map(|phase| self.of(model, phase).quantile_ms(0.99));
            format!("{} p99 {quiet:.2} quiet, {window:.2} ms in windows", MODELS[model])
        };
        format!("{}; {}", of(0), of(1))
    }

    pub fn facts(&self, model: usize, phase: Phase) -> Value {
        let times = self.of(model, phase);
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|q| times.quantile_ms(q));
        json!({
            "answers": times.count(), "p50_ms": p50, "p90_ms": p90, "p99_ms": p99,
            "p999_ms": p999, "max_ms": times.max_ms(),
        })
    }
}

/// The middle of some times, in milliseconds.
pub fn median_ms(times: &[Duration]) -> f64 {
    crate::bench::median(times.iter().map(|time| time.as_secs_f64() * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_belongs_to_the_window_that_it_meets() {
        let ms = Duration::from_millis;
        let answered = |due, done| Answered { model: 1, due: ms(due), done: ms(done) };
        let mut times = Times::default();
        let requests =
            [answered(1, 9), answered(9, 11), answered(15, 16), answered(19, 25), answered(20, 29)];
        times.swapping(&requests, &[ms(10)..ms(20), ms(30)..ms(40)]);
        assert_eq!(times.of(1, Phase::Window).count(), 3);
        assert_eq!(times.of(1, Phase::Between).count(), 2);
        assert_eq!(times.of(0, Phase::Window).count(), 0);
    }
}
