//! The archive in an S3 store, with a network that fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use modelgate::predictions::archive::{
    Archive, ArchiveOptions, Keep, ShipOptions, Unit, delete_units,
};
use modelgate::predictions::record::{self, Head};
use modelgate::predictions::schema::Treated;
use modelgate::predictions::{Label, Schema, Schemas, TensorSchema, Truth, layout};
use modelgate::registry::{Bucket, S3Options};
use modelgate::telemetry::LogMetrics;
use modelgate::types::{DType, next_random};
use object_store::ObjectStoreExt;

use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::moto;
use crate::support::segments::{SegmentWriter, Side};
use crate::support::versions::block_on;
use crate::table::{START, head, push, schema};
use crate::{entries, files, parquet, wait_for};

fn start(root: &std::path::Path, bucket: &Bucket) -> Archive {
    let ship = ShipOptions {
        store: bucket.store(),
        prefix: "logs/a".to_owned(),
        bytes_per_second: Some(100 << 20),
        retry: Duration::from_millis(50),
        max_retry: Duration::from_millis(200),
    };
    let options = ArchiveOptions { root: root.to_owned(), keep: Keep::default(), ship: Some(ship) };
    let schemas = Arc::new(Schemas::new(root.to_owned()));
    Archive::start(options, schemas, Arc::<LogMetrics>::default()).expect("started")
}

/// What is in the store below the prefix.
fn objects(options: &S3Options) -> BTreeMap<String, Vec<u8>> {
    let store = Bucket::s3(options).expect("a client").store();
    block_on(async {
        let listed: Vec<_> =
            store.list(Some(&"logs/a".into())).try_collect().await.expect("a listing");
        let mut found = BTreeMap::new();
        for object in listed {
            let read = store.get(&object.location).await.expect("an object");
            let name = object.location.as_ref().strip_prefix("logs/a/").expect("inside").to_owned();
            found.insert(name, read.bytes().await.expect("its bytes").to_vec());
        }
        found
    })
}

/// What should be there: the Parquet files and the schemas.
fn expected(root: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = files(root);
    all.retain(|name, _| name.starts_with("schemas/") || name.ends_with(".parquet"));
    all.into_iter().map(|(name, path)| (name, std::fs::read(path).expect("a file"))).collect()
}

fn cursor(root: &std::path::Path) -> u64 {
    let text = std::fs::read(layout::shipped(root)).unwrap_or_default();
    let cursor: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    cursor["bytes"].as_u64().unwrap_or(0)
}

fn is_shipped(root: &std::path::Path) -> bool {
    std::fs::metadata(layout::archive(root)).is_ok_and(|lines| lines.len() == cursor(root))
}

#[test]
fn an_outage_loses_nothing_and_doubles_nothing() {
    let server = moto::server();
    let options = server.bucket();
    let proxy = FaultProxy::to(server.address);
    let bucket = moto::at(&options, proxy.address);
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let tables = Arc::new(schema("fraud", 1));
    let schemas = Schemas::new(root.to_owned());
    schemas.keep(&tables).expect("kept");
    let write = |part: u64| {
        let mut segment = SegmentWriter::new(0, 7, part * 100);
        for at in 0..10 {
            let id = format!("r-{part}-{at}");
            let head = Head { unit: Some([part as u8; 16]), ..head(tables.id(), &id, START) };
            push(&mut segment, head, 1, at as f32);
            segment.label(&Label {
                request_id: id,
                row: 0,
                label_time: START,
                recorded_time: START,
                truth: Truth::Reward(0.5),
                weight: 1.0,
                model: String::new(),
            });
        }
        segment.seal(root);
    };
    proxy.set(Fault::Break(0));
    let mut archive = start(root, &bucket);
    write(0);
    wait_for("two files", || parquet(root).len() == 2);
    write(1);
    wait_for("four files", || parquet(root).len() == 4);
    proxy.take_requests();
    wait_for("attempts", || proxy.take_requests() > 0);
    // What the store did not answer for is not shipped, even where it has it.
    assert_eq!(cursor(root), 0);
    // Answers break off in the middle, so that some is done that the gateway does not know of.
    proxy.set(Fault::Break(30));
    wait_for("attempts", || proxy.take_requests() > 0);
    proxy.set(Fault::None);
    wait_for("the cursor", || entries(root).len() == 2 && is_shipped(root));
    assert!(objects(&options) == expected(root));
    assert_eq!(objects(&options).len(), 5);

    // A process that comes later sends nothing again.
    archive.stop();
    proxy.take_requests();
    let mut archive = start(root, &bucket);
    write(2);
    wait_for("the cursor", || entries(root).len() == 3 && is_shipped(root));
    assert_eq!(proxy.take_requests(), 2);
    assert!(objects(&options) == expected(root));

    // A deleted unit goes there, too.
    delete_units(root, &[Unit::Hash("01".repeat(16)), Unit::Request("r-0-3".to_owned())])
        .expect("asked");
    wait_for("a deletion", || parquet(root).len() == 4 && is_shipped(root));
    assert!(objects(&options) == expected(root));
    assert_eq!(objects(&options).len(), 5);
    archive.stop();
}

/// A file of several parts, whose upload breaks off.
#[test]
fn large_files_go_in_parts() {
    let server = moto::server();
    let options = server.bucket();
    let proxy = FaultProxy::to(server.address);
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let input = TensorSchema {
        name: "x".to_owned(),
        datatype: DType::Uint8,
        shape: vec![-1],
        columns: Vec::new(),
        whole: Treated::Keep,
    };
    let base = schema("image", 1);
    let images =
        Arc::new(Schema { row_wise: false, inputs: vec![input], outputs: Vec::new(), ..base });
    Schemas::new(root.to_owned()).keep(&images).expect("kept");
    let mut segment = SegmentWriter::new(0, 7, 0);
    for _ in 0..2 {
        let noise: Vec<u8> = (0..5 << 17).flat_map(|_| next_random().to_le_bytes()).collect();
        let shape = [noise.len() as i64];
        segment.prediction(&head(images.id(), "r", START), |side, out| match side {
            Side::Inputs => {
                record::put_raw(out, 0, DType::Uint8, &shape, &noise);
                1
            }
            Side::Outputs => 0,
        });
    }
    segment.seal(root);
    let mut archive = start(root, &moto::at(&options, proxy.address));
    wait_for("the cursor", || entries(root).len() == 1 && is_shipped(root));
    let found = objects(&options);
    assert!(found == expected(root));
    assert!(found.values().any(|bytes| bytes.len() > 8 << 20));
    archive.stop();
}
