//! Shows updates on the terminal.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::core::update::event::{Event, EventSink, NumberedEvent};
use crate::output::screen::Screen;
use crate::output::transcript::Transcript;

/// Most events that wait to be written. An update has some thirty; more only accumulate if a person
/// has stopped the terminal, and then the rest is in the history.
const WAITING_MAX: usize = 1000;

/// Shows updates as they happen.
///
/// A terminal can be stopped with Ctrl-S, and a pipe can be full; both would block the update in
/// the middle of a switch. So a separate thread writes, and the update never waits for it.
#[derive(Debug)]
pub struct TerminalListener {
    begun: Instant,
    waiting: Arc<AtomicUsize>,
    writer: Mutex<Option<TerminalWriter>>,
}

#[derive(Debug)]
struct TerminalWriter {
    sender: Sender<(Duration, Event)>,
    thread: JoinHandle<()>,
}

impl TerminalListener {
    /// Writes to `output`: on a terminal with steps and progress that rewrite their line, elsewhere
    /// in plain stable lines.
    ///
    /// # Errors
    /// The system cannot create a thread.
    pub fn new(
        output: impl Write + Send + 'static,
        screen: Screen,
        is_terminal: bool,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let transcript = Transcript::new(screen, is_terminal);
        let seen = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || write_all(output, transcript, &receiver, &seen))?;
        let writer = Mutex::new(Some(TerminalWriter { sender, thread }));
        Ok(Self { begun: Instant::now(), waiting, writer })
    }

    /// Waits until all received events are written. Later events are lost.
    pub fn finish(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(TerminalWriter { sender, thread }) = writer {
            drop(sender);
            // The thread has already reported its panic; there is nothing to add.
            let _ = thread.join();
        }
    }

    /// The progress of a pull is only useful while it is new, so it never waits.
    fn may_wait(event: &Event, waiting: usize) -> bool {
        waiting < if matches!(event, Event::Pulling { .. }) { 1 } else { WAITING_MAX }
    }
}

impl EventSink for TerminalListener {
    fn receive(&self, NumberedEvent { event, .. }: &NumberedEvent) {
        if !Self::may_wait(event, self.waiting.load(Ordering::Relaxed)) {
            return;
        }
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(TerminalWriter { sender, .. }) = writer.as_ref() {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // The receiver is gone if the output is closed.
            let _ = sender.send((self.begun.elapsed(), event.clone()));
        }
    }
}

impl Drop for TerminalListener {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Writes until all senders are gone, or the output is closed.
fn write_all(
    mut output: impl Write,
    mut transcript: Transcript,
    events: &Receiver<(Duration, Event)>,
    waiting: &AtomicUsize,
) {
    for (now, event) in events {
        let text = transcript.tell(&event, now);
        waiting.fetch_sub(1, Ordering::Relaxed);
        if output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
    // An error here changes nothing.
    let _ = output.write_all(transcript.finish().as_bytes()).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::SyncSender;

    use chrono::DateTime;

    use super::*;
    use crate::core::update::Step;
    use crate::core::update::event::Trigger;

    /// Accepts one text at a time, and only when the test takes it.
    struct Stuck(SyncSender<String>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn done(step: Step) -> NumberedEvent {
        let event =
            Event::StepDone { container: "till".into(), step, took: Duration::from_secs(1) };
        let (at, trigger) = (DateTime::UNIX_EPOCH, Trigger::Schedule);
        NumberedEvent { number: 1, at, trigger, event }
    }

    #[test]
    fn a_stopped_terminal_does_not_block_an_update() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(0);
        let listener = TerminalListener::new(Stuck(sender), Screen::NONE, false).expect("a thread");
        for _ in 0..2 * WAITING_MAX {
            listener.receive(&done(Step::Pull));
        }
        let reader = std::thread::spawn(move || receiver.iter().count());
        listener.finish();
        let written = reader.join().expect("the reader ends");
        assert!((WAITING_MAX..=WAITING_MAX + 2).contains(&written), "{written}");
    }

    #[test]
    fn a_reader_that_leaves_ends_the_writing_and_nothing_else() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(0);
        let listener = TerminalListener::new(Stuck(sender), Screen::NONE, false).expect("a thread");
        drop(receiver);
        for step in Step::ALL {
            listener.receive(&done(step));
        }
        listener.finish();
        listener.receive(&done(Step::Clean));
    }
}
