//! What requests find of routes while their models change, on scripted engines.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::super::RouteState;
use super::*;
use crate::admission::Limiter;
use crate::control::decide::{InstanceId, Plan};
use crate::control::journal::Remembered;
use crate::control::memory::Memory;
use crate::control::model::{Instance, Ready, Settings};
use crate::control::settings::DeclaredRoute;
use crate::engine::FakeEngine;
use crate::registry::{Listed, ListedModel, Listing, Progress, Source, SourceError};
use crate::serving::{Catalog, ExecutionOptions, Loaded, Servable};
use crate::telemetry::TelemetryOptions;
use crate::types::{Digest, Stage, Version};

/// A registry that is never asked.
struct Nowhere;

impl Source for Nowhere {
    fn name(&self) -> &str {
        "nowhere"
    }

    fn location(&self) -> String {
        "nowhere".to_owned()
    }

    fn poll_every(&self) -> Duration {
        Duration::MAX
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, SourceError>> {
        Box::pin(std::future::pending())
    }

    fn fetch<'a>(
        &'a self,
        _: &'a Listed,
        _: &'a Path,
        _: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(std::future::pending())
    }
}

fn name(name: &str) -> ModelName {
    ModelName::parse(name).expect("a name")
}

fn content(number: u64) -> Content {
    let version = Version::parse(&number.to_string()).expect("a version");
    Content { version, digest: Digest::new([number as u8; 32]) }
}

/// Everything around routes: models, telemetry, and the catalog.
struct World {
    routes: Routes,
    models: BTreeMap<ModelName, Model>,
    catalog: Catalog,
    telemetry: Telemetry,
    audit: Vec<AuditEntry>,
}

impl World {
    fn new() -> World {
        World {
            routes: Routes::default(),
            models: BTreeMap::new(),
            catalog: Catalog::default(),
            telemetry: Telemetry::new(TelemetryOptions::default()),
            audit: Vec::new(),
        }
    }

    /// Makes versions of a model ready, and publishes as the lifecycle does;
    /// the newest is the default. Versions that were ready before go.
    fn ready(&mut self, model: &str, versions: &[u64]) {
        let name = name(model);
        let number = |n: &u64| InstanceId { content: content(*n), settings: 0 };
        let limiter = Limiter::new(self.telemetry.model(&name));
        let own = self.models.entry(name.clone()).or_insert_with(|| Model {
            name: name.clone(),
            metrics: self.telemetry.model(&name),
            limiter: Arc::clone(&limiter),
            source: Arc::new(Nowhere),
            listed: ListedModel::default(),
            settings: Settings { number: 0, good: None, error: None },
            remembered: Remembered::default(),
            instances: BTreeMap::new(),
            draining: Vec::new(),
            plan: Plan::default(),
            pinned: BTreeSet::new(),
            is_dirty: false,
        });
        own.instances.retain(|id, _| versions.iter().any(|n| number(n) == *id));
        for id in versions.iter().map(number) {
            own.instances.entry(id).or_insert_with(|| instance(&self.telemetry, &name, id));
        }
        own.plan = Plan {
            default: versions.iter().max().map(number),
            answers: versions.iter().map(|n| (content(*n).version, number(n))).collect(),
            ..Plan::default()
        };
        let entry = Arc::new(own.entry());
        self.publish([(name, Some(entry))].into());
    }

    fn publish(&mut self, changes: ModelChanges) {
        let World { routes, models, catalog, telemetry, audit } = self;
        for model in models.keys() {
            routes.needs(model, None);
        }
        let before = catalog.load();
        let resolved = routes.resolve(&changes, models, &before, telemetry, audit);
        drop(before);
        drop(catalog.publish(changes, resolved));
    }

    /// Applies a route by hand, and publishes.
    fn apply(&mut self, route: &str, spec: &str) {
        let document = document(route, spec);
        let known = self.routes.by_name.get(&name(route));
        let mut state = known.map(|one| RouteState::clone(&one.state)).unwrap_or_default();
        state.document = Some(document);
        self.routes.insert(&name(route), Arc::new(state), None);
        self.publish(ModelChanges::new());
    }

    fn served(&self, route: &str) -> Arc<ServedRoute> {
        Arc::clone(self.catalog.load().route(route).expect("a route"))
    }

    fn servable(&self, model: &str, version: u64) -> Arc<Servable> {
        let model = &self.models[&name(model)];
        Arc::clone(model.loaded(content(version)).expect("it is ready"))
    }
}

fn document(route: &str, spec: &str) -> RouteDocument {
    let head = "apiVersion: modelgate.dev/v1\nkind: Route\n";
    let text = format!("{head}metadata: {{name: {route}}}\nspec: {spec}");
    serde_saphyr::from_str(&text).expect("a route")
}

