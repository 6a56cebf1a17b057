//! Which version answers where another one is tried.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::catalog::Snapshot;
use super::route::ServedRoute;
use super::servable::Servable;
use crate::routing::Route;

impl Snapshot {
    /// Every version that is ready, and its champion: of a variant or a shadow
    /// that of its route, a route named like the model before others; of any
    /// other version the one that answers by default. A champion has none.
    pub fn champions(&self) -> Vec<(Arc<Servable>, Option<Arc<Servable>>)> {
        let (mut tried, mut champions) = (HashMap::new(), HashSet::new());
        let mut by_route = HashMap::new();
        for route in self.by_importance() {
            let Ok(champion) = route.target(Route::CHAMPION) else { continue };
            let champion = &champion.servable;
            champions.insert(Arc::as_ptr(champion));
            if route.route.name == route.route.model {
                by_route.insert(&route.route.model, champion);
            }
            let shadow = route.shadow.iter().map(|mirrored| &mirrored.target);
            let others = route.targets.iter().flatten().chain(shadow);
            for other in others.filter(|other| !Arc::ptr_eq(&other.servable, champion)) {
                tried.entry(Arc::as_ptr(&other.servable)).or_insert(champion);
            }
        }
        let ready = self.models().flat_map(|(name, model)| {
            let default = by_route.get(name).copied().or(model.default.as_ref());
            model.ready.values().map(move |servable| (servable, default))
        });
        ready
            .map(|(servable, default)| {
                let place = Arc::as_ptr(servable);
                let by_default = default.filter(|default| {
                    !champions.contains(&place) && !Arc::ptr_eq(default, servable)
                });
                let champion = tried.get(&place).copied().or(by_default);
                (Arc::clone(servable), champion.map(Arc::clone))
            })
            .collect()
    }

    fn by_importance(&self) -> Vec<&Arc<ServedRoute>> {
        let mut routes: Vec<&Arc<ServedRoute>> = self.routes().map(|(_, route)| route).collect();
        routes.sort_by(|one, other| {
            let key = |served: &Arc<ServedRoute>| served.route.name != served.route.model;
            key(one).cmp(&key(other)).then_with(|| one.route.name.cmp(&other.route.name))
        });
        routes
    }
}
