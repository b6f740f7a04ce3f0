//! The main loop: it waits for an event and handles it. Handling an event never waits for a
//! registry, an update or a hook.

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::execution::executor::Executor;
use super::handle::Ask;
use super::handle::events::StepNews;
use super::round::Round;
use super::tasks::TaskResult;
use super::{Agent, RunEnd};
use crate::core::time::timetable::Timetable;
use crate::ports::Ports;

/// What wakes the loop.
enum WakeReason<P> {
    /// The agent must stop.
    Stop,
    /// The agent must apply a new configuration.
    Reload,
    /// A task beside the loop has ended.
    TaskResult(TaskResult<P>),
    /// A command or a webhook.
    Ask(Ask),
    /// An update begins a step.
    Step(StepNews),
    /// The timetable has a due entry.
    Due,
}

impl<P: Ports> Agent<P> {
    /// Checks on schedule and answers commands until the agent is stopped or reloaded. A reload
    /// waits for the tasks in flight, but only for some time for an upload. Updates that an earlier
    /// agent left open are finished first, before the first scheduled check.
    pub async fn run(&mut self, queue: &mut mpsc::Receiver<Ask>, reload: &Notify) -> RunEnd {
        let begun = Instant::now();
        self.heart.beat();
        self.context.is_resident = true;
        self.executor = Some(Box::new(Executor::new(self.context.clone())));
        // If the Engine is away now, this is checked again before the agent changes anything.
        self.is_unsettled = matches!(self.hold_engine().await, Ok(Some(_)));
        if !self.is_unsettled && !Box::pin(self.settle_now()).await {
            self.heart.rest_until(None);
            return RunEnd::SelfUpdating;
        }
        self.take_up_open().await;
        let mut table = self.timetable(begun).await;
        let mut is_reloading = false;
        loop {
            table.await_openings(self.openings(begun.elapsed()));
            let is_open = !is_reloading && !self.is_ending();
            if !is_open && self.tasks.is_empty() {
                break;
            }
            let woken = self.rest(&table, begun, (is_open, queue, reload)).await;
            self.heart.beat();
            match woken {
                WakeReason::Stop => self.give_up().await,
                WakeReason::Reload => {
                    is_reloading = true;
                    self.deployments.reloading.cancel();
                }
                WakeReason::TaskResult(message) => self.receive(message).await,
                WakeReason::Ask(queued) => self.take(queued).await,
                WakeReason::Step(news) => self.note_step(&news),
                WakeReason::Due => self.turn(&mut table, begun).await,
            }
            if self.is_self_updating {
                self.give_up().await;
            }
        }
        self.heart.rest_until(None);
        self.keep_fleet_at_end();
        if self.context.stop.is_cancelled() {
            self.release_engine_lock().await;
        }
        match (self.context.stop.is_cancelled(), self.is_self_updating) {
            (true, _) => RunEnd::Stopped,
            (false, true) => RunEnd::SelfUpdating,
            (false, false) => RunEnd::Reload,
        }
    }

    /// Waits for the next event. It handles nothing, so a second event at the same time cannot
    /// cancel work.
    async fn rest(
        &mut self,
        table: &Timetable,
        begun: Instant,
        (is_open, queue, reload): (bool, &mut mpsc::Receiver<Ask>, &Notify),
    ) -> WakeReason<P> {
        let waking = self.waking(table, begun);
        self.heart.rest_until(is_open.then_some(waking));
        tokio::select! {
            biased;
            () = self.context.stop.cancelled(), if !self.has_given_up => WakeReason::Stop,
            () = reload.notified(), if is_open => WakeReason::Reload,
            Some(news) = self.steps.recv() => WakeReason::Step(news),
            Some(message) = self.tasks.next() => WakeReason::TaskResult(message),
            Some(queued) = queue.recv(), if is_open => WakeReason::Ask(queued),
            () = tokio::time::sleep_until(waking), if is_open => WakeReason::Due,
            else => WakeReason::Stop,
        }
    }

    /// Waits for a task beside the loop and handles its result. Returns `false` if there is no
    /// task.
    pub(super) async fn go_on(&mut self) -> bool {
        let message = tokio::select! {
            biased;
            () = self.context.stop.cancelled(), if !self.has_given_up => None,
            message = self.tasks.next() => match message {
                Some(message) => Some(message),
                None => return false,
            },
        };
        match message {
            Some(message) => self.receive(message).await,
            None => self.give_up().await,
        }
        true
    }

    /// The agent ends: it starts no new work. Updates in flight end by themselves.
    async fn give_up(&mut self) {
        self.has_given_up = true;
        self.tasks.drop_looks();
        self.rounds.values_mut().for_each(Round::cancel_remaining);
        self.asks.clear();
        self.postponed.clear();
        self.again.clear();
        self.advance().await;
    }

    /// Whether the agent is ending.
    pub(super) fn is_ending(&self) -> bool {
        self.context.stop.is_cancelled() || self.is_self_updating
    }
}
