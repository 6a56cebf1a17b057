//! The least that an HTTP server on hyper can do with an infer request: read the
//! whole body and answer the same bytes every time.

use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Parser;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[derive(Parser)]
struct Args {
    #[arg(long)]
    listen: SocketAddr,
    /// File with the body of every answer.
    #[arg(long)]
    answer: PathBuf,
    #[arg(long)]
    content_type: HeaderValue,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let answer = Bytes::from(fs::read(&args.answer)?);
    let listener = TcpListener::bind(args.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (answer, content_type) = (answer.clone(), args.content_type.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (answer, content_type) = (answer.clone(), content_type.clone());
            async move {
                // A body cut short ends its connection in any case.
                let _ = request.into_body().collect().await;
                let mut response = Response::new(Full::new(answer));
                response.headers_mut().insert(CONTENT_TYPE, content_type);
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
