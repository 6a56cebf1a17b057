//! Messages and service generated from `proto/`.

tonic::include_proto!("inference");

/// Descriptors of the messages and the service, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/open_inference.fds"));
