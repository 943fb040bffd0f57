//! A plugin that runs: one store, its limits, and the calls into it.

use std::time::Duration;

use wasmtime::component::{self, InstancePre};
use wasmtime::{Store, Trap, WasmBacktrace};

use crate::message::Batch;
use crate::plugin::bindings::messages::Output;
use crate::plugin::bindings::position;
use crate::plugin::bindings::state::{self, Entries};
use crate::plugin::bindings::transform::{self, Description, Opened};
use crate::plugin::bindings::{query, timer};
use crate::plugin::check;
use crate::plugin::error::{PluginError, Reached};
use crate::plugin::guest_log::{GuestLog, Pace, cut};
use crate::plugin::limits::{Limits, STACK};
use crate::plugin::wasi::Guest;

/// What a plugin may put out as changes of its state before they are kept, beside the memory that it has.
const CHANGES: usize = 2;

/// What each part of them counts for at least.
const PART: usize = 4096;

/// A plugin that has been opened with its settings. After an error it is dead, and is to be dropped.
pub struct Instance {
    pub opened: Opened,
    running: Running,
    /// Bytes of state that it gave since it last gave all.
    changed: usize,
}

impl Instance {
    pub(super) fn open(mut running: Running, settings: &str) -> Result<Self, PluginError> {
        let opened = running.call("open", |store, guest| guest.transform.call_open(store, settings))?;
        let opened =
            opened.map_err(|reason| PluginError::Refused { plugin: running.plugin.clone(), reason: cut(&reason) })?;
        running.checked("open", check::opened(&opened))?;
        Ok(Self { opened, running, changed: 0 })
    }

    /// Bytes of memory that it has.
    pub fn memory(&self) -> usize {
        self.running.store.data().keeper.memory
    }

    /// From now on a call may take so long, instead of what its limits say.
    pub fn limit_calls(&mut self, time: Duration) {
        self.running.limits.call = time;
    }

    /// Whether the plugin keeps state.
    pub fn has_state(&self) -> bool {
        self.running.guest.state.is_some()
    }

    /// Whether the plugin acts when event time passes.
    pub fn has_timer(&self) -> bool {
        self.running.guest.timer.is_some()
    }

    /// Tells the plugin where the messages of the next batch come from, if it wants to know: their partition, and the
    /// offset of each.
    pub fn locate(&mut self, partition: i32, offsets: &[i64]) -> Result<(), PluginError> {
        let Some(position) = self.running.guest.position.clone() else { return Ok(()) };
        // No topic has a negative partition.
        let partition = u32::try_from(partition).unwrap_or_default();
        self.running.call("locate", |store, _| position.call_locate(store, partition, offsets))
    }

    /// Puts a batch through, and checks what comes back (Invariant 3).
    pub fn process(&mut self, batch: &Batch) -> Result<Output, PluginError> {
        let running = &mut self.running;
        let mut output = running.call("process", |store, guest| guest.transform.call_process(store, batch))?;
        running.within_limits("process", &output)?;
        running.checked("process", check::output(&output, batch.len()))?;
        for rejection in &mut output.rejected {
            rejection.reason = cut(&rejection.reason);
        }
        Ok(output)
    }

    /// Tells the plugin that event time has reached `watermark` (milliseconds since the Unix epoch), and gives what
    /// waited for it. Nothing from a plugin that has no timer.
    pub fn advance(&mut self, watermark: i64) -> Result<Batch, PluginError> {
        let running = &mut self.running;
        if running.guest.timer.is_none() {
            return Ok(Batch::new());
        }
        let advance = |store: &mut Store<Guest>, guest: &Exports| match &guest.timer {
            Some(timer) => timer.call_advance(store, watermark),
            None => unreachable!("it was looked for above"),
        };
        let output = running.call("advance", advance)?;
        running.within_limits("advance", &output)?;
        running.checked("advance", check::advanced(&output))?;
        Ok(output.messages)
    }

    /// A part of what changed in the plugin's state since it last gave all; `None` when it has.
    pub fn changes(&mut self) -> Result<Option<Entries>, PluginError> {
        let running = &mut self.running;
        if running.guest.state.is_none() {
            return Ok(None);
        }
        let changes = |store: &mut Store<Guest>, guest: &Exports| match &guest.state {
            Some(state) => state.call_changes(store),
            None => unreachable!("it was looked for above"),
        };
        let entries = running.call("changes", changes)?;
        running.checked("changes", check::entries(&entries))?;
        if entries.keys.is_empty() {
            self.changed = 0;
            return Ok(None);
        }
        // More than it could hold is no state, but a flood; even one of nothing.
        self.changed += (entries.keys.bytes.len() + entries.values.bytes.len()).max(PART);
        let most = running.limits.memory.saturating_mul(CHANGES);
        running.checked(
            "changes",
            if self.changed > most { Err(format!("more than {most} bytes of state")) } else { Ok(()) },
        )?;
        Ok(Some(entries))
    }

