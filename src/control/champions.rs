//! Tells every version's watch which version is its champion.

use crate::serving::Catalog;

/// `shards` as watches are made with.
pub(super) fn tell(catalog: &Catalog, shards: usize) {
    for (servable, champion) in catalog.load().champions() {
        let Some(watch) = servable.watch.load_full() else { continue };
        let champion = champion.and_then(|champion| champion.watch.load_full());
        watch.compare_with(champion.as_ref(), servable.signature(), shards);
    }
}
