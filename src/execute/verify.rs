//! Watches a new container until it has proved itself: an ear on the Engine, a probe where the
//! user asked for one, and a verdict that is made elsewhere.

use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::{Trouble, Update};
use crate::core::docker::inspect;
use crate::core::update::Note;
use crate::core::update::blame;
use crate::core::update::health::{Gate, HealthPolicy, Sample, Sight, Verdict, verdict};
use crate::core::update::history::Cause;
use crate::core::update::plan::Source;
use crate::engine::{ContainerEvent, Engine, EngineError};
use crate::probing;
use crate::world::Ports;

/// How often a probe is tried while a container is being watched.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time between two looks at the container, whatever the event stream says: a stream
/// can be silent because its other end is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// How many of its last lines tell why a container ended.
const LAST_WORDS: usize = 10;

/// What spoils every verdict.
const ENGINE_LOST: &str = "the Engine went away during the verification";

/// An ear on one container.
pub(super) struct Watch {
    events: BoxStream<'static, ContainerEvent>,
    gate: Gate,
    /// The start of the container, by the monotonic clock.
    since: Instant,
    /// Everything that was seen.
    samples: Vec<Sample>,
    out_of_memory: bool,
    killed: bool,
}

impl Watch {
    fn see(&mut self, sight: Sight) {
        let at = self.since.elapsed();
        // A long wait repeats itself; only changes say something.
        if self.samples.last().is_none_or(|last| last.sight != sight) {
            self.samples.push(Sample { at, sight });
        }
    }

    /// Hears what the stream has said already, without waiting for more.
    fn hear_what_is_ready(&mut self) {
        while let Some(event) = self.events.next().now_or_never() {
            match event {
                Some(event) => self.hear(&event),
                None => return self.see(Sight::EngineLost(ENGINE_LOST.into())),
            }
        }
    }

    fn hear(&mut self, event: &ContainerEvent) {
        match event {
            ContainerEvent::OutOfMemory => self.out_of_memory = true,
            ContainerEvent::Killed => self.killed = true,
            ContainerEvent::Destroyed => self.see(Sight::Removed),
            ContainerEvent::Died { .. } if self.killed && !self.out_of_memory => {
                self.see(Sight::Stopped);
            }
            ContainerEvent::Died { code } => {
                let out_of_memory = self.out_of_memory;
                self.see(Sight::Exited { code: *code, out_of_memory });
            }
            ContainerEvent::Health(health) => match health.as_str() {
                "healthy" if self.gate == Gate::Healthcheck => self.see(Sight::Well),
                "unhealthy" => self.see(Sight::Unhealthy(String::new())),
                _ => {}
            },
            ContainerEvent::Other(_) => {}
        }
    }
}