    /// What the plugin answers to a question about its state; the inner error is its own, and cut.
    pub fn ask(&mut self, question: &str) -> Result<Result<String, String>, PluginError> {
        let running = &mut self.running;
        let ask = |store: &mut Store<Guest>, guest: &Exports| match &guest.query {
            Some(query) => query.call_ask(store, question),
            None => Ok(Err("this plugin answers no questions".to_owned())),
        };
        let answer = running.call("ask", ask)?;
        if answer.as_ref().is_ok_and(|answer| answer.len() > running.limits.output_bytes) {
            return Err(running.stopped("ask", too_much(&running.limits)));
        }
        Ok(answer.map_err(|reason| cut(&reason)))
    }

    /// Gives back entries that `version` of the plugin kept; an error when it refuses them.
    pub fn restore(&mut self, version: &str, entries: &Entries) -> Result<(), PluginError> {
        let running = &mut self.running;
        let restore = |store: &mut Store<Guest>, guest: &Exports| match &guest.state {
            Some(state) => state.call_restore(store, version, entries),
            None => Ok(Err("this plugin keeps no state".to_owned())),
        };
        running.call("restore", restore)?.map_err(|reason| PluginError::State {
            plugin: running.plugin.clone(),
            version: version.to_owned(),
            reason: cut(&reason),
        })
    }
}

/// The interfaces that a component exports.
struct Exports {
    transform: transform::Guest,
    timer: Option<timer::Guest>,
    state: Option<state::Guest>,
    position: Option<position::Guest>,
    query: Option<query::Guest>,
}

impl Exports {
    fn load(
        pre: &InstancePre<Guest>,
        store: &mut Store<Guest>,
        instance: &component::Instance,
    ) -> wasmtime::Result<Self> {
        let has = |name: &str| pre.component().get_export_index(None, name).is_some();
        let transform = transform::GuestIndices::new(pre)?.load(&mut *store, instance)?;
        let timer = has(TIMER).then(|| timer::GuestIndices::new(pre)?.load(&mut *store, instance)).transpose()?;
        let state = has(STATE).then(|| state::GuestIndices::new(pre)?.load(&mut *store, instance)).transpose()?;
        let position =
            has(POSITION).then(|| position::GuestIndices::new(pre)?.load(&mut *store, instance)).transpose()?;
        let query = has(QUERY).then(|| query::GuestIndices::new(pre)?.load(&mut *store, instance)).transpose()?;
        Ok(Self { transform, timer, state, position, query })
    }
}

const TIMER: &str = "apogee:plugin/timer@0.1.0";
const STATE: &str = "apogee:plugin/state@0.1.0";
const POSITION: &str = "apogee:plugin/position@0.1.0";
const QUERY: &str = "apogee:plugin/query@0.1.0";

/// A component in its store, and every call into it.
pub(super) struct Running {
    plugin: String,
    limits: Limits,
    store: Store<Guest>,
    guest: Exports,
}

impl Running {
    pub fn start(pre: &InstancePre<Guest>, plugin: &str, limits: &Limits, pace: &Pace) -> Result<Self, PluginError> {
        let log = GuestLog::new(plugin, limits.log_lines, pace);
        let mut store = Store::new(pre.engine(), Guest::new(limits, log));
        store.limiter(|guest| &mut guest.keeper);
        store.set_hostcall_fuel(limits.copied());
        store.set_epoch_deadline(limits.ticks());
        let mismatch = |error: wasmtime::Error| PluginError::Mismatch {
            plugin: format!("plugin {plugin}"),
            what: cut(&format!("{error:#}")),
        };
        let instance =
            pre.instantiate(&mut store).map_err(|error| explain(error, plugin, limits, &store, "its start"))?;
        let guest = Exports::load(pre, &mut store, &instance).map_err(mismatch)?;
        Ok(Self { plugin: plugin.to_owned(), limits: limits.clone(), store, guest })
    }

    /// Calls into the guest, within the time that its limits give.
    pub(super) fn describe(&mut self) -> Result<Description, PluginError> {
        self.call("describe", |store, guest| guest.transform.call_describe(store))
    }

    fn call<R>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(&mut Store<Guest>, &Exports) -> wasmtime::Result<R>,
    ) -> Result<R, PluginError> {
        self.store.set_epoch_deadline(self.limits.ticks());
        call(&mut self.store, &self.guest)
            .map_err(|error| explain(error, &self.plugin, &self.limits, &self.store, name))
    }

    fn within_limits(&self, call: &'static str, output: &Output) -> Result<(), PluginError> {
        let (limits, messages) = (&self.limits, &output.messages);
        if messages.len() > limits.output_messages || messages.bytes() > limits.output_bytes {
            return Err(self.stopped(call, too_much(limits)));
        }
        Ok(())
    }

    fn checked(&self, call: &'static str, checked: Result<(), String>) -> Result<(), PluginError> {
        checked.map_err(|what| PluginError::Nonsense { plugin: self.plugin.clone(), call, what })
    }

    fn stopped(&self, call: &'static str, limit: Reached) -> PluginError {
        PluginError::Limit { plugin: self.plugin.clone(), call, limit, backtrace: String::new() }
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
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string).unwrap_or_default();
    if let Some(limit) = limit {
        return PluginError::Limit { plugin, call, limit, backtrace };
    }
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
