//! What the gateway says about itself and its models: the same documents for
//! gRPC, as messages, and for HTTP, as the messages' JSON.

use std::sync::Arc;

use serde::Serializer;

use super::codec::pb;
use crate::request::Gateway;
use crate::serving::{Execution, KnownVersion, Servable, Snapshot};
use crate::telemetry::{DurationStatistics, Statistics, Telemetry};
use crate::types::{DType, InferError, ModelName, Stage, TensorSpec};

/// Only what works, under the names the protocol has for it.
const EXTENSIONS: [&str; 6] = [
    "classification",
    "model_repository",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
];

/// What executes our models, in the protocol's words.
const PLATFORM: &str = "onnxruntime_onnx";

pub fn server_metadata() -> pb::ServerMetadataResponse {
    pb::ServerMetadataResponse {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

pub fn model_metadata(
    snapshot: &Snapshot,
    name: &str,
    version: &str,
) -> Result<pb::ModelMetadataResponse, InferError> {
    let servable = snapshot.resolve(name, version)?;
    let model = snapshot.route(name).map(|served| &served.model).or_else(|| snapshot.model(name));
    let ready = model.into_iter().flat_map(|model| model.ready.values());
    let tensor = |spec: &TensorSpec| pb::model_metadata_response::TensorMetadata {
        name: spec.name.to_string(),
        datatype: spec.dtype.name().to_owned(),
        shape: spec.wire_dims(),
        labels: spec.labels.to_vec(),
    };
    let signature = servable.signature();
    Ok(pb::ModelMetadataResponse {
        name: name.to_owned(),
        versions: ready.map(|ready| ready.version().to_string()).collect(),
        platform: PLATFORM.to_owned(),
        inputs: signature.inputs.iter().map(tensor).collect(),
        outputs: signature.outputs.iter().map(tensor).collect(),
    })
}

pub fn model_config(servable: &Servable) -> pb::ModelConfig {
    let loaded = &servable.loaded;
    let options = &loaded.options;
    let batches = loaded.may_batch() && options.execution != Execution::Inline;
    let signature = servable.signature();
    // In the protocol's configuration the batch dimension is left out where there is one.
    let dims = |spec: &TensorSpec| spec.wire_dims().split_off(usize::from(batches));
    let labels = signature.outputs.iter().filter(|spec| !spec.labels.is_empty()).map(|spec| {
        let string_value = serde_json::to_string(&*spec.labels).unwrap_or_default();
        (format!("labels.{}", spec.name), pb::ModelParameter { string_value })
    });
    pb::ModelConfig {
        name: servable.name().to_string(),
        platform: PLATFORM.to_owned(),
        backend: "onnxruntime".to_owned(),
        max_batch_size: if batches {
            i32::try_from(options.max_batch_rows).unwrap_or(i32::MAX)
        } else {
            0
        },
        input: signature
            .inputs
            .iter()
            .map(|spec| pb::ModelInput {
                name: spec.name.to_string(),
                data_type: data_type(spec.dtype).into(),
                dims: dims(spec),
                optional: false,
            })
            .collect(),
        output: signature
            .outputs
            .iter()
            .map(|spec| pb::ModelOutput {
                name: spec.name.to_string(),
                data_type: data_type(spec.dtype).into(),
                dims: dims(spec),
                label_filename: String::new(),
            })
            .collect(),
        instance_group: vec![pb::ModelInstanceGroup {
            name: servable.name().to_string(),
            count: i32::try_from(options.lanes).unwrap_or(i32::MAX),
            kind: pb::model_instance_group::Kind::Cpu.into(),
        }],
        default_model_filename: "model.onnx".to_owned(),
        dynamic_batching: batches.then(|| pb::ModelDynamicBatching {
            max_queue_delay_microseconds: options.max_batch_delay.as_micros() as u64,
            ..Default::default()
        }),
        parameters: labels.collect(),
        ..Default::default()
    }
}

/// Every version of every model, or only what is ready; routes by the version
/// of their champion, where no model has the name.
pub fn repository_index(
    snapshot: &Snapshot,
    ready_only: bool,
) -> Vec<pb::repository_index_response::ModelIndex> {
    let mut index: Vec<_> = snapshot
        .models()
        .flat_map(|(name, model)| model.known.iter().map(move |known| (name, known)))
        .filter(|(_, known)| !ready_only || known.stage == Stage::Ready)
        .collect();
    let routes = snapshot.routes().filter(|(name, _)| snapshot.model(name.as_str()).is_none());
    let champions: Vec<(&ModelName, KnownVersion)> = routes
        .filter_map(|(name, served)| {
            let version = served.resolve("").ok()?.version();
            Some((name, KnownVersion { version, stage: Stage::Ready, reason: Arc::from("") }))
        })
        .collect();
    index.extend(champions.iter().map(|(name, known)| (*name, known)));
    index.sort_by_key(|(name, known)| (*name, known.version));
    index
        .into_iter()
        .map(|(name, known)| pb::repository_index_response::ModelIndex {
            name: name.to_string(),
            version: known.version.to_string(),
            state: known.stage.protocol().to_owned(),
            reason: known.reason.to_string(),
        })
        .collect()
}

/// Statistics of one version, of a model's ready versions (empty `version`),
/// or of everything ready (empty `name`).
pub fn statistics(
    gateway: &Gateway,
    name: &str,
    version: &str,
) -> Result<pb::ModelStatisticsResponse, InferError> {
    let snapshot = gateway.catalog.load();
    let mut chosen: Vec<&Servable> = Vec::new();
    if name.is_empty() {
        chosen.extend(
            snapshot.models().flat_map(|(_, model)| model.ready.values()).map(|arc| &**arc),
        );
        chosen.sort_by_key(|servable| (servable.name(), servable.version()));
    } else {
        let one = snapshot.resolve(name, version)?;
        let model = snapshot.route(name).map(|route| &route.model);
        match model.or_else(|| snapshot.model(name)) {
            Some(model) if version.is_empty() => {
                chosen.extend(model.ready.values().map(|arc| &**arc))
            }
            _ => chosen.push(one),
        }
    }
    let of = |servable| version_statistics(&gateway.telemetry, servable);
    Ok(pb::ModelStatisticsResponse { model_stats: chosen.into_iter().map(of).collect() })
}

/// What a version did, under whatever route and variant.
fn version_statistics(telemetry: &Telemetry, servable: &Servable) -> pb::ModelStatistics {
    let seen: Statistics = telemetry.statistics(servable.name(), servable.version());
    let duration = |tally: DurationStatistics| {
        Some(pb::StatisticDuration { count: tally.count, ns: tally.ns })
    };
    let nothing = || duration(DurationStatistics::default());
    pb::ModelStatistics {
        name: servable.name().to_string(),
        version: servable.version().to_string(),
        last_inference: seen.last_inference_ms,
        inference_count: seen.inference_count,
        execution_count: seen.execution_count,
        inference_stats: Some(pb::InferStatistics {
            success: duration(seen.success),
            fail: duration(seen.fail),
            queue: duration(seen.queue),
            compute_input: duration(seen.compute_input),
            compute_infer: duration(seen.compute_infer),
            compute_output: duration(seen.compute_output),
            cache_hit: nothing(),
            cache_miss: nothing(),
        }),
        batch_stats: seen
            .batches
            .iter()
            .map(|batch| pb::InferBatchStatistics {
                batch_size: batch.batch_size,
                compute_input: duration(batch.compute_input),
                compute_infer: duration(batch.compute_infer),
                compute_output: duration(batch.compute_output),
            })
            .collect(),
        memory_usage: vec![pb::MemoryUsage {
            r#type: "CPU".to_owned(),
            id: 0,
            byte_size: servable.loaded.engine.memory_bytes(),
        }],
        response_stats: Default::default(),
    }
}

fn data_type(dtype: DType) -> pb::DataType {
    match dtype {
        DType::Bool => pb::DataType::TypeBool,
        DType::Uint8 => pb::DataType::TypeUint8,
        DType::Uint16 => pb::DataType::TypeUint16,
        DType::Uint32 => pb::DataType::TypeUint32,
        DType::Uint64 => pb::DataType::TypeUint64,
        DType::Int8 => pb::DataType::TypeInt8,
        DType::Int16 => pb::DataType::TypeInt16,
        DType::Int32 => pb::DataType::TypeInt32,
        DType::Int64 => pb::DataType::TypeInt64,
        DType::Fp16 => pb::DataType::TypeFp16,
        DType::Bf16 => pb::DataType::TypeBf16,
        DType::Fp32 => pb::DataType::TypeFp32,
        DType::Fp64 => pb::DataType::TypeFp64,
        DType::Bytes => pb::DataType::TypeString,
    }
}

/// Enumerations are numbers in messages and names in JSON.
pub fn data_type_name<S: Serializer>(number: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    let name = pb::DataType::try_from(*number).unwrap_or(pb::DataType::TypeInvalid);
    serializer.serialize_str(name.as_str_name())
}

pub fn instance_kind_name<S: Serializer>(number: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    let kind = pb::model_instance_group::Kind::try_from(*number).unwrap_or_default();
    serializer.serialize_str(kind.as_str_name())
}