impl<P: Ports> Update<'_, P> {
    /// Begins to listen. What happens before the container starts is heard as well.
    pub(super) async fn listen(&mut self, container: &str) -> Result<(), Trouble> {
        let events = self.ports.engine().events(container).await?;
        self.watch = Some(Watch {
            events,
            gate: Gate::Running,
            since: Instant::now(),
            samples: Vec::new(),
            out_of_memory: false,
            killed: false,
        });
        Ok(())
    }

    /// Whether the Engine is the one that was asked to listen, as far as it can be known without
    /// another question, which would only be one more moment in which it may go away.
    pub(super) fn check_the_stream_goes_on(&mut self) -> Result<(), Trouble> {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        watch.hear_what_is_ready();
        let is_lost = |sample: &Sample| matches!(sample.sight, Sight::EngineLost(_));
        match watch.samples.iter().any(is_lost) {
            true => Err(Trouble::Spoilt(ENGINE_LOST.into())),
            false => Ok(()),
        }
    }

    /// The watched container was started now.
    pub(super) fn mark_started(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.since = Instant::now();
        }
    }

    /// Watches until there is a verdict.
    ///
    /// The verdict counts only if the Engine was the same all the time: its event stream, opened
    /// before the start, must not have ended. A verification that is taken up again begins from
    /// nothing, with the whole time of the policy.
    pub(super) async fn verify(&mut self) -> Result<Note, Trouble> {
        let new = self.new_container()?;
        let mut watch = match self.watch.take() {
            Some(watch) => watch,
            None => {
                self.listen(&new).await?;
                self.watch.take().ok_or_else(|| Trouble::surroundings("no event stream"))?
            }
        };
        let document = self.ports.engine().inspect(&new).await?.unwrap_or_default();
        let policy = HealthPolicy::of(&self.plan().health, &document);
        watch.gate = policy.gate;
        self.check_the_old_one_stayed_down().await?;
        self.look(&new, &mut watch).await?;
        self.await_verdict(&new, &document, &policy, &mut watch).await?;
        self.check_the_old_one_stayed_down().await?;
        Ok(Note::default())
    }

    async fn await_verdict(
        &self,
        new: &str,
        document: &Value,
        policy: &HealthPolicy,
        watch: &mut Watch,
    ) -> Result<(), Trouble> {
        let mut is_last_look = false;
        loop {
            match verdict(policy, &watch.samples, watch.since.elapsed()) {
                Verdict::Well if !is_last_look => {
                    // Time has passed, but nobody may have looked meanwhile: an answer was slow, or
                    // the machine slept. It counts only if it runs now, and nothing was unheard.
                    is_last_look = true;
                    self.look(new, watch).await?;
                    watch.hear_what_is_ready();
                }
                Verdict::Well => return Ok(()),
                Verdict::Wait { until } => self.wait(new, document, watch, until).await?,
                Verdict::Spoilt(detail) => return Err(Trouble::Spoilt(detail)),
                Verdict::Person(detail) => {
                    self.check_the_engine_stayed().await?;
                    return Err(Trouble::Cause(Cause::person(detail)));
                }
                Verdict::Failed(detail) => {
                    self.check_the_engine_stayed().await?;
                    let detail = self.in_full(new, detail).await;
                    return Err(Trouble::Cause(self.whose_fault(new, detail).await));
                }
            }
        }
    }

    /// The image's, unless its copy on this machine is an old one and seems to be damaged. A copy
    /// that a person goes back to by hand cannot be pulled again.
    async fn whose_fault(&self, new: &str, detail: String) -> Cause {
        let is_fresh = self.journal.progress.known.fetched || self.plan().source == Source::Kept;
        let log = match is_fresh {
            true => Vec::new(),
            false => self.ports.engine().logs(new, LAST_WORDS).await.unwrap_or_default(),
        };
        if blame::is_a_damaged_copy(&log.join("\n")) {
            return Cause::surroundings(format!("{detail}; {}", blame::PULLED_AGAIN));
        }
        Cause::image(detail)
    }

    /// An Engine that is shutting down stops its containers while its event stream still runs; but
    /// it no longer takes new connections. Nothing that was seen of such an end counts.
    async fn check_the_engine_stayed(&self) -> Result<(), Trouble> {
        let gone = |error: EngineError| match error.is_the_engine_away() {
            true => Trouble::Spoilt(ENGINE_LOST.into()),
            false => error.into(),
        };
        self.ports.engine().info().await.map(|_| ()).map_err(gone)
    }

    /// Waits for whatever comes first: an event, the next probe, a look, or the given time.
    async fn wait(
        &self,
        new: &str,
        document: &Value,
        watch: &mut Watch,
        until: Duration,
    ) -> Result<(), Trouble> {
        let is_probed = watch.gate == Gate::Probe;
        let pause = if is_probed { PROBE_INTERVAL } else { LOOK_INTERVAL };
        let deadline = (watch.since + until).min(Instant::now() + pause);
        tokio::select! {
            () = self.stop.cancelled() => Err(Trouble::Asked),
            event = watch.events.next() => {
                match event {
                    Some(event) => watch.hear(&event),
                    None => watch.see(Sight::EngineLost(ENGINE_LOST.into())),
                }
                Ok(())
            }
            () = tokio::time::sleep_until(deadline) => {
                if is_probed {
                    self.probe(new, document, watch).await;
                }
                self.look(new, watch).await
            }
        }
    }

    /// Asks the Engine how the container is: an exit before the first event is seen here.
    async fn look(&self, new: &str, watch: &mut Watch) -> Result<(), Trouble> {
        let Some(document) = self.ports.engine().inspect(new).await? else {
            watch.see(Sight::Removed);
            return Ok(());
        };
        if !inspect::is_running(&document) {
            // The stream tells why, if it still lives; it may lag behind.
            self.hear_the_rest(watch).await;
            let code = inspect::exit_code(&document);
            let out_of_memory = inspect::flag(&document, "/State/OOMKilled");
            watch.see(Sight::Exited { code, out_of_memory });
            return Ok(());
        }
        match (watch.gate, inspect::health(&document)) {
            (Gate::Healthcheck, Some("healthy")) => watch.see(Sight::Well),
            (Gate::Healthcheck, Some("unhealthy")) => {
                watch.see(Sight::Unhealthy(inspect::health_output(&document).to_owned()));
            }
            (Gate::Healthcheck, _) => {
                watch.see(Sight::NotWell(inspect::health_output(&document).to_owned()));
            }
            (Gate::Probe | Gate::Running, _) => {}
        }
        Ok(())
    }

    /// Hears what the stream has ready, for a moment at most.
    async fn hear_the_rest(&self, watch: &mut Watch) {
        const MOMENT: Duration = Duration::from_millis(200);
        while let Ok(event) = tokio::time::timeout(MOMENT, watch.events.next()).await {
            match event {
                Some(event) => watch.hear(&event),
                None => {
                    watch.see(Sight::EngineLost(ENGINE_LOST.into()));
                    return;
                }
            }
        }
    }

    async fn probe(&self, new: &str, document: &Value, watch: &mut Watch) {
        let Some(probe) = &self.plan().health.probe else { return };
        match probing::probe(self.ports, new, document, probe).await {
            Ok(()) => watch.see(Sight::Well),
            Err(detail) => watch.see(Sight::NotWell(detail)),
        }
    }

    /// The cause with what the HEALTHCHECK wrote last, where it wrote something.
    async fn in_full(&self, new: &str, detail: String) -> String {
        const OUTPUT_LENGTH_MAX: usize = 300;
        let document = self.ports.engine().inspect(new).await.ok().flatten().unwrap_or_default();
        let output: String =
            inspect::health_output(&document).chars().take(OUTPUT_LENGTH_MAX).collect();
        let is_told = output.is_empty() || detail.contains(&output);
        if is_told { detail } else { format!("{detail}: {output}") }
    }

    /// An old container that runs again under its parked name was started by the Engine or by a
    /// person: then two of them serve, and the proven one stays.
    pub(super) async fn check_the_old_one_stayed_down(&self) -> Result<(), Trouble> {
        let old = self.look_at_old().await?;
        if old.as_ref().is_some_and(inspect::is_running) {
            let detail = "the old container was started again during the update";
            return Err(Trouble::Cause(Cause::interrupted(detail)));
        }
        Ok(())
    }
}
