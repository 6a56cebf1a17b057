//! `modelgate serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CONFIG_INVALID, FAILED};
use crate::app;
use crate::app::config::Config;
use crate::app::{AppError, Origin};
use crate::telemetry::logs;

#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Configuration file (YAML); flags win over it
    #[arg(long, env = "MODELGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of models: <name>/<version>/model.onnx
    #[arg(long, env = "MODELGATE_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// Address of the inference HTTP listener [default: 127.0.0.1:8000]
    #[arg(long, env = "MODELGATE_HTTP", value_name = "ADDR", value_parser = address)]
    http: Option<SocketAddr>,
    /// Address of the inference gRPC listener [default: 127.0.0.1:8001]
    #[arg(long, env = "MODELGATE_GRPC", value_name = "ADDR", value_parser = address)]
    grpc: Option<SocketAddr>,
    /// Address of metrics and health [default: 127.0.0.1:8002]
    #[arg(long, env = "MODELGATE_METRICS", value_name = "ADDR", value_parser = address)]
    metrics: Option<SocketAddr>,
    /// Address of the admin API, a loopback address [default: 127.0.0.1:8003]
    #[arg(long, env = "MODELGATE_ADMIN", value_name = "ADDR", value_parser = address)]
    admin: Option<SocketAddr>,
    /// Folder of what has to outlive the process: the cache of model files, holds, the audit log
    /// [default: modelgate-data]
    #[arg(long, env = "MODELGATE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// ONNX Runtime's shared library, 1.28 or later [default: searched for]
    #[arg(long, env = "MODELGATE_ONNXRUNTIME", value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Check the configuration, every file of routes and every model.yaml, and exit
    #[arg(long, env = "MODELGATE_CHECK", value_parser = clap::builder::FalseyValueParser::new())]
    check: bool,
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        let config = match self.config() {
            Ok(config) => config,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(CONFIG_INVALID);
            }
        };
        if self.check {
            return match app::check(&config) {
                Ok(()) => {
                    println!("the configuration is valid");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::from(CONFIG_INVALID)
                }
            };
        }
        if let Err(error) = logs::init(config.telemetry.log_format, &config.telemetry.log_level) {
            eprintln!("{error}");
            return ExitCode::from(CONFIG_INVALID);
        }
        let file = self.config.clone();
        let origin = Origin { file, read: Box::new(move || self.config()) };
        match app::serve(config, origin) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error}");
                ExitCode::from(match error {
                    AppError::Routes(_) => CONFIG_INVALID,
                    _ => FAILED,
                })
            }
        }
    }

    fn config(&self) -> Result<Config, app::config::ConfigError> {
        let mut config = match &self.config {
            Some(file) => Config::load(file)?,
            None => Config::default(),
        };
        config.models.dir = self.models.clone().or(config.models.dir);
        config.server.http = self.http.unwrap_or(config.server.http);
        config.server.grpc = self.grpc.unwrap_or(config.server.grpc);
        config.server.metrics = self.metrics.unwrap_or(config.server.metrics);
        config.server.admin = self.admin.unwrap_or(config.server.admin);
        config.server.data = self.data.clone().unwrap_or(config.server.data);
        config.onnxruntime.path = self.onnxruntime.clone().or(config.onnxruntime.path);
        config.check("the configuration with the flags")?;
        Ok(config)
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, such as 127.0.0.1:8000 or [::1]:8000".to_owned())
}
