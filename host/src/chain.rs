//! The plugins of one partition, in order: what goes in at the front comes out at the end, or is rejected on the way.
//!
//! A chain computes, and has no effect but through its [`Outlet`]. After an error it is dead: what its plugins knew since
//! the last checkpoint is gone.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::beside::Beside;
use crate::checkpoint::{self, Checkpoint, Tally};
use crate::message::Batch;
use crate::plugin::{Entries, Instance, Output, PluginError, Rejection};
use crate::sink::Kept;
use crate::version::Version;

/// One plugin of a chain.
pub struct Stage {
    pub version: Version,
    pub instance: Instance,
    /// Another version that sees the same, without effect.
    pub beside: Option<Beside>,
}

/// The plugins of one partition.
pub struct Chain {
    partition: i32,
    pub stages: Vec<Stage>,
}

/// Where what comes out of a chain goes.
pub trait Outlet {
    /// Messages of `batch` that a plugin cannot use; `offsets` has, for each message, that of the one it came from.
    fn rejected(
        &mut self,
        version: &Version,
        rejected: &[Rejection],
        batch: &Batch,
        offsets: &[i64],
    ) -> anyhow::Result<()>;

    /// Output that came from input whose first offset is `first`; `offsets` as above.
    fn output(&mut self, batch: &Batch, offsets: &[i64], first: i64) -> anyhow::Result<()>;
}

/// For a chain that is only tried.
pub struct Nowhere;

impl Outlet for Nowhere {
    fn rejected(&mut self, _: &Version, _: &[Rejection], _: &Batch, _: &[i64]) -> anyhow::Result<()> {
        Ok(())
    }

    fn output(&mut self, _: &Batch, _: &[i64], _: i64) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A plugin of a chain failed: it trapped, reached a limit or gave back nonsense.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// Its place in the chain.
    pub stage: usize,
    pub error: PluginError,
}

impl Stage {
    pub fn open(version: &Version) -> Result<Self, PluginError> {
        Ok(Self { instance: version.open()?, version: version.clone(), beside: None })
    }

    fn process(&mut self, partition: i32, batch: &Batch, offsets: &[i64]) -> Result<Output, PluginError> {
        self.instance.locate(partition, offsets)?;
        let Some(beside) = &mut self.beside else { return self.instance.process(batch) };
        let start = Instant::now();
        let output = self.instance.process(batch)?;
        beside.process(batch, offsets, &output, start.elapsed(), self.instance.memory());
        Ok(output)
    }

    fn advance(&mut self, watermark: i64) -> Result<Batch, PluginError> {
        let output = self.instance.advance(watermark)?;
        if let Some(beside) = &mut self.beside {
            beside.advance(watermark, &output);
        }
        Ok(output)
    }
}

impl Chain {
    /// Newly opened plugins without state.
    pub fn open(versions: &[Version], partition: i32) -> Result<Self, PluginError> {
        Ok(Self { partition, stages: versions.iter().map(Stage::open).collect::<Result<_, _>>()? })
    }

    /// Takes back the state of a checkpoint, and checks that it is all there.
    pub fn restore(&mut self, last: &Checkpoint, kept: Kept) -> anyhow::Result<Tally> {
        let versions: Vec<&str> = last.with_state().collect();
        let mut tally = Tally::default();
        let mut failed = None;
        kept(&mut |entries| {
            tally.apply_all(entries);
            match self.take_back(&versions, entries) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let (kept, found) = (last.state, tally.sum());
        if last.exactly_once && kept != found {
            let what = format!(
                "the state is damaged: the checkpoint says {} entries with the sum {:016x}, and there are {} with \
                 {:016x}; bring back an undamaged copy, or start anew under another `group`",
                kept.entries, kept.sum, found.entries, found.sum
            );
            return Err(checkpoint::Refusal { partition: last.partition, what }.into());
        }
        Ok(tally)
    }

    /// Gives a part of the kept state to the plugins that it belongs to.
    fn take_back(&mut self, versions: &[&str], entries: &Entries) -> Result<(), PluginError> {
        for ((number, stage), version) in self.with_state().zip(versions) {
            let own = checkpoint::own(entries, number);
            if !own.is_empty() {
                stage.instance.restore(version, &own)?;
            }
        }
        Ok(())
    }

    /// Puts a batch through the plugins from the `from`-th on. `offsets` has, for each message, the offset of the one
    /// that it came from; `first` is the first of them.
    pub fn put_through(
        &mut self,
        from: usize,
        mut batch: Batch,
        mut offsets: Vec<i64>,
        first: i64,
        out: &mut dyn Outlet,
    ) -> anyhow::Result<()> {
        for (number, stage) in (from..).zip(&mut self.stages[from..]) {
            if batch.is_empty() {
                return Ok(());
            }
            let output =
                stage.process(self.partition, &batch, &offsets).map_err(|error| Failed { stage: number, error })?;
            out.rejected(&stage.version, &output.rejected, &batch, &offsets)?;
            offsets = output.origins.iter().map(|&origin| offsets[origin as usize]).collect();
            batch = output.messages;
        }
        if batch.is_empty() { Ok(()) } else { out.output(&batch, &offsets, first) }
    }

    /// Moves event time on to `watermark` without a message, so that what waits for it comes out, as of offset `next`.
    pub fn advance(&mut self, watermark: i64, next: i64, out: &mut dyn Outlet) -> anyhow::Result<()> {
        for number in 0..self.stages.len() {
            let batch = self.stages[number].advance(watermark).map_err(|error| Failed { stage: number, error })?;
            let offsets = vec![next; batch.len()];
            self.put_through(number + 1, batch, offsets, next, out)?;
        }
        Ok(())
    }

    /// What changed in the state since it was asked last, as it is kept.
    pub fn changes(&mut self) -> anyhow::Result<Entries> {
        let mut changes = Entries::default();
        for (number, stage) in (0..).zip(&mut self.stages) {
            if let Some(beside) = &mut stage.beside {
                beside.forget_changes();
            }
            let kept = stage.version.number;
            while let Some(entries) = stage.instance.changes().map_err(|error| Failed { stage: number, error })? {
                entries.iter().for_each(|(key, value)| checkpoint::push(&mut changes, kept, key, value));
            }
        }
        Ok(changes)
    }

    pub fn has_timer(&self) -> bool {
        self.stages.iter().any(|stage| stage.instance.has_timer())
    }

    /// The plugins that keep state, with the numbers by which it is kept.
    fn with_state(&mut self) -> impl Iterator<Item = (u8, &mut Stage)> {
        self.stages.iter_mut().filter(|stage| stage.instance.has_state()).map(|stage| (stage.version.number, stage))
    }
}
