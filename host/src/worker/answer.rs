//! Questions about a plugin's live state, answered between two batches: the answer has all that was processed, and what it
//! costs the stream is one call for each partition.
//!
//! A plugin that fails on a question is like one that fails on a message: its worker goes back to the last checkpoint.
//! Until the next commit it is not asked again, so that no caller can keep the stream from going on.

use super::Loop;
use crate::plugin::quote;

impl Loop<'_> {
    pub(super) fn answer_questions(&mut self) -> anyhow::Result<()> {
        for question in self.worker.handle.questions.all() {
            for (&partition, task) in self.tasks.iter_mut().filter(|(partition, _)| question.waits_for(**partition)) {
                if self.mute {
                    let what = "the plugin failed on the last question, and has had no effect since; ask again later";
                    question.answer(partition, Err(what.to_owned()));
                    continue;
                }
                match task.ask(question.slot, &question.text) {
                    Ok(answer) => question.answer(partition, answer.map_err(|reason| refused(&reason))),
                    Err(failed) => {
                        question.answer(partition, Err(failed.to_string()));
                        self.mute = true;
                        return Err(failed.into());
                    }
                }
            }
        }
        Ok(())
    }
}

fn refused(reason: &str) -> String {
    format!("the plugin refuses the question: {}", quote(reason))
}
