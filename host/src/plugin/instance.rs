//! A plugin that runs: one store, its limits, and the calls into it.

use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap, WasmBacktrace};

use crate::message::Batch;
use crate::plugin::bindings::messages::Output;
use crate::plugin::bindings::transform::{Field, Guest as Transform, GuestIndices};
use crate::plugin::check;
use crate::plugin::error::{PluginError, Reached};
use crate::plugin::guest_log::{GuestLog, cut};
use crate::plugin::limits::{Limits, STACK};
use crate::plugin::wasi::Guest;

/// A plugin that has been opened with its settings. After an error it is dead, and is to be dropped.
pub struct Instance {
    /// The fields of what comes out; none where they are not known in advance.
    pub fields: Vec<Field>,
    running: Running,
}

impl Instance {
    pub(super) fn open(mut running: Running, settings: &str) -> Result<Self, PluginError> {
        let fields = running.call("open", |store, guest| guest.call_open(store, settings))?;
        let fields =
            fields.map_err(|reason| PluginError::Refused { plugin: running.plugin.clone(), reason: cut(&reason) })?;
        running.checked("open", check::fields(&fields))?;
        Ok(Self { fields, running })
    }

    /// Puts a batch through, and checks what comes back (Invariant 3).
    pub fn process(&mut self, batch: &Batch) -> Result<Output, PluginError> {
        let running = &mut self.running;
        let mut output = running.call("process", |store, guest| guest.call_process(store, batch))?;
        let (limits, messages) = (&running.limits, &output.messages);
        if messages.len() > limits.output_messages || messages.bytes() > limits.output_bytes {
            return Err(running.stopped("process", too_much(limits)));
        }
        running.checked("process", check::output(&output, batch.len()))?;
        for rejection in &mut output.rejected {
            rejection.reason = cut(&rejection.reason);
        }
        Ok(output)
    }
}

/// A component in its store, and every call into it.
pub(super) struct Running {
    plugin: String,
    limits: Limits,
    store: Store<Guest>,
    transform: Transform,
}

impl Running {
    pub fn start(pre: &InstancePre<Guest>, plugin: &str, limits: &Limits) -> Result<Self, PluginError> {
        let log = GuestLog::new(plugin, limits.log_lines);
        let mut store = Store::new(pre.engine(), Guest::new(limits, log));
        store.limiter(|guest| &mut guest.keeper);
        store.set_hostcall_fuel(limits.copied());
        store.set_epoch_deadline(limits.ticks());
        let mismatch = |error: wasmtime::Error| PluginError::Mismatch {
            plugin: format!("plugin {plugin}"),
            what: cut(&format!("{error:#}")),
        };
        let indices = GuestIndices::new(pre).map_err(mismatch)?;
        let instance =
            pre.instantiate(&mut store).map_err(|error| explain(error, plugin, limits, &store, "its start"))?;
        let transform = indices.load(&mut store, &instance).map_err(mismatch)?;
        Ok(Self { plugin: plugin.to_owned(), limits: limits.clone(), store, transform })
    }

    /// Calls into the guest, within the time that its limits give.
    pub fn call<R>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(&mut Store<Guest>, &Transform) -> wasmtime::Result<R>,
    ) -> Result<R, PluginError> {
        self.store.set_epoch_deadline(self.limits.ticks());
        call(&mut self.store, &self.transform)
            .map_err(|error| explain(error, &self.plugin, &self.limits, &self.store, name))
    }

    fn checked(&self, call: &'static str, checked: Result<(), String>) -> Result<(), PluginError> {
        checked.map_err(|what| PluginError::Nonsense { plugin: self.plugin.clone(), call, what })
    }

    fn stopped(&self, call: &'static str, limit: Reached) -> PluginError {
        PluginError::Limit { plugin: self.plugin.clone(), call, limit }
    }
}

/// Tells a limit from a trap, and a trap's cause.
fn explain(
    error: wasmtime::Error,
    plugin: &str,
    limits: &Limits,
    store: &Store<Guest>,
    call: &'static str,
) -> PluginError {
    let plugin = plugin.to_owned();
    let trap = error.downcast_ref::<Trap>();
    // wasmtime has no type for this one that can be named here.
    let copied_too_much = || format!("{error:#}").contains("fuel allocated for hostcalls");
    let limit = match trap {
        Some(Trap::Interrupt) => Some(Reached::Call(limits.call)),
        Some(Trap::StackOverflow) => Some(Reached::Stack(STACK)),
        _ => store.data().keeper.reached,
    };
    let limit = limit
        .or_else(|| too_many_handles(&error).then_some(Reached::Resources(limits.resources)))
        .or_else(|| copied_too_much().then(|| too_much(limits)));
    if let Some(limit) = limit {
        return PluginError::Limit { plugin, call, limit };
    }
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string).unwrap_or_default();
    let cause = match trap {
        // A panic, an abort and an exception of any language all end this way.
        Some(Trap::UnreachableCodeReached) => "it gave up (a panic, an abort or an uncaught exception)".to_owned(),
        Some(Trap::MemoryOutOfBounds) => "it reached outside of its memory (often a recursion without end)".to_owned(),
        Some(trap) => trap.to_string(),
        None => cut(&error.root_cause().to_string()),
    };
    PluginError::Trap { plugin, call, cause, said: store.data().log.tail(), backtrace }
}

fn too_much(limits: &Limits) -> Reached {
    Reached::Output { messages: limits.output_messages, bytes: limits.output_bytes }
}

fn too_many_handles(error: &wasmtime::Error) -> bool {
    use wasmtime::component::ResourceTableError::Full;
    error.downcast_ref::<wasmtime::component::ResourceTableError>().is_some_and(|error| matches!(error, Full))
}
