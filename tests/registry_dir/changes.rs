//! What changes after it was listed.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Instant;

use modelgate::registry::{Listing, Source, SourceError};
use tokio::sync::Notify;

use crate::support::versions::{PATIENCE, block_on, fetch, find, listed, model, unfinished, write};
use crate::{SECOND, eager, folder, list};

#[test]
fn a_kubernetes_mount_is_followed_through_its_swaps() {
    let root = folder();
    let source = eager(root.path());
    let swap = |generation: &str, seed: u8| {
        write(root.path(), &format!("..{generation}/model.onnx"), model(seed, 10));
        write(root.path(), &format!("..{generation}/labels.txt"), "a\nb\n");
        let (new, data) = (root.path().join("..data_tmp"), root.path().join("..data"));
        symlink(format!("..{generation}"), &new).expect("a link");
        fs::rename(new, data).expect("swapped");
    };
    swap("2026_01", 1);
    fs::create_dir_all(root.path().join("iris")).expect("a folder");
    for file in ["model.onnx", "labels.txt"] {
        symlink(format!("../..data/{file}"), root.path().join("iris").join(file)).expect("a link");
    }
    let first = find(&list(&source), "iris", 1).expect("it is followed").clone();
    let files = block_on(fetch(&source, &first)).expect("fetched");
    assert_eq!(files[1], ("model.onnx".to_owned(), model(1, 10)));
    swap("2026_02", 2);
    let second = find(&list(&source), "iris", 1).expect("it is followed").clone();
    assert_ne!(first.digest, second.digest);
    let files = block_on(fetch(&source, &second)).expect("fetched");
    assert_eq!(files[1], ("model.onnx".to_owned(), model(2, 10)));
}

#[test]
fn a_fetched_file_is_a_copy_even_of_a_hard_link() {
    let root = folder();
    write(root.path(), "a/1/original", model(1, 10));
    let path = root.path().join("a/1/model.onnx");
    fs::hard_link(root.path().join("a/1/original"), &path).expect("a link");
    let source = eager(root.path());
    let listed = find(&list(&source), "a", 1).expect("it is whole").clone();
    let into = folder();
    block_on(source.fetch(&listed, into.path(), &Default::default())).expect("fetched");
    fs::write(&path, "changed").expect("written");
    assert_eq!(fs::read(into.path().join("model.onnx")).expect("a file"), model(1, 10));
    // The listing was of other files than are there now.
    let error = block_on(fetch(&source, &listed)).expect_err("it changed");
    assert!(matches!(error, SourceError::Changed(_)), "{error}");
}

#[test]
fn content_that_is_replaced_is_another_version_of_the_same_number() {
    let root = folder();
    let source = eager(root.path());
    write(root.path(), "a/1/model.onnx", model(1, 10));
    let first = find(&list(&source), "a", 1).expect("it is whole").digest;
    assert_eq!(find(&list(&source), "a", 1).expect("it is whole").digest, first);
    // The same size, and even the same time of modification.
    let path = root.path().join("a/1/model.onnx");
    let modified = fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
    fs::write(&path, model(2, 10)).expect("written");
    fs::File::options()
        .append(true)
        .open(&path)
        .and_then(|f| f.set_modified(modified))
        .expect("set");
    let second = find(&list(&source), "a", 1).expect("it is whole").digest;
    assert_ne!(second, first);
}

#[test]
fn a_folder_that_cannot_be_read_is_an_error_and_not_empty() {
    let root = folder();
    let gone = root.path().join("gone");
    let error = block_on(eager(&gone).list()).expect_err("there is none");
    assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
    write(root.path(), "file", "x");
    assert!(block_on(eager(&root.path().join("file")).list()).is_err());
}

#[test]
fn changes_are_told_soon_and_reading_is_none() {
    let root = folder();
    write(root.path(), "a/1/model.onnx", model(1, 10));
    let source = Arc::new(eager(root.path()));
    block_on(async {
        let changed = Arc::new(Notify::new());
        let watching = source.watch(Arc::clone(&changed)).expect("it can be watched");
        for number in 2..5 {
            let at = Instant::now();
            write(root.path(), &format!("b/{number}/model.onnx"), model(1, 10));
            tokio::time::timeout(PATIENCE, changed.notified()).await.expect("told");
            assert!(at.elapsed() < 5 * SECOND, "{:?}", at.elapsed());
            listed(&*source, "b", number).await;
        }
        // What was written last may be told of once more; then listing must be quiet.
        let _ = tokio::time::timeout(SECOND, changed.notified()).await;
        source.list().await.expect("a listing");
        let told = tokio::time::timeout(SECOND, changed.notified()).await;
        assert!(told.is_err(), "a listing tells of itself");
        drop(watching);
    });
}

#[test]
fn a_model_that_becomes_unreadable_stays_wanted() {
    let (root, elsewhere) = (folder(), folder());
    write(root.path(), "a/1/model.onnx", model(1, 10));
    write(root.path(), "a/2/model.onnx", model(2, 10));
    let source = eager(root.path());
    assert_eq!(list(&source).models.len(), 1);
    // Root reads everything, so the folder becomes a link that leads out.
    fs::rename(root.path().join("a"), elsewhere.path().join("a")).expect("moved");
    symlink(elsewhere.path().join("a"), root.path().join("a")).expect("a link");
    for _ in 0..2 {
        let listing = list(&source);
        assert!(listing.models.is_empty());
        for number in [1, 2] {
            assert!(unfinished(&listing, "a", number).expect("told").contains("leads out"));
        }
    }
    fs::remove_file(root.path().join("a")).expect("removed");
    assert_eq!(list(&source), Listing::default(), "what is gone is gone");
}