fn instance(telemetry: &Telemetry, model: &ModelName, id: InstanceId) -> Instance {
    let version = id.content.version;
    let metrics = telemetry.version(VersionLabels::champion(model.clone(), version));
    let engine = Box::new(FakeEngine::new(1, Duration::ZERO));
    let options = ExecutionOptions::default();
    let loaded = Loaded::new(model.clone(), version, engine, options, Arc::clone(&metrics));
    let limiter = Limiter::new(telemetry.model(model));
    let servable = Arc::new(Servable::new(loaded, telemetry.model(model), limiter));
    let share = Memory::default().take(0, 0).expect("nothing fits");
    Instance {
        attempt: 0,
        stage: Stage::Ready,
        since: 0,
        started: Instant::now(),
        listed: None,
        trouble: None,
        rejection: None,
        report: None,
        asking: None,
        is_blocked: false,
        ready: Some(Ready { servable, share }),
        progress: Arc::default(),
        counted_bytes: 0,
        cancelled: Arc::default(),
        task: None,
        metrics,
    }
}

/// The versions of a route's variants, 0 where one cannot answer.
fn versions(served: &ServedRoute) -> Vec<u64> {
    let version = |place| served.target(place).map_or(0, |target| target.servable.version().get());
    (0..served.targets.len()).map(version).collect()
}

#[test]
fn a_push_and_its_routes_are_one_snapshot_and_the_old_version_is_let_go() {
    let mut world = World::new();
    world.ready("m", &[1]);
    world.apply("r", "{model: m, variants: [{name: b, version: latest, weight: 10}]}");
    assert_eq!(versions(&world.served("r")), [1, 1]);
    let old = world.servable("m", 1);
    world.ready("m", &[2]);
    let served = world.served("r");
    assert_eq!(versions(&served), [2, 2]);
    let snapshot = world.catalog.load();
    let entry = snapshot.model("m").expect("a model");
    assert!(Arc::ptr_eq(&served.model, entry), "version pins of the route see the same");
    drop(served);
    drop(snapshot);
    assert_eq!(Arc::strong_count(&old), 1, "nothing of the routes keeps it from draining");
}

#[test]
fn what_stays_the_same_goes_on_counting() {
    let mut world = World::new();
    world.ready("m", &[1, 2]);
    let spec = |weight| {
        format!(
            "{{model: m, variants: [{{name: b, version: 1, weight: {weight}}}], shadow: {{version: 1}}}}"
        )
    };
    world.apply("r", &spec(10));
    let before = world.served("r");
    before.metrics.assigned(1);
    before.shadow.as_ref().expect("a shadow").waiting.store(7, Ordering::Relaxed);
    world.apply("r", &spec(20));
    let after = world.served("r");
    assert_eq!(after.revision, before.revision + 1);
    assert_eq!(after.route.variants[1].weight.percent(), 20.0);
    let same = |place: usize| {
        let targets = [&before, &after].map(|one| one.target(place).map(Arc::as_ptr).ok());
        targets[0] == targets[1]
    };
    assert!(same(0) && same(1));
    assert_eq!(after.metrics.totals()[1].1, 1);
    let shadow = after.shadow.as_ref().expect("a shadow");
    assert_eq!(shadow.waiting.load(Ordering::Relaxed), 7);
    // A new champion changes nothing about the candidate.
    world.ready("m", &[1, 2, 3]);
    let newer = world.served("r");
    assert_eq!(versions(&newer), [3, 1]);
    let targets = [&after, &newer].map(|one| one.target(1).map(Arc::as_ptr).ok());
    assert_eq!(targets[0], targets[1]);
    // Until the shadow's own version goes.
    world.ready("m", &[3]);
    let served = world.served("r");
    assert_eq!(versions(&served), [3, 0]);
    assert!(served.shadow.is_none());
    let text = served.target(1).map(drop).expect_err("it is gone").to_string();
    assert!(text.contains("version 1"), "{text}");
}

