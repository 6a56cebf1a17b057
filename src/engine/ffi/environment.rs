//! The process-wide state of ONNX Runtime.

use std::ffi::{CStr, c_char, c_void};
use std::panic::catch_unwind;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use libloading::{Library, Symbol};
use ort::sys::{
    OrtAllocator, OrtAllocatorType, OrtApiBase, OrtEnv, OrtLoggingLevel, OrtMemType, OrtMemoryInfo,
};

use super::{api, check, disable_telemetry};

/// ONNX Runtime, started. Never freed: sessions and values may outlive any owner,
/// and there is one per process.
pub struct Environment {
    pub(super) env: NonNull<OrtEnv>,
    /// The allocator of the CPU, owned by the library.
    pub(super) allocator: NonNull<OrtAllocator>,
    /// "The CPU's memory", as tensors over our own buffers are described.
    pub(super) cpu: NonNull<OrtMemoryInfo>,
}

// SAFETY: the three objects are made once in `start` and only read afterwards; the
// C interface documents the environment and the default allocator as usable from any
// thread, and a memory info is plain data.
unsafe impl Send for Environment {}
// SAFETY: as above.
unsafe impl Sync for Environment {}

/// The version of the ONNX Runtime at `path`, such as `1.31.1`. Runs the library's
/// initialisers, as any loading does.
pub fn library_version(path: &Path) -> Result<String, String> {
    // The library would start telemetry on the way.
    disable_telemetry()?;
    // SAFETY: loading runs code of a file the operator named or placed where libraries
    // are looked for, which is as trusted as this program.
    let library = unsafe { Library::new(path) }.map_err(|error| {
        // What the system's loader says is the cause of what the package says.
        std::error::Error::source(&error).unwrap_or(&error).to_string()
    })?;
    // SAFETY: a library that exports this name exports ONNX Runtime's entry point, whose
    // type has been the same since its first release.
    let version = unsafe {
        let base: Symbol<'_, unsafe extern "system" fn() -> *const OrtApiBase> =
            library.get(b"OrtGetApiBase").map_err(|_| "this is not ONNX Runtime".to_owned())?;
        let base = base();
        if base.is_null() {
            return Err("this ONNX Runtime has no C interface".to_owned());
        }
        // The string is static data of the library, which is still loaded; it is copied.
        CStr::from_ptr(((*base).GetVersionString)()).to_string_lossy().into_owned()
    };
    Ok(version)
}

impl Environment {
    /// Starts the ONNX Runtime at `path`. A process can do that once: `ort` stays
    /// bound to the first library that it could load.
    pub fn start(path: &Path) -> Result<Environment, String> {
        static BOUND: AtomicBool = AtomicBool::new(false);
        if BOUND.load(Ordering::Acquire) {
            return Err("this process is bound to another ONNX Runtime".to_owned());
        }
        disable_telemetry()?;
        // The builder is not used: it is what binds `ort::api()` to this library.
        drop(ort::init_from(path).map_err(|error| error.to_string())?);
        BOUND.store(true, Ordering::Release);
        let mut env = ptr::null_mut();
        let mut allocator = ptr::null_mut();
        let mut cpu = ptr::null_mut();
        // SAFETY: `init_from` succeeded, so the interface is loaded; every pointer is to a
        // live local or a static string, and `log` has the type the interface asks for.
        unsafe {
            check((api().CreateEnvWithCustomLogger)(
                log,
                ptr::null_mut(),
                OrtLoggingLevel::ORT_LOGGING_LEVEL_ERROR,
                c"modelgate".as_ptr(),
                &mut env,
            ))?;
            // A second lock on a door that the variable has shut.
            check((api().DisableTelemetryEvents)(env))?;
            check((api().GetAllocatorWithDefaultOptions)(&mut allocator))?;
            check((api().CreateCpuMemoryInfo)(
                OrtAllocatorType::OrtDeviceAllocator,
                OrtMemType::OrtMemTypeDefault,
                &mut cpu,
            ))?;
        }
        let missing = || "ONNX Runtime returned nothing".to_owned();
        Ok(Environment {
            env: NonNull::new(env).ok_or_else(missing)?,
            allocator: NonNull::new(allocator).ok_or_else(missing)?,
            cpu: NonNull::new(cpu).ok_or_else(missing)?,
        })
    }
}

/// Writes a line of ONNX Runtime's log. Errors come back as values as well and may
/// be a client's doing, so they are `debug` here.
unsafe extern "system" fn log(
    _: *mut c_void,
    severity: OrtLoggingLevel,
    _: *const c_char,
    _: *const c_char,
    location: *const c_char,
    message: *const c_char,
) {
    let text = |text: *const c_char| match text.is_null() {
        true => String::new(),
        // SAFETY: not null, so a NUL-terminated string that lives during this call.
        false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
    };
    // A panic must not cross into C++; a line that cannot be written is lost.
    let _ = catch_unwind(|| {
        if severity == OrtLoggingLevel::ORT_LOGGING_LEVEL_FATAL {
            tracing::error!(target: "onnxruntime", at = text(location), "{}", text(message));
        } else {
            tracing::debug!(target: "onnxruntime", at = text(location), "{}", text(message));
        }
    });
}
