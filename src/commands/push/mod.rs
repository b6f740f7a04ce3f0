//! `pilotfish push NAME ARCHIVE --to URL`: an image for a device without a registry.

mod archive;
mod connection;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reqwest::Response;

use super::{CommandContext, Exit, print, print_raw};
use crate::cli::PushArguments;
use crate::core::archive::thin::{DeviceLayers, ThinArchive};
use crate::core::update::history::Outcome;
use crate::documents::{AnswerLine, LayersDocument, PushDocument, UpdateRow};
use crate::output::{self, LivePage, TerminalListener, bytes, one_line};
use archive::{ArchiveSource, Sending};
use connection::{Device, DeviceError, follow};

/// Time between two drawings of the progress.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);

/// The word of a device that lacks a layer which was not sent.
const LAYERS_MISSING: &str = "layers_missing";

/// Sends the archive, and shows what becomes of it.
pub async fn push(setting: &CommandContext, arguments: PushArguments) -> anyhow::Result<Exit> {
    let PushArguments { name, archive, to, certificates, force, whole } = arguments;
    let device = Device::new(&to, &name, &certificates)?;
    let source = ArchiveSource::open(&archive)?;
    let known =
        if whole { DeviceLayers::default() } else { device_layers(&device.layers().await?) };
    let (source, thin) = source.without(&known)?;
    let push = PushUnderWay { setting, device, source, force };
    let response = match thin {
        None => push.send_whole().await?,
        Some(thin) => match push.send_thin(&thin).await {
            Err(DeviceError::Refused(refusal)) if refusal.error == LAYERS_MISSING => {
                print("The device lacks a layer after all: everything is sent.\n")?;
                push.send_whole().await?
            }
            sent => sent?,
        },
    };
    let answer = push.show(response).await?;
    let document = serde_json::from_value(answer)
        .context("the device is newer than this program: its last line is not understood")?;
    end(setting, &name, document)
}

fn device_layers(document: &LayersDocument) -> DeviceLayers {
    let layers = document.layers.iter().map(ToString::to_string).collect();
    DeviceLayers { layers, is_containerd: document.containerd }
}

/// One push.
struct PushUnderWay<'a> {
    setting: &'a CommandContext,
    device: Device,
    source: ArchiveSource,
    force: bool,
}

impl PushUnderWay<'_> {
    async fn send_thin(&self, thin: &ThinArchive) -> Result<Response, DeviceError> {
        let words = format!(
            "{} of {} layers are on the device and are not sent.",
            thin.left_out, thin.layers
        );
        let _ = print(&format!("{words}\n"));
        self.send(Some(thin)).await
    }

    async fn send_whole(&self) -> Result<Response, DeviceError> {
        self.send(None).await
    }

    async fn send(&self, thin: Option<&ThinArchive>) -> Result<Response, DeviceError> {
        let sending = self.source.send(thin.map(|thin| thin.parts.clone()));
        let sending = sending.map_err(|error| DeviceError::Unreachable {
            url: "the archive".to_owned(),
            why: format!("{error:#}"),
        })?;
        let Sending { body, size, sent, end } = sending;
        let progress = SendingProgress { is_terminal: self.setting.is_terminal, size, sent, end };
        tokio::select! {
            answer = self.device.load(body, size, self.force) => answer,
            never = progress.show() => match never {},
        }
    }

    /// Shows the events, and returns the last line.
    async fn show(&self, response: Response) -> anyhow::Result<serde_json::Value> {
        let CommandContext { screen, is_terminal, .. } = self.setting;
        let shown = TerminalListener::new(std::io::stdout(), *screen, *is_terminal);
        let terminal = Arc::new(shown.context("cannot show progress")?);
        let show = |line| {
            if let AnswerLine::Event(event) = line {
                terminal.show(event.event);
            }
        };
        let answer = follow(response, show).await;
        terminal.finish();
        Ok(answer?)
    }
}

/// How much has been sent.
struct SendingProgress {
    is_terminal: bool,
    size: Option<u64>,
    sent: Arc<AtomicU64>,
    end: Arc<OnceLock<Instant>>,
}

impl SendingProgress {
    /// Draws it on a terminal, and says when everything was sent.
    async fn show(self) -> Infallible {
        let (mut page, began) = (LivePage::default(), Instant::now());
        let took = loop {
            if let Some(end) = self.end.get() {
                break end.saturating_duration_since(began).as_secs_f64();
            }
            if self.is_terminal {
                let _ = print_raw(&page.draw(&self.line()));
            }
            tokio::time::sleep(REFRESH_INTERVAL).await;
        };
        if self.is_terminal {
            let _ = print_raw(&page.draw(""));
        }
        let sent = bytes(self.sent.load(Ordering::Relaxed));
        let _ = print(&format!("{sent} sent in {}.\n", output::seconds(took)));
        std::future::pending().await
    }

    fn line(&self) -> String {
        let sent = self.sent.load(Ordering::Relaxed);
        let of = self.size.map_or_else(String::new, |size| {
            let percent = sent.saturating_mul(100) / size.max(1);
            format!(" of {}, {percent} %", bytes(size))
        });
        format!("sending: {}{of}\n", bytes(sent))
    }
}

/// Says how it ended.
fn end(setting: &CommandContext, name: &str, end: PushDocument) -> anyhow::Result<Exit> {
    let name = one_line(name);
    match end {
        PushDocument::Ended(update) => {
            let exit = exit_of(&update);
            print(&output::update_summary(&[*update], &[], setting.screen))?;
            return Ok(exit);
        }
        PushDocument::AlreadyRuns { .. } => print(&format!("{name} runs this image already.\n"))?,
        PushDocument::SelfUpdating => {
            print(&format!("{name} is the agent itself: its helper updates it now.\n"))?;
        }
        PushDocument::Done | PushDocument::Allowed { .. } => {}
    }
    Ok(Exit::Done)
}

fn exit_of(update: &UpdateRow) -> Exit {
    match update.outcome {
        Outcome::Updated => Exit::Done,
        Outcome::RolledBack => Exit::RolledBack,
        Outcome::Failed | Outcome::Interrupted | Outcome::Stuck => Exit::Failed,
    }
}
