//! Generates the protocol's messages and service from `proto/`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

const SERIALIZE: &str = "#[derive(serde::Serialize)] #[serde(rename_all = \"snake_case\")]";
const WHERE_SET: &str = "#[serde(skip_serializing_if = \"Option::is_none\")]";
const DATA_TYPE: &str = "#[serde(serialize_with = \"crate::api::documents::data_type_name\")]";
const INSTANCE_KIND: &str =
    "#[serde(serialize_with = \"crate::api::documents::instance_kind_name\")]";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(["open_inference.proto", "modelgate_feedback.proto"])?;

    // Reflection serves these files.
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("open_inference.fds"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .build_client(false)
        .generate_default_stubs(true)
        // Tensor data stays a slice of the message it came in.
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .bytes(".inference.InferTensorContents.bytes_contents")
        // An empty one costs nothing, and most parameter maps are empty.
        .btree_map(".")
        // The documents that HTTP answers as JSON, under the same names.
        .type_attribute(".inference.ServerMetadataResponse", SERIALIZE)
        .type_attribute(".inference.ModelMetadataResponse", SERIALIZE)
        .field_attribute(
            ".inference.ModelMetadataResponse.TensorMetadata.labels",
            "#[serde(skip_serializing_if = \"Vec::is_empty\")]",
        )
        .type_attribute(".inference.RepositoryIndexResponse.ModelIndex", SERIALIZE)
        .type_attribute(".inference.ModelStatisticsResponse", SERIALIZE)
        .type_attribute(".inference.ModelStatistics", SERIALIZE)
        .type_attribute(".inference.InferStatistics", SERIALIZE)
        .type_attribute(".inference.InferBatchStatistics", SERIALIZE)
        .type_attribute(".inference.InferResponseStatistics", SERIALIZE)
        .type_attribute(".inference.StatisticDuration", SERIALIZE)
        .type_attribute(".inference.MemoryUsage", SERIALIZE)
        .type_attribute(".inference.ModelConfig", SERIALIZE)
        .field_attribute(".inference.ModelConfig.version_policy", WHERE_SET)
        .field_attribute(".inference.ModelConfig.dynamic_batching", WHERE_SET)
        .field_attribute(".inference.ModelConfig.model_transaction_policy", WHERE_SET)
        .type_attribute(".inference.ModelInput", SERIALIZE)
        .type_attribute(".inference.ModelOutput", SERIALIZE)
        .field_attribute(".inference.ModelInput.data_type", DATA_TYPE)
        .field_attribute(".inference.ModelOutput.data_type", DATA_TYPE)
        .type_attribute(".inference.ModelInstanceGroup", SERIALIZE)
        .field_attribute(".inference.ModelInstanceGroup.kind", INSTANCE_KIND)
        .type_attribute(".inference.ModelVersionPolicy", SERIALIZE)
        .field_attribute(".inference.ModelVersionPolicy.latest", WHERE_SET)
        .field_attribute(".inference.ModelVersionPolicy.all", WHERE_SET)
        .field_attribute(".inference.ModelVersionPolicy.specific", WHERE_SET)
        .type_attribute(".inference.ModelDynamicBatching", SERIALIZE)
        .type_attribute(".inference.ModelParameter", SERIALIZE)
        .type_attribute(".inference.ModelTransactionPolicy", SERIALIZE)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
