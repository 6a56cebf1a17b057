//! Messages and service of labels, generated from `proto/`. Their descriptors
//! stand in [`pb::FILE_DESCRIPTOR_SET`](super::pb::FILE_DESCRIPTOR_SET).

tonic::include_proto!("modelgate.v1");
