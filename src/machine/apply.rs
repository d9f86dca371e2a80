//! Folding an event into the next state.

use super::{Cause, Event, Fence, Phase, Refusal, State};
use crate::model::{ChunkId, ChunkSet, Version};

impl State {
    /// The state after an event.
    ///
    /// # Errors
    /// The [`Refusal`] of an event that does not follow from this state; the state is as it was.
    pub fn apply(&self, event: &Event) -> Result<State, Refusal> {
        if let Event::Renewed { height, cause, .. } = event {
            return self.renewed(*height, *cause).ok_or_else(|| self.out_of_place(event))?;
        }
        let (attempt, phase) = self.follow(event)?;
        Ok(State { attempt, phase, ..self.clone() })
    }

    /// The next epoch begins, if it may. Not from Halted, where an operator must look first, nor while the chain may stand still for a
    /// switch; and of a target that was lost not once versions were applied to it.
    fn renewed(&self, height: Version, cause: Cause) -> Option<Result<State, Refusal>> {
        let is_followed =
            matches!(&self.phase, Phase::Snapshotting { .. } | Phase::Restoring { .. } | Phase::Syncing { .. });
        let losses = match cause {
            Cause::Pruned if is_followed => self.losses,
            Cause::Lost if self.outlives_loss() => self.losses.saturating_add(1),
            _ => return None,
        };
        let phase = Phase::Snapshotting { height };
        let begun = |epoch| State { epoch, cause: Some(cause), losses, attempt: 0, phase };
        Some(self.epoch.checked_add(1).map(begun).ok_or(Refusal::Final { phase: self.phase.name() }))
    }

    fn follow(&self, event: &Event) -> Result<(u32, Phase), Refusal> {
        let same = self.attempt;
        let again = self.attempt.saturating_add(1);
        match (&self.phase, event) {
            (Phase::Done { height, version, finished: false }, Event::Finished) => {
                Ok((same, Phase::Done { height: *height, version: *version, finished: true }))
            }
            (Phase::Done { finished: false, .. }, Event::Returned) => Ok((same, Phase::Aborted)),
            (Phase::Done { .. } | Phase::Aborted, _) => Err(Refusal::Final { phase: self.phase.name() }),
            (_, Event::Aborted) => Ok((same, Phase::Aborted)),
            (Phase::Halted { from, .. }, Event::Repaired { reopened }) => {
                Ok((again, repaired(from, *reopened).map_err(|chunk| self.not_open(chunk))?))
            }
            (Phase::Halted { .. }, _) => Err(self.out_of_place(event)),
            (phase, Event::Halted(verdict)) => {
                Ok((same, Phase::Halted { verdict: verdict.clone(), from: Box::new(phase.clone()) }))
            }
            (Phase::Snapshotting { height }, Event::Snapshotted { chunks }) => Ok((
                same,
                Phase::Restoring {
                    height: *height,
                    chunks: *chunks,
                    restored: ChunkSet::default(),
                    joined: false,
                    proven: ChunkSet::default(),
                },
            )),
            (Phase::Restoring { .. }, _) => Ok((same, self.restoring(event)?)),
            (Phase::Syncing { height, applied }, Event::Applied { to }) => {
                let applied = self.advance(*applied, *to, None)?;
                Ok((same, Phase::Syncing { height: *height, applied }))
            }
            (Phase::Syncing { height, applied }, Event::SwitchStarted) => {
                Ok((same, Phase::Switching { height: *height, applied: *applied, fence: Fence::Raising }))
            }
            (Phase::Switching { height, applied, .. }, Event::SwitchUndone { .. }) => {
                Ok((again, Phase::Syncing { height: *height, applied: *applied }))
            }
            (Phase::Switching { height, applied, fence }, event) => {
                Ok((same, self.switching(*height, *applied, *fence, event)?))
            }
            _ => Err(self.out_of_place(event)),
        }
    }

    fn restoring(&self, event: &Event) -> Result<Phase, Refusal> {
        let mut phase = self.phase.clone();
        let Phase::Restoring { height, chunks, restored, joined, proven } = &mut phase else {
            return Err(self.out_of_place(event));
        };
        match event {
            Event::Restored { chunks: ids } => self.put(restored, *chunks, ids, |_| true, event)?,
            Event::Joined if restored.count() == *chunks && !*joined => *joined = true,
            Event::Proven { chunks: ids } if *joined => {
                self.put(proven, *chunks, ids, |id| restored.contains(id), event)?;
            }
            Event::Concluded(_) if *joined && restored.count() == *chunks && proven.count() == *chunks => {
                return Ok(Phase::Syncing { height: *height, applied: *height });
            }
            _ => return Err(self.out_of_place(event)),
        }
        Ok(phase)
    }

    fn switching(&self, height: Version, applied: Version, fence: Fence, event: &Event) -> Result<Phase, Refusal> {
        let to = |applied, fence| Ok(Phase::Switching { height, applied, fence });
        match (fence, event) {
            (Fence::Raising, Event::Fenced { version }) if *version >= applied => to(applied, Fence::Raised(*version)),
            (Fence::Raising, Event::Fenced { version }) => {
                Err(Refusal::Version { version: *version, applied, fence: None })
            }
            (Fence::Raised(version), Event::Applied { to: newest }) => {
                to(self.advance(applied, *newest, Some(version))?, fence)
            }
            (Fence::Raised(version), Event::Checked(_)) if applied == version => to(applied, Fence::Checked(version)),
            (Fence::Checked(version), Event::Flipped) => Ok(Phase::Done { height, version, finished: false }),
            _ => Err(self.out_of_place(event)),
        }
    }

    fn advance(&self, applied: Version, to: Version, fence: Option<Version>) -> Result<Version, Refusal> {
        if to > applied && fence.is_none_or(|fence| to <= fence) {
            Ok(to)
        } else {
            Err(Refusal::Version { version: to, applied, fence })
        }
    }

    fn put(
        &self,
        set: &mut ChunkSet,
        chunks: u64,
        ids: &[ChunkId],
        allowed: impl Fn(ChunkId) -> bool,
        event: &Event,
    ) -> Result<(), Refusal> {
        if ids.is_empty() {
            return Err(Refusal::Nothing { event: event.name() });
        }
        for &chunk in ids {
            if chunk >= chunks || !allowed(chunk) || !set.insert(chunk) {
                return Err(Refusal::NotOpen { chunk, chunks });
            }
        }
        Ok(())
    }

    fn out_of_place(&self, event: &Event) -> Refusal {
        Refusal::OutOfPlace { event: event.name(), phase: self.phase.name() }
    }

    fn not_open(&self, chunk: ChunkId) -> Refusal {
        Refusal::NotOpen { chunk, chunks: 0 }
    }
}

/// The phase a repaired halt goes back to. A reopened chunk must be restored and proven again.
fn repaired(from: &Phase, reopened: Option<ChunkId>) -> Result<Phase, ChunkId> {
    let mut phase = from.clone();
    if let Some(chunk) = reopened {
        let Phase::Restoring { restored, proven, .. } = &mut phase else { return Err(chunk) };
        proven.remove(chunk);
        if !restored.remove(chunk) {
            return Err(chunk);
        }
    }
    Ok(phase)
}
