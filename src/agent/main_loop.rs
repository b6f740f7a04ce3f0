//! The loop: it waits until something happens, and acts on it. It waits for nothing else.

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::events::StepNews;
use super::executor::Executor;
use super::handle::Ask;
use super::round::Round;
use super::tasks::TaskResult;
use super::{Agent, RunEnd};
use crate::core::time::timetable::Timetable;
use crate::ports::Ports;

/// What wakes the loop.
enum WakeReason<P> {
    /// The agent is asked to stop.
    Stop,
    /// Other settings are to be followed.
    Reload,
    /// Something beside the loop came to its end.
    TaskResult(TaskResult<P>),
    /// A person wishes something, or something was pushed.
    Ask(Ask),
    /// An update begins a step.
    Step(StepNews),
    /// The timetable is to be looked at.
    Due,
}

impl<P: Ports> Agent<P> {
    /// Checks on schedule and fulfils wishes, until it is asked to stop or to begin anew with other
    /// settings, which waits for the end of what is under way. What an earlier agent left open is
    /// finished at once, not at the first tick.
    pub async fn run(&mut self, queue: &mut mpsc::Receiver<Ask>, reload: &Notify) -> RunEnd {
        let begun = Instant::now();
        self.heart.beat();
        self.context.is_resident = true;
        self.executor = Some(Box::new(Executor::new(self.context.clone())));
        // What cannot be asked now is asked again before the first act.
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
                WakeReason::Reload => is_reloading = true,
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
        if self.context.stop.is_cancelled() {
            self.release_engine_lock().await;
        }
        match (self.context.stop.is_cancelled(), self.is_self_updating) {
            (true, _) => RunEnd::Stopped,
            (false, true) => RunEnd::SelfUpdating,
            (false, false) => RunEnd::Reload,
        }
    }

    /// Waits until something happens. Nothing is done here, so that nothing is cut off by what
    /// happens at the same time.
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

    /// Waits for what goes on beside the loop, and goes on with it. Says whether there was
    /// anything.
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

    /// The agent is to end: nothing more is asked or begun. Updates in flight end by themselves.
    async fn give_up(&mut self) {
        self.has_given_up = true;
        self.tasks.drop_looks();
        self.rounds.values_mut().for_each(Round::cancel_remaining);
        self.asks.clear();
        self.postponed.clear();
        self.again.clear();
        self.advance().await;
    }

    /// Whether the agent is to end.
    pub(super) fn is_ending(&self) -> bool {
        self.context.stop.is_cancelled() || self.is_self_updating
    }
}
