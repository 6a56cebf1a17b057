//! A loaded model.

use std::ffi::{CString, c_char};
use std::path::Path;
use std::ptr::{self, NonNull};

use ort::sys::{OrtSession, OrtTypeInfo, OrtValue};
use smallvec::SmallVec;

use super::options::RawOptions;
use super::ports::{TypeInfo, take_name};
use super::{Environment, Port, RunOptions, SessionOptions, Value, api, check};

/// A model that ONNX Runtime has loaded.
pub struct Session {
    raw: NonNull<OrtSession>,
    inputs: Names,
    outputs: Names,
}

// SAFETY: the C interface documents `Run` as safe from several threads at once on one
// session, which on the CPU provider it is; everything else only reads.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

/// Names as C wants them, made once.
struct Names {
    pointers: Box<[*const c_char]>,
    /// What `pointers` points into.
    _owned: Box<[CString]>,
}

impl Names {
    fn new(owned: Vec<CString>) -> Names {
        let owned = owned.into_boxed_slice();
        Names { pointers: owned.iter().map(|name| name.as_ptr()).collect(), _owned: owned }
    }
}

/// The two calls that describe a side of the graph.
type CountCall = unsafe extern "system" fn(*const OrtSession, *mut usize) -> ort::sys::OrtStatusPtr;
type NameCall = unsafe extern "system" fn(
    *const OrtSession,
    usize,
    *mut ort::sys::OrtAllocator,
    *mut *mut c_char,
) -> ort::sys::OrtStatusPtr;
type TypeCall = unsafe extern "system" fn(
    *const OrtSession,
    usize,
    *mut *mut OrtTypeInfo,
) -> ort::sys::OrtStatusPtr;

impl Session {
    /// Loads the model at `path` and says what it takes and gives.
    pub fn load(
        environment: &Environment,
        path: &Path,
        options: &SessionOptions,
    ) -> Result<(Session, Vec<Port>, Vec<Port>), String> {
        let options = RawOptions::new(environment, options)?;
        let path = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| "the path holds a NUL".to_owned())?;
        let mut raw = ptr::null_mut();
        // SAFETY: environment, path and options are live during the call, which copies
        // what it keeps of them.
        check(unsafe {
            (api().CreateSession)(
                environment.env.as_ptr(),
                path.as_ptr(),
                options.as_ptr(),
                &mut raw,
            )
        })?;
        let raw = NonNull::new(raw).ok_or("ONNX Runtime returned no session")?;
        let mut session =
            Session { raw, inputs: Names::new(Vec::new()), outputs: Names::new(Vec::new()) };
        let calls = api();
        let (names, inputs) = session.side(
            environment,
            "input",
            calls.SessionGetInputCount,
            calls.SessionGetInputName,
            calls.SessionGetInputTypeInfo,
        )?;
        session.inputs = names;
        let (names, outputs) = session.side(
            environment,
            "output",
            calls.SessionGetOutputCount,
            calls.SessionGetOutputName,
            calls.SessionGetOutputTypeInfo,
        )?;
        session.outputs = names;
        Ok((session, inputs, outputs))
    }

    fn side(
        &self,
        environment: &Environment,
        side: &str,
        count_call: CountCall,
        name_call: NameCall,
        type_call: TypeCall,
    ) -> Result<(Names, Vec<Port>), String> {
        let session = self.raw.as_ptr();
        let mut count = 0;
        // SAFETY: the session is live.
        check(unsafe { count_call(session, &mut count) })?;
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for index in 0..count {
            let mut name = ptr::null_mut();
            // SAFETY: the session and the allocator are live, `index` is below the count,
            // and the name comes owned from that allocator.
            let name = unsafe {
                check(name_call(session, index, environment.allocator.as_ptr(), &mut name))?;
                take_name(environment, name)?
            };
            let text = name
                .to_str()
                .map_err(|_| format!("the name of {side} {index} is not valid UTF-8"))?
                .to_owned();
            let mut info = ptr::null_mut();
            // SAFETY: as above; the description comes owned.
            let info = unsafe {
                check(type_call(session, index, &mut info))?;
                TypeInfo::from_raw(info)
            };
            let kind = info
                .and_then(|info| info.kind())
                .map_err(|reason| format!("{side} '{text}' cannot be served: {reason}"))?;
            ports.push(Port { name: text.into(), kind });
            names.push(name);
        }
        Ok((Names::new(names), ports))
    }

    /// Runs the model, from any thread, and computes the outputs whose indices `wanted` lists. A slot
    /// that holds a value is written in place; an empty one gets a value made by
    /// ONNX Runtime. The slots share the inputs' lifetime, because a model may
    /// answer with an input itself.
    pub fn run<'a>(
        &self,
        options: Option<&RunOptions>,
        inputs: &[Value<'a>],
        wanted: &[usize],
        slots: &mut [Option<Value<'a>>],
    ) -> Result<(), String> {
        if inputs.len() != self.inputs.pointers.len() || wanted.len() != slots.len() {
            return Err(format!(
                "{} inputs and {} slots for {} inputs and {} outputs",
                inputs.len(),
                slots.len(),
                self.inputs.pointers.len(),
                wanted.len(),
            ));
        }
        if !slots.iter().flatten().all(Value::is_writable) {
            return Err("an output slot cannot be written".to_owned());
        }
        let names: SmallVec<[*const c_char; 8]> =
            wanted.iter().filter_map(|index| self.outputs.pointers.get(*index).copied()).collect();
        if names.len() != wanted.len() {
            return Err(format!("there are {} outputs only", self.outputs.pointers.len()));
        }
        // Of two slots for one output, ONNX Runtime would fill one.
        if (1..wanted.len()).any(|index| wanted[..index].contains(&wanted[index])) {
            return Err("an output is asked for twice".to_owned());
        }
        let values: SmallVec<[*const OrtValue; 8]> =
            inputs.iter().map(|value| value.as_ptr().cast_const()).collect();
        let mut results: SmallVec<[*mut OrtValue; 8]> = slots
            .iter()
            .map(|slot| slot.as_ref().map_or(ptr::null_mut(), |value| value.as_ptr()))
            .collect();
        // SAFETY: the session, the options and every value are live during the call; the
        // arrays have the lengths that are passed. Inputs are only read. Results that are
        // null come back owned; the others stay the slots'.
        check(unsafe {
            (api().Run)(
                self.raw.as_ptr(),
                options.map_or(ptr::null(), |options| options.as_ptr().cast_const()),
                self.inputs.pointers.as_ptr(),
                values.as_ptr(),
                values.len(),
                names.as_ptr(),
                names.len(),
                results.as_mut_ptr(),
            )
        })?;
        for index in 0..results.len() {
            if slots[index].is_none() {
                // SAFETY: a successful run fills every null result with a value we own.
                let made = unsafe { Value::from_run(results[index]) }?;
                // Only a tensor has one address; what a sequence holds is copied anyway.
                let independent = made.address()?.is_some_and(|address| {
                    !inputs.iter().chain(slots.iter().flatten()).any(|own| own.borrows(address))
                });
                slots[index] = Some(if independent { made.independent() } else { made });
            }
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: made by `CreateSession`, released once; runs borrow the session, and
        // values that may point into it hold it.
        unsafe { (api().ReleaseSession)(self.raw.as_ptr()) }
    }
}
