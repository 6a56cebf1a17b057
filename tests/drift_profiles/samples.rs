//! The sample models bring profiles of their training data along.

use crate::support::gateway::Launch;
use crate::support::registry::Registry;

#[test]
fn the_sample_models_are_watched() {
    let registry = Registry::new();
    let names = ["breast-cancer", "breast-cancer-zipmap", "sentiment", "digits"];
    let registry = names.into_iter().fold(registry, Registry::sample);
    let gateway = Launch::new().models(registry.path()).start();
    for (model, version) in [
        ("breast-cancer", "1"),
        ("breast-cancer", "2"),
        ("breast-cancer-zipmap", "1"),
        ("sentiment", "1"),
    ] {
        gateway.wait_for_log(|line| {
            line["message"] == "drift is watched"
                && line["source"] == "sidecar"
                && (&line["model"], &line["version"]) == (&model.into(), &version.into())
        });
    }
    let warned = gateway.logged().into_iter().filter(|line| line["level"] == "WARN");
    let warned: Vec<_> = warned.map(|line| line["message"].clone()).collect();
    assert!(warned.is_empty(), "each is of its own file: {warned:?}");
}
