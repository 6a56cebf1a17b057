//! Whether a model is to be trained anew: facts in, decision out. Pure; what it
//! remembers is handed in, so that a restart changes no decision.
//!
//! # The choices
//!
//! - **Quality outranks drift.** A breach of quality asks for training. So does
//!   drift of what the model answers, unless labels say that it is right all the
//!   same. Drift of inputs alone is a ticket for people: most of it does no harm.
//! - **Twice the same.** Evidence counts once it was seen in several looks in a
//!   row, the first and the last of which have windows without a common row.
//! - **Once.** What was asked for is not asked for again before the evidence has
//!   gone, unless nothing came of it: nobody took it, the run was lost, or its
//!   version was refused. And never before the cooldown is over, which doubles
//!   while a run is in flight and with every version that is refused.
//! - **A new version gets its chance.** Its arrival lifts the cooldown; until it
//!   is promoted or refused nothing is asked for.
//! - **A feed that breaks is a page**, and while windows hold rows of that time
//!   nothing is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::blackout::Blackout;
use super::decision::{Decision, Verdict, nothing, watching};
use super::event::hash;
use super::evidence::{Evidence, EvidenceRule, Finding, Rule, told};
use super::facts::{Facts, Served};
use super::follow::{Asked, Outcome};
use super::guard::{self, GuardRule, Memory};
use crate::types::{ModelName, Version};

/// Of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Decides all the same, and sends nothing.
    pub dry_run: bool,
    /// Whether drift of inputs alone asks for training, too.
    pub trains_on_input_drift: bool,
    /// Looks in a row.
    pub evaluations: u32,
    pub evidence: EvidenceRule,
    pub guard: GuardRule,
    /// Length of the longest window.
    pub longest_window_us: i64,
    pub cooldown_us: i64,
    pub longest_cooldown_us: i64,
    pub clear: ClearRule,
    pub blackouts: Vec<Blackout>,
}

/// When evidence has gone: all of its features are below both for so long.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearRule {
    pub psi: f64,
    pub z: f64,
    pub for_us: i64,
}

/// What is remembered of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Of features, by version and profile.
    memories: BTreeMap<String, Memory>,
    broken: Option<Broken>,
    streak: Option<Streak>,
    episode: Option<Episode>,
    pub asked: Option<Asked>,
    /// Versions in a row that came of requests and were refused.
    pub refused: u32,
}

/// A feed that broke.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Broken {
    since: i64,
    last: i64,
    looks: u32,
}

/// Evidence that is seen look after look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Streak {
    version: Version,
    profile: String,
    trains: bool,
    since: i64,
    looks: u32,
}

/// Evidence that was acted on, until it has gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Episode {
    version: Version,
    profile: String,
    since: i64,
    /// Features that drifted when it began.
    features: Vec<String>,
    /// Whether training was asked for; else it is a ticket.
    trains: bool,
    calm_since: Option<i64>,
}

impl Policy {
    /// Takes in what is known now, and decides. The second value is what became
    /// of the last request since.
    pub fn decide(&self, state: &mut State, facts: &Facts) -> (Decision, Vec<Outcome>) {
        let steps = self.follow_up(state, facts);
        (self.judge(state, facts), steps)
    }

    fn follow_up(&self, state: &mut State, facts: &Facts) -> Vec<Outcome> {
        // Where dry runs have ended, they hold nothing back.
        if !self.dry_run && state.asked.as_ref().is_some_and(|asked| asked.dry_run) {
            (state.asked, state.episode) = (None, None);
        }
        let steps = state.asked.as_mut().map(|asked| asked.follow(facts)).unwrap_or_default();
        for step in &steps {
            match step {
                Outcome::Promoted { .. } => state.refused = 0,
                Outcome::Rejected { .. } => state.refused += 1,
                _ => {}
            }
        }
        steps
    }

    fn judge(&self, state: &mut State, facts: &Facts) -> Decision {
        let now = facts.now;
        let findings: Vec<Finding<'_>> = facts
            .served
            .iter()
            .map(|served| Finding::of(served, &facts.alerts, &self.evidence))
            .collect();
        if let Some(decision) = self.guard(state, facts, &findings) {
            state.streak = None;
            return decision;
        }
        self.clear(state, &findings, now);
        let strongest = findings
            .iter()
            .filter_map(|finding| Some((finding.rule?, finding)))
            .max_by_key(|(rule, finding)| (*rule, finding.served.version));
        let Some((rule, finding)) = strongest else {
            state.streak = None;
            return nothing(match facts.served.is_empty() {
                true => "no version that answers has a profile and counts",
                false => "nothing that is looked at speaks for it",
            });
        };
        let trains = rule > Rule::InputDrift || self.trains_on_input_drift;
        let episode = state.episode.as_ref().filter(|episode| episode.is_of(finding.served));
        if let Some(episode) = episode.filter(|_| !trains) {
            if episode.trains {
                return nothing("asked for already, and some of the evidence is still there");
            }
            let evidence = self.evidence(facts, finding, rule, episode.since);
            let why = format!("{}: a ticket is open", evidence.findings.join("; "));
            return Decision { verdict: Verdict::Ticket(Box::new(evidence)), why };
        }
        if trains && let Some(why) = self.held_back(state, finding.served, now) {
            // Looks count from when a request may be made again.
            state.streak = None;
            return why;
        }
        self.count(state, facts, finding, rule)
    }

