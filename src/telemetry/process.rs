//! Families that live as long as the process: build, connections, `process_*`.

use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::RefusedConnection;
use super::exposition::{Kind, Page};

pub(super) struct ProcessMetrics {
    handle: PrometheusHandle,
    pub(super) connections: ConnectionMetrics,
}

/// Counts the connections of all listeners.
pub struct ConnectionMetrics {
    open: Gauge,
    refused: [Counter; RefusedConnection::ALL.len()],
}

impl ConnectionMetrics {
    pub fn opened(&self) {
        self.open.increment(1.0);
    }

    /// To be called once for each [`ConnectionMetrics::opened`].
    pub fn closed(&self) {
        self.open.decrement(1.0);
    }

    /// Counts a connection that was refused, or cut for slowness.
    pub fn refused(&self, reason: RefusedConnection) {
        self.refused[reason as usize].increment(1);
    }
}

impl ProcessMetrics {
    pub(super) fn new() -> ProcessMetrics {
        let recorder = PrometheusBuilder::new().build_recorder();
        let version = Label::from_static_parts("version", env!("CARGO_PKG_VERSION"));
        let build = gauge(&recorder, "modelgate_build_info", "Build of the gateway.", &[version]);
        build.set(1.0);
        let open = gauge(&recorder, "modelgate_connections", "Open connections.", &[]);
        let refused = RefusedConnection::ALL.map(|reason| {
            counter(
                &recorder,
                "modelgate_connections_refused_total",
                "Connections refused, or cut because the peer was too slow.",
                &[Label::from_static_parts("reason", reason.label())],
            )
        });
        ProcessMetrics {
            handle: recorder.handle(),
            connections: ConnectionMetrics { open, refused },
        }
    }

    pub(super) fn render(&self, page: &mut Page) {
        page.append(&self.handle.render());
        process(page);
    }
}

const METADATA: Metadata<'static> = Metadata::new("modelgate", Level::INFO, None);

fn gauge(
    recorder: &PrometheusRecorder,
    name: &'static str,
    help: &'static str,
    labels: &[Label],
) -> Gauge {
    recorder.describe_gauge(KeyName::from(name), None, SharedString::from(help));
    recorder.register_gauge(&Key::from_parts(name, labels.to_vec()), &METADATA)
}

fn counter(
    recorder: &PrometheusRecorder,
    name: &'static str,
    help: &'static str,
    labels: &[Label],
) -> Counter {
    recorder.describe_counter(KeyName::from(name), None, SharedString::from(help));
    recorder.register_counter(&Key::from_parts(name, labels.to_vec()), &METADATA)
}

/// The `process_*` families, read anew from the system. Written here and not
/// through the recorder, whose counters are whole numbers: CPU time in whole
/// seconds is too coarse to take rates of.
fn process(page: &mut Page) {
    let now = metrics_process::collector::collect();
    if let Some(seconds) = now.cpu_seconds_total {
        let help = "User and system CPU time spent.";
        page.family("process_cpu_seconds_total", Kind::Counter, help);
        page.sample(&[], seconds);
    }
    if let Some(seconds) = now.start_time_seconds {
        let help = "Unix time the process started.";
        page.family("process_start_time_seconds", Kind::Gauge, help);
        page.sample(&[], seconds);
    }
    for (name, help, value) in [
        ("process_open_fds", "Open file descriptors.", now.open_fds),
        ("process_max_fds", "File descriptors that may be open.", now.max_fds),
        ("process_virtual_memory_bytes", "Virtual memory.", now.virtual_memory_bytes),
        (
            "process_virtual_memory_max_bytes",
            "Virtual memory that may be used.",
            now.virtual_memory_max_bytes,
        ),
        ("process_resident_memory_bytes", "Resident memory.", now.resident_memory_bytes),
        ("process_threads", "Threads of the process.", now.threads),
    ] {
        if let Some(value) = value {
            page.family(name, Kind::Gauge, help);
            page.sample(&[], value);
        }
    }
}
