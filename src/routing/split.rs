//! The split: which variant a slot belongs to.
//!
//! Variant i owns the slots from `off_i` to `off_i + w_i`, where `off_i` is the
//! sum of the greatest weights of those before it; the champion has all others.
//! Offsets stay where they are while weights change, so a growing weight takes
//! slots from the champion alone, and no unit that was exposed moves.

use std::collections::BTreeMap;

use super::bucket::SLOTS;
use super::document::{Problem, VariantSpec};
use super::route::Variant;
use crate::types::{VariantName, Weight};

/// Variants that a route may have, with the champion.
pub const MAX_VARIANTS: usize = 16;

/// The variants but for the champion, in the document's order.
#[derive(Clone, Debug)]
pub(super) struct Split(Vec<Arm>);

/// A variant's slots.
#[derive(Clone, Debug)]
struct Arm {
    name: VariantName,
    /// The first slot.
    start: u32,
    weight: Weight,
    /// How far the weight may grow.
    most: Weight,
}

impl Split {
    /// The split that a document asks for.
    pub(super) fn new(variants: &[VariantSpec]) -> Result<Split, Problem> {
        check_names(variants)?;
        let others = || variants.iter().enumerate().filter(|(_, spec)| !spec.name.is_champion());
        // Thousandths of a percent; what of them is not given is shared.
        let mut given = 0;
        for (place, spec) in others() {
            let most = spec.max_weight.map_or(0, Weight::millipercent);
            given += most;
            if given > SLOTS {
                return Err(Problem::at(
                    format!("spec.variants.{place}.maxWeight"),
                    format!(
                        "the greatest weights have to fit into 100 percent together, and with \
                         this one they take {}: lower one of them",
                        f64::from(given) / 1e3
                    ),
                ));
            }
        }
        let open = others().filter(|(_, spec)| spec.max_weight.is_none()).count() as u32;
        let share = (SLOTS - given).checked_div(open).unwrap_or(0);
        let share = Weight::from_millipercent(share).unwrap_or_default();

        let mut arms = Vec::new();
        let mut start = 0;
        for (place, spec) in others() {
            let most = spec.max_weight.unwrap_or(share);
            let weight = spec.weight.unwrap_or(Weight::NONE);
            if weight > most {
                return Err(Problem::at(
                    format!("spec.variants.{place}.weight"),
                    too_much(&spec.name, weight, most, spec.max_weight.is_some()),
                ));
            }
            arms.push(Arm { name: spec.name.clone(), start, weight, most });
            start += most.millipercent();
        }
        let split = Split(arms);
        for (place, spec) in variants.iter().enumerate().filter(|(_, spec)| spec.name.is_champion())
        {
            if let Some(weight) = spec.weight {
                split.check_champion(weight, format!("spec.variants.{place}.weight"))?;
            }
        }
        Ok(split)
    }

    /// The same variants with other weights, for those that `weights` names.
    pub(super) fn with(
        mut self,
        weights: &BTreeMap<VariantName, Weight>,
    ) -> Result<Split, Problem> {
        for (name, &weight) in weights.iter().filter(|(name, _)| !name.is_champion()) {
            let Some(arm) = self.0.iter_mut().find(|arm| arm.name == *name) else {
                let known: Vec<_> = self.names().map(VariantName::to_string).collect();
                return Err(Problem::at(
                    format!("weights.{name}"),
                    format!("the route has no variant {name}, but: {}", known.join(", ")),
                ));
            };
            if weight > arm.most {
                let message = too_much(name, weight, arm.most, true);
                return Err(Problem::at(format!("weights.{name}"), message));
            }
            arm.weight = weight;
        }
        if let Some((name, &weight)) = weights.iter().find(|(name, _)| name.is_champion()) {
            self.check_champion(weight, format!("weights.{name}"))?;
        }
        Ok(self)
    }

    fn check_champion(&self, weight: Weight, path: String) -> Result<(), Problem> {
        let rest = self.champion();
        if weight == rest {
            return Ok(());
        }
        Err(Problem::at(
            path,
            format!(
                "the champion has what the other variants leave, which is {rest} percent, not \
                 {weight}: leave it out, or change the others"
            ),
        ))
    }

    /// What the others leave. Their greatest weights fit together, so they do.
    fn champion(&self) -> Weight {
        let others = self.0.iter().map(|arm| arm.weight.millipercent()).sum();
        Weight::from_millipercent(others).unwrap_or(Weight::ALL).rest()
    }

    fn names(&self) -> impl Iterator<Item = &VariantName> {
        self.0.iter().map(|arm| &arm.name)
    }

    /// All variants, the champion first.
    pub(super) fn variants(&self) -> Vec<Variant> {
        let champion = Variant { name: VariantName::champion(), weight: self.champion() };
        let others =
            self.0.iter().map(|arm| Variant { name: arm.name.clone(), weight: arm.weight });
        std::iter::once(champion).chain(others).collect()
    }

    /// Whether anything but the champion has slots.
    pub(super) fn divides(&self) -> bool {
        self.0.iter().any(|arm| !arm.weight.is_none())
    }

    /// The place among [`Split::variants`] that a slot belongs to.
    pub(super) fn pick(&self, slot: u32) -> usize {
        // Below its start a slot wraps to more than any weight.
        let own = |arm: &Arm| slot.wrapping_sub(arm.start) < arm.weight.millipercent();
        self.0.iter().position(own).map_or(0, |place| place + 1)
    }

    /// The slots of the variant at a place; the end is not in it. `None` for
    /// the champion, whose slots are scattered.
    pub(super) fn range(&self, variant: usize) -> Option<(u32, u32)> {
        let arm = self.0.get(variant.checked_sub(1)?)?;
        Some((arm.start, arm.start + arm.weight.millipercent()))
    }

    /// Where the variant of a slot may change, with both ends of the whole.
    pub(super) fn borders(&self) -> impl Iterator<Item = u32> {
        let ranges = (1..=self.0.len()).filter_map(|variant| self.range(variant));
        ranges.flat_map(|(start, end)| [start, end]).chain([0, SLOTS])
    }
}

fn check_names(variants: &[VariantSpec]) -> Result<(), Problem> {
    let names_champion = variants.iter().any(|spec| spec.name.is_champion());
    let count = variants.len() + usize::from(!names_champion);
    if count > MAX_VARIANTS {
        return Err(Problem::at(
            "spec.variants",
            format!("expected at most {MAX_VARIANTS} variants with the champion, found {count}"),
        ));
    }
    for (place, spec) in variants.iter().enumerate() {
        if variants[..place].iter().any(|earlier| earlier.name == spec.name) {
            return Err(Problem::at(
                format!("spec.variants.{place}.name"),
                format!("there is a variant {} already: give each its own name", spec.name),
            ));
        }
        if spec.name.is_champion() && spec.max_weight.is_some() {
            return Err(Problem::at(
                format!("spec.variants.{place}.maxWeight"),
                "the champion has what the other variants leave: give them a maxWeight instead"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

fn too_much(name: &VariantName, weight: Weight, most: Weight, is_given: bool) -> String {
    let most_is = if is_given {
        format!("more than its maxWeight of {most}: lower it, or raise maxWeight")
    } else {
        format!(
            "more than its share of {most}, which it has because nothing else is said: give it a \
             maxWeight"
        )
    };
    format!("{name} would have {weight} percent, {most_is}")
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
