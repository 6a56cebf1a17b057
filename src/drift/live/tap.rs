//! Rows counted into the bins of one profile, wherever its columns stand in a
//! version's tensors.

use std::sync::{Arc, OnceLock};

use super::counts::Counts;
use super::tensors::{Reader, readers};
use super::watch::Role;
use crate::drift::profile::Profile;
use crate::drift::tally::Tally;
use crate::types::{Signature, Tensor};

/// A request's tensors and its answer's.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// In the signature's order.
    pub inputs: &'a [Tensor],
    /// Places of `outputs` in the signature.
    pub wanted: &'a [usize],
    pub outputs: &'a [Tensor],
}

pub(super) struct Tap {
    profile: Arc<Profile>,
    inputs: Vec<Reader>,
    outputs: Vec<Reader>,
    shards: usize,
    /// By role; made when the first of its rows comes.
    counts: [OnceLock<Counts>; Role::ALL.len()],
}

impl Tap {
    /// `signature` has every column of the profile. `shards` as in
    /// [`crate::telemetry::TelemetryOptions`].
    pub(super) fn new(profile: Arc<Profile>, signature: &Signature, shards: usize) -> Tap {
        Tap {
            inputs: readers(&profile.inputs, &signature.inputs),
            outputs: readers(&profile.outputs, &signature.outputs),
            shards: crate::telemetry::shard_count(shards),
            counts: Default::default(),
            profile,
        }
    }

    /// How long it takes to count rows: as many numbers take as long.
    pub(super) fn cost(&self, rows: Rows<'_>) -> usize {
        self.parts(rows).map(|(reader, tensor, _)| reader.cost(tensor)).sum()
    }

    /// Counts rows. Takes no lock that it would have to wait for: `false` where
    /// it could not count.
    pub(super) fn count(&self, role: Role, rows: Rows<'_>) -> bool {
        let counts = self.counts[role as usize]
            .get_or_init(|| Counts::new(self.profile.columns(), self.shards));
        counts.count(|tallies| {
            let (inputs, outputs) = tallies.split_at_mut(self.profile.inputs.len());
            for (reader, tensor, is_output) in self.parts(rows) {
                if is_output {
                    reader.count(&self.profile.outputs, tensor, outputs);
                } else {
                    reader.count(&self.profile.inputs, tensor, inputs);
                }
            }
        })
    }

    /// Whether rows of a role came.
    pub(super) fn has_seen(&self, role: Role) -> bool {
        self.counts[role as usize].get().is_some()
    }

    /// What was counted so far, by column; none where no row of this role came.
    pub(super) fn total(&self, role: Role) -> Option<Vec<Tally>> {
        self.counts[role as usize].get().map(Counts::total)
    }

    /// Each tensor that is read with its reader, and whether it is an output.
    fn parts<'a>(&'a self, rows: Rows<'a>) -> impl Iterator<Item = (&'a Reader, &'a Tensor, bool)> {
        let inputs = self
            .inputs
            .iter()
            .filter_map(move |reader| Some((reader, rows.inputs.get(reader.tensor)?, false)));
        let outputs = self.outputs.iter().filter_map(move |reader| {
            let place = rows.wanted.iter().position(|wanted| *wanted == reader.tensor)?;
            Some((reader, rows.outputs.get(place)?, true))
        });
        inputs.chain(outputs)
    }
}