    /// What is decided while data is broken, and while windows hold some of it.
    fn guard(&self, state: &mut State, facts: &Facts, found: &[Finding<'_>]) -> Option<Decision> {
        let now = facts.now;
        let mut broken = Vec::new();
        for finding in found {
            let memory = state.memories.entry(key(finding.served)).or_default();
            let drifted = told(&finding.alerts);
            broken.extend(guard::look(memory, &finding.served.report, &drifted, now, &self.guard));
        }
        let oldest = now.saturating_sub(self.longest_window_us);
        state.memories.retain(|_, memory| memory.seen_at >= oldest);
        if broken.is_empty() {
            let last = state.broken.as_ref()?.last;
            if last.saturating_add(self.longest_window_us) > now {
                let why = "windows still hold rows of the time when data was broken";
                return Some(nothing(why));
            }
            state.broken = None;
            return None;
        }
        let before = state.broken.take();
        let since = before.as_ref().map_or(now, |before| before.since);
        let looks = before.map_or(1, |before| before.looks.saturating_add(1));
        state.broken = Some(Broken { since, last: now, looks });
        let words = broken.join("; ");
        if looks < self.evaluations {
            return Some(watching(format!("{words}: data seems to be broken")));
        }
        let worst = found.iter().max_by_key(|finding| finding.served.version)?;
        let mut evidence = self.evidence(facts, worst, Rule::InputDrift, since);
        (evidence.rule, evidence.findings) = (None, broken);
        let why = format!("{words}: data is broken, and training on it would do harm");
        Some(Decision { verdict: Verdict::Page(Box::new(evidence)), why })
    }

    /// Ends an episode whose evidence has gone, or whose version has.
    fn clear(&self, state: &mut State, findings: &[Finding<'_>], now: i64) {
        let Some(episode) = &mut state.episode else { return };
        let Some(finding) = findings.iter().find(|finding| episode.is_of(finding.served)) else {
            return;
        };
        let is_calm = finding.rule.is_none() && self.is_calm(finding, &episode.features);
        episode.calm_since = is_calm.then(|| episode.calm_since.unwrap_or(now));
        if episode.calm_since.is_some_and(|since| now - since >= self.clear.for_us) {
            state.episode = None;
        }
    }

    /// Whether these features show next to nothing, in every window that has
    /// enough rows. Too few rows in all of them say nothing.
    fn is_calm(&self, finding: &Finding<'_>, features: &[String]) -> bool {
        let report = &finding.served.report;
        let features =
            report.features.iter().filter(|of| features.iter().any(|to| **to == *of.name));
        features.into_iter().all(|feature| {
            let mut told =
                feature.windows.iter().filter(|window| window.score.rows >= feature.min_rows);
            let first = told.next();
            first.is_some()
                && first.into_iter().chain(told).all(|window| {
                    let score = &window.score;
                    score.psi_adjusted < self.clear.psi && score.significance.z < self.clear.z
                })
        })
    }

    /// Why nothing may be asked for whatever is found, where that is so.
    fn held_back(&self, state: &State, served: &Served, now: i64) -> Option<Decision> {
        let asked = state.asked.as_ref()?;
        let id = &asked.id;
        match &asked.outcome {
            Outcome::Arrived { version, .. } => {
                return Some(watching(format!("version {version} has come of {id}; it is tried")));
            }
            Outcome::Promoted { version, .. } if served.version < *version => {
                return Some(nothing(format!("version {version} has come of {id}, and answers")));
            }
            _ => {}
        }
        if self.cooldown_until(state, now).is_some_and(|until| now < until) {
            return Some(nothing(format!("asked for by {id}; the cooldown is not over")));
        }
        // What came to nothing may be asked for again.
        let again = !asked.dry_run && !matches!(asked.outcome, Outcome::Promoted { .. });
        let episode = state.episode.as_ref().filter(|episode| episode.is_of(served));
        (episode.is_some_and(|episode| episode.trains) && !again)
            .then(|| nothing(format!("asked for by {id}, and the evidence has not gone since")))
    }

    /// Until when no request may be made; none where no cooldown counts.
    pub fn cooldown_until(&self, state: &State, now: i64) -> Option<i64> {
        let asked = state.asked.as_ref()?;
        let doubled = |times: u32| {
            let factor = 1_i64.checked_shl(times.min(62)).unwrap_or(i64::MAX);
            self.cooldown_us.saturating_mul(factor).min(self.longest_cooldown_us)
        };
        match asked.outcome {
            Outcome::Arrived { .. } | Outcome::Promoted { .. } => None,
            Outcome::Rejected { .. } => {
                Some(asked.outcome_at.saturating_add(doubled(state.refused)))
            }
            _ if !asked.is_in_flight() => Some(asked.at.saturating_add(self.cooldown_us)),
            // It doubles each time that it is over and the run is not.
            _ => {
                let until = (0..=62).map(|times| asked.at.saturating_add(doubled(times)));
                let longest = asked.at.saturating_add(self.longest_cooldown_us);
                until.into_iter().find(|until| now < *until).or(Some(longest))
            }
        }
    }

    /// Counts a look that found something, and acts once it has lasted.
    fn count(&self, state: &mut State, facts: &Facts, of: &Finding<'_>, rule: Rule) -> Decision {
        let now = facts.now;
        let trains = rule > Rule::InputDrift || self.trains_on_input_drift;
        let before = state.streak.take().filter(|streak| {
            streak.version == of.served.version
                && *streak.profile == *of.served.profile
                && streak.trains == trains
        });
        let streak = Streak {
            version: of.served.version,
            profile: of.served.profile.to_string(),
            trains,
            since: before.as_ref().map_or(now, |before| before.since),
            looks: before.map_or(1, |before| before.looks.saturating_add(1)),
        };
        let (since, looks) = (streak.since, streak.looks);
        state.streak = Some(streak);
        let words = of.words().join("; ");
        if looks < self.evaluations || now - since < self.guard.window_us {
            return watching(format!("{words}: not seen for long enough"));
        }
        if trains && facts.budget_left == 0 {
            return watching(format!("{words}: today's budget of requests is spent"));
        }
        if trains && self.blackouts.iter().any(|blackout| blackout.covers(now)) {
            return watching(format!("{words}: nothing is requested at this hour"));
        }
        let evidence = self.evidence(facts, of, rule, since);
        state.streak = None;
        state.episode = Some(Episode {
            version: of.served.version,
            profile: of.served.profile.to_string(),
            since,
            features: of.drifted().map(str::to_owned).collect(),
            trains,
            calm_since: None,
        });
        if !trains {
            let why = format!("{words}: for people to look at");
            return Decision { verdict: Verdict::Ticket(Box::new(evidence)), why };
        }
        let above = facts.offered.iter().map(|of| of.version).max();
        let above = above.map_or(of.served.version, |above| above.max(of.served.version));
        let mut asked = Asked::new(evidence.id.clone(), now, &evidence, above);
        asked.dry_run = self.dry_run;
        state.asked = Some(asked);
        let verdict = match self.dry_run {
            true => Verdict::DryRun(Box::new(evidence)),
            false => Verdict::Request(Box::new(evidence)),
        };
        Decision { verdict, why: words }
    }

    fn evidence(&self, facts: &Facts, of: &Finding<'_>, rule: Rule, since: i64) -> Evidence {
        Evidence {
            id: id(&facts.model, of.served, rule, since.div_euclid(self.guard.window_us)),
            version: of.served.version,
            digest: of.served.digest,
            profile: of.served.profile.to_string(),
            rule: Some(rule),
            from: since,
            to: facts.now,
            findings: of.words(),
            features: of.features(),
            quality: of.breaches.iter().map(|breach| (*breach).clone()).collect(),
            alerts: of.alerts.iter().map(|alert| (*alert).clone()).collect(),
            evidence_log10: of.evidence_log10(),
        }
    }
}

impl Episode {
    fn is_of(&self, served: &Served) -> bool {
        self.version == served.version && *self.profile == *served.profile
    }
}

fn key(served: &Served) -> String {
    format!("{}/{}", served.version, served.profile)
}

/// Names evidence: the same on every replica that
/// saw it begin in the same window.
fn id(model: &ModelName, served: &Served, rule: Rule, first_window: i64) -> String {
    let Served { version, digest, profile, .. } = served;
    let [version, digest] = [version.to_string(), digest.to_string()];
    let window = first_window.to_string();
    hash(&[model.as_str(), &version, &digest, profile, rule.label(), &window])
}
