//! The least that a gRPC server on tonic can do with an infer request: decode
//! it and answer the same message every time.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use prost::Message;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

mod pb {
    #![allow(clippy::all)]
    tonic::include_proto!("inference");
}

use pb::grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer};
use pb::{ModelInferRequest, ModelInferResponse};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    listen: SocketAddr,
    /// File with the encoded `ModelInferResponse` of every answer.
    #[arg(long)]
    answer: PathBuf,
}

struct Floor {
    answer: ModelInferResponse,
}

#[tonic::async_trait]
impl GrpcInferenceService for Floor {
    async fn model_infer(
        &self,
        _: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let answer = ModelInferResponse::decode(fs::read(&args.answer)?.as_slice())?;
    Server::builder()
        .tcp_nodelay(true)
        .add_service(GrpcInferenceServiceServer::new(Floor { answer }))
        .serve(args.listen)
        .await?;
    Ok(())
}