#[test]
fn a_champion_that_is_kept_is_remembered_and_told() {
    let mut world = World::new();
    world.ready("m", &[1]);
    world.apply("r", "{model: m, onNewVersion: shadow}");
    assert_eq!(world.audit.len(), 1, "{:?}", world.audit);
    assert_eq!(world.audit[0].outcome, "champion_kept");
    assert!(world.routes.changed && world.routes.needy.contains(&name("m")));
    world.ready("m", &[1, 2]);
    let served = world.served("r");
    assert_eq!(versions(&served), [1]);
    let shadow = served.shadow.as_ref().expect("the new version");
    assert_eq!(shadow.target.servable.version().get(), 2);
    let status = world.routes.list();
    assert_eq!(status[0].held_back, Some(content(2).version));
    assert_eq!(status[0].champion.as_ref().map(|kept| kept.version), Some(content(1).version));
    // The same after a restart, when the newer version is there first.
    let states = world.routes.states();
    let text = serde_json::to_string(&states).expect("JSON");
    let mut restarted = World::new();
    restarted.routes = Routes::new(serde_json::from_str(&text).expect("the same"));
    restarted.ready("m", &[2]);
    assert_eq!(versions(&restarted.served("r")), [0], "2 was never promoted");
    restarted.ready("m", &[1, 2]);
    assert_eq!(versions(&restarted.served("r")), [1]);
    assert_eq!(restarted.audit.len(), 0, "nothing was decided anew");
}

#[test]
fn what_a_version_was_is_remembered_while_the_model_is_not_there() {
    let mut world = World::new();
    world.ready("m", &[1, 2]);
    world.apply("r", "{model: m, variants: [{name: b, version: 1, weight: 10}]}");
    world.ready("m", &[1, 2]);
    let before = world.routes.states();
    let known = world.routes.needs(&name("m"), None).known;
    assert_eq!(known, BTreeSet::from([content(1)]));
    let mut restarted = World::new();
    restarted.routes = Routes::new(before.clone());
    restarted.publish(ModelChanges::new());
    assert_eq!(restarted.routes.states(), before, "no registry has answered yet");
    restarted.ready("m", &[2]);
    assert_eq!(restarted.routes.needs(&name("m"), None).known, known, "it may be in the cache");
    restarted.apply("r", "{model: m}");
    restarted.ready("m", &[2]);
    assert_eq!(restarted.routes.needs(&name("m"), None).known, BTreeSet::new());
}

#[test]
fn a_files_route_wins_and_leaves_without_a_trace() {
    let mut world = World::new();
    world.ready("m", &[1, 2]);
    world.apply("r", "{model: m, variants: [{name: champion, version: 1}]}");
    assert_eq!(versions(&world.served("r")), [1]);
    let of_file = |name: &str| DeclaredRoute {
        document: document(name, "{model: m}"),
        origin: "config".to_owned(),
    };
    world.routes.declare(&[of_file("r"), of_file("s")]);
    world.publish(ModelChanges::new());
    assert_eq!(versions(&world.served("r")), [2]);
    let status = Arc::clone(&world.routes.list()[0]);
    assert_eq!(status.origin, "config");
    assert!(status.problems[0].contains("admin API"), "{:?}", status.problems);
    world.routes.declare(&[]);
    world.publish(ModelChanges::new());
    assert_eq!(versions(&world.served("r")), [1], "what was applied is back");
    assert!(world.catalog.load().route("s").is_none());
    assert_eq!(world.routes.states().len(), 1);
}

#[test]
fn a_route_without_its_model_waits_for_it() {
    let mut world = World::new();
    world.apply("m", "{variants: [{name: b, version: 7, weight: 1}]}");
    assert_eq!(versions(&world.served("m")), [0, 0]);
    assert_eq!(world.routes.list()[0].problems.len(), 1);
    world.ready("m", &[7, 8]);
    assert_eq!(versions(&world.served("m")), [8, 7]);
    assert_eq!(world.routes.list()[0].problems, Vec::<String>::new());
    world.apply("hidden", "{model: m}");
    world.ready("hidden", &[1]);
    assert!(world.routes.list()[0].problems[0].contains("hides"), "{:?}", world.routes.list());
}

#[test]
fn ten_thousand_routes_cost_a_pass_only_those_it_touches() {
    let mut world = World::new();
    for model in 0..100 {
        world.ready(&format!("m{model}"), &[1, 2]);
    }
    let routes = (0..10_000).map(|n| DeclaredRoute {
        document: document(
            &format!("r{n}"),
            &format!("{{model: m{}, variants: [{{name: b, version: 1, weight: 5}}]}}", n % 100),
        ),
        origin: "config".to_owned(),
    });
    world.routes.declare(&routes.collect::<Vec<_>>());
    world.publish(ModelChanges::new());
    let list = world.routes.list();
    assert_eq!(list.len(), 10_000);
    let untouched = world.served("r1");
    world.ready("m0", &[1, 2, 3]);
    assert_eq!(versions(&world.served("r0")), [3, 1]);
    assert!(Arc::ptr_eq(&untouched, &world.served("r1")));
    let after = world.routes.list();
    let anew = list.iter().zip(after.iter()).filter(|(one, other)| !Arc::ptr_eq(one, other));
    assert_eq!(anew.count(), 100, "statuses of other models' routes are the same ones");
}
