//! What there is room for: columns that are looked at, and those that have
//! series in Prometheus. Pure.

/// Columns of a version that windows and alarms are kept of.
///
/// The ring of a column and window takes at most 272 bytes a bucket (24 bins):
/// 26 KiB for a day, so 21 MiB for all columns, an hour and a day; of 50
/// columns of 10 bins it is 1.2 MiB.
pub(super) const MAX_WATCHED: usize = 512;

/// Columns of a version that are compared with the champion's: it takes twice
/// the memory of those that are only looked at.
pub(super) const MAX_COMPARED: usize = 64;

/// Columns of a version that have series.
pub(super) const MAX_EXPORTED: usize = 64;

/// Versions of a model that have series of columns.
pub(super) const MAX_VERSIONS: usize = 3;

/// Series of columns that one process has.
pub(super) const MAX_SERIES: usize = 10_000;

/// Places of a profile's columns, from what is kept first: inputs and outputs
/// take turns, each in the profile's order, so that neither starves the other.
pub(super) fn by_importance(inputs: usize, outputs: usize) -> impl Iterator<Item = usize> {
    (0..inputs.max(outputs)).flat_map(move |at| {
        let output = (at < outputs).then_some(inputs + at);
        [output, (at < inputs).then_some(at)].into_iter().flatten()
    })
}

/// A version that wants series.
pub(super) struct Wish<'a> {
    pub(super) model: &'a str,
    pub(super) version: u64,
    /// Whether it has answered anybody.
    pub(super) has_answered: bool,
    /// Series of each of its columns, from what is kept first.
    pub(super) columns: Vec<usize>,
}

/// For each version the number of columns that have series, from the first.
///
/// Of a model those that have answered come first, then the newest: a version
/// that waits to answer, or is a shadow only, takes no place from one that people
/// get answers of. The first of every model comes before the second of any.
pub(super) fn grant(wishes: &[Wish<'_>]) -> Vec<usize> {
    let place = |wish: &Wish<'_>| {
        let key = |wish: &Wish<'_>| (wish.has_answered, wish.version);
        wishes.iter().filter(|other| other.model == wish.model && key(other) > key(wish)).count()
    };
    let mut order: Vec<(usize, usize)> =
        wishes.iter().enumerate().map(|(at, wish)| (place(wish), at)).collect();
    order.retain(|(place, _)| *place < MAX_VERSIONS);
    order.sort_unstable();
    let (mut granted, mut left) = (vec![0; wishes.len()], MAX_SERIES);
    for (_, at) in order {
        for series in wishes[at].columns.iter().take(MAX_EXPORTED) {
            let Some(rest) = left.checked_sub(*series) else { break };
            left = rest;
            granted[at] += 1;
        }
    }
    granted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(model: &str, version: u64, has_answered: bool, columns: usize) -> Wish<'_> {
        Wish { model, version, has_answered, columns: vec![40; columns] }
    }

    #[test]
    fn neither_inputs_nor_outputs_starve() {
        let first = |inputs, outputs, most| {
            let mut places: Vec<usize> = by_importance(inputs, outputs).take(most).collect();
            places.sort_unstable();
            places
        };
        assert_eq!(first(3, 2, 9), [0, 1, 2, 3, 4]);
        assert_eq!(first(100, 2, 6), [0, 1, 2, 3, 100, 101]);
        assert_eq!(first(2, 100, 6), [0, 1, 2, 3, 4, 5]);
        assert_eq!(first(100, 100, 4), [0, 1, 100, 101]);
        assert!(first(0, 0, 4).is_empty());
    }

    #[test]
    fn a_version_has_so_many_columns_and_a_model_so_many_versions() {
        assert_eq!(grant(&[wish("a", 1, true, 100)]), [MAX_EXPORTED]);
        let four: Vec<Wish<'_>> = (1..=4).map(|version| wish("a", version, true, 2)).collect();
        assert_eq!(grant(&four), [0, 2, 2, 2]);
        let mut champion_is_old = four;
        champion_is_old.iter_mut().skip(1).for_each(|newer| newer.has_answered = false);
        assert_eq!(grant(&champion_is_old), [2, 0, 2, 2]);
    }

    #[test]
    fn all_series_together_are_bounded_and_each_model_gets_some() {
        let names: Vec<String> = (0..9).map(|model| format!("m{model}")).collect();
        let wishes: Vec<Wish<'_>> = names
            .iter()
            .flat_map(|model| (1..=3).map(|version| wish(model, version, true, 30)))
            .collect();
        let granted = grant(&wishes);
        assert_eq!(granted.iter().sum::<usize>() * 40, MAX_SERIES);
        // The newest of all have theirs, and none of the oldest.
        assert!(granted.chunks(3).all(|model| model[2] > 0 && model[0] == 0), "{granted:?}");
    }
}
