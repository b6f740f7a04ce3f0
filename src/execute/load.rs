//! Loads an archive that a client uploads, up to an image with a name that keeps it. No container
//! is touched.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{StepError, UpdateContext, drop_if_unused, images};
use crate::core::archive::{ArchiveError, ArchiveIntake, ArchiveLimits, ArchivedImage, SLICE};
use crate::core::decide::offer::{Compression, Layer, Offer};
use crate::core::decide::reason::Reason;
use crate::core::deployment::push_journal::{OpenLoad, PushJournal};
use crate::core::deployment::refusal::{PushRefusal, RefusalWord};
use crate::core::docker::load_answer::LoadAnswer;
use crate::core::docker::manifest::fits;
use crate::core::docker::reference::{Digest, Platform};
use crate::core::docker::{inspect, names};
use crate::engine::{Engine, EngineError, ImageFacts, Images};
use crate::host::Host;
use crate::journal::JournalError;
use crate::ports::Ports;

/// How many bytes go to the Engine at once. It is most of the memory that a load needs.
const BLOCK_BYTES: usize = 64 * 1024;

/// How many blocks may wait for the Engine.
const BLOCKS_WAITING_MAX: usize = 2;

/// A part of an upload.
#[derive(Debug)]
pub enum UploadPart {
    Bytes(Bytes),
    /// The client has sent everything. If the channel closes without this, the upload broke off.
    End,
}

/// The body of a push, as it arrives.
#[derive(Debug)]
pub struct Upload {
    /// Told when nothing forbids the push any more and the Engine waits for bytes: only now may the
    /// client send. If it is dropped untold, the answer says why.
    pub wanted: oneshot::Sender<()>,
    /// The parts. A bounded channel, so that a slow Engine slows the client down. The agent drops
    /// the receiver when it wants no more.
    pub parts: mpsc::Receiver<UploadPart>,
    /// The size that the client declared, in bytes.
    pub size: Option<u64>,
    /// The SHA-256 that the client declared for the bytes of the upload.
    pub digest: Option<Digest>,
}

/// What a load is for.
pub struct LoadOrder<'a> {
    pub container: &'a str,
    /// The client.
    pub by: &'a str,
    pub platform: &'a Platform,
    /// The most bytes that the archive may unpack to, if the free space is known.
    pub unpacked_max: Option<u64>,
    /// Refuses an image when its digest is known, before the Engine has it.
    pub check: &'a (dyn Fn(&ArchivedImage) -> Result<(), PushRefusal> + Send + Sync),
}

/// Loads an image, flushes it and gives it a name. If this fails, nothing of it stays.
///
/// # Errors
/// Why there is no image.
pub async fn load<P: Ports>(
    context: UpdateContext<'_, P>,
    order: &LoadOrder<'_>,
    upload: Upload,
) -> Result<Offer, PushRefusal> {
    let (state, engine) = (context.ports.state(), context.ports.engine());
    let unnamed = unnamed(engine).await.map_err(engine_error)?;
    let open = OpenLoad::begin(order.container, order.by, context.ports.host().now(), unnamed);
    state.edit_push_journal(|journal| journal.load = Some(open)).map_err(disk_error)?;
    let loaded = load_and_name(context, order, upload).await;
    let ended = match &loaded {
        Ok(_) => state.edit_push_journal(|journal| journal.load = None),
        Err(refusal) => {
            if let Err(error) = remove_left_image(context.ports).await {
                let detail = format!("an image that was not loaded completely stays: {error}");
                context.warn_about(order.container, detail);
            }
            state.edit_push_journal(|journal| match refusal.word {
                // The Engine may still finish it.
                RefusalWord::EngineError => journal.expect_late(),
                _ => journal.load = None,
            })
        }
    };
    ended.map_err(disk_error)?;
    loaded
}

async fn load_and_name<P: Ports>(
    context: UpdateContext<'_, P>,
    order: &LoadOrder<'_>,
    upload: Upload,
) -> Result<Offer, PushRefusal> {
    let engine = context.ports.engine();
    let limits = ArchiveLimits {
        platform: Some(order.platform.clone()),
        digest: upload.digest,
        unpacked_max: order.unpacked_max,
    };
    if upload.wanted.send(()).is_err() {
        return Err(broke_off());
    }
    let (sender, receiver) = mpsc::channel(BLOCKS_WAITING_MAX);
    let archive = stream::unfold(receiver, |mut receiver: mpsc::Receiver<_>| async {
        receiver.recv().await.map(|block| (block, receiver))
    });
    let pump = Pump { context, order, intake: ArchiveIntake::new(limits), sender };
    let load = engine.load(archive.boxed());
    let (answer, pumped) = future::join(load, pump.run(upload.parts)).await;
    // What this program refuses is the cause, and not what the Engine says about the broken stream.
    let archived = pumped?;
    let answer = answer.map_err(engine_error)?;
    let id = answer.image().map_err(|words| refused_by_engine(&answer, &words))?;
    let archived = archived.ok_or_else(|| bad("the Engine ended before the archive did"))?;
    let document = identify(engine, id, &archived, order.platform).await?;
    let unflushed =
        |error: StepError| PushRefusal::new(RefusalWord::EngineError, error.to_string());
    images::flush(context.ports).await.map_err(unflushed)?;
    let (repository, tag) = (names::push_repository(order.container), names::keep_tag(id));
    engine.tag(id, &repository, &tag).await.map_err(engine_error)?;
    Ok(offer(&document, id, archived))
}

/// Moves the upload to the Engine.
struct Pump<'a, P: Ports> {
    context: UpdateContext<'a, P>,
    order: &'a LoadOrder<'a>,
    intake: ArchiveIntake,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl<P: Ports> Pump<'_, P> {
    /// Returns the image, or nothing if the Engine wants no more bytes.
    async fn run(
        mut self,
        mut parts: mpsc::Receiver<UploadPart>,
    ) -> Result<Option<ArchivedImage>, PushRefusal> {
        let pumped = self.pump(&mut parts).await;
        if pumped.is_err() {
            // Without this the Engine would take the end of the stream for the end of the archive.
            let _ = self.sender.send(Err(io::Error::other("the upload is not accepted"))).await;
        }
        pumped
    }

    async fn pump(
        &mut self,
        parts: &mut mpsc::Receiver<UploadPart>,
    ) -> Result<Option<ArchivedImage>, PushRefusal> {
        loop {
            let part = tokio::select! {
                biased;
                () = self.context.stop.cancelled() => return Err(ending()),
                () = self.sender.closed() => return Ok(None),
                part = parts.recv() => part,
            };
            match part {
                None => return Err(broke_off()),
                Some(UploadPart::Bytes(bytes)) => {
                    for slice in bytes.chunks(SLICE) {
                        self.intake.take(slice).map_err(refused_archive)?;
                        self.pass_on(BLOCK_BYTES).await;
                    }
                }
                Some(UploadPart::End) => break,
            }
        }
        self.pass_on(1).await;
        let image = self.intake.finish().map_err(refused_archive)?;
        (self.order.check)(&image)?;
        // As soon as the Engine has the end, it may have the image.
        let is_there = self.context.ports.engine().inspect_image(image.config.as_str()).await;
        let is_there = is_there.map_err(engine_error)?.is_some();
        let note = |load: &mut OpenLoad| {
            // It is not this load's.
            load.unnamed.extend(is_there.then(|| image.config.to_string()));
            load.config = Some(image.config.clone());
            load.diff_ids.clone_from(&image.diff_ids);
        };
        let edit = |journal: &mut _| note_load(journal, note);
        self.context.ports.state().edit_push_journal(edit).map_err(disk_error)?;
        self.pass_on(1).await;
        Ok(Some(image))
    }

    /// Sends what the intake has, if it is at least so much.
    async fn pass_on(&mut self, least: usize) {
        let Some(out) = self.intake.out().filter(|out| out.len() >= least) else { return };
        let block = Bytes::from(std::mem::take(out));
        // If the Engine wants no more, the next turn of the loop sees it.
        let _ = self.sender.send(Ok(block)).await;
    }
}

fn note_load(journal: &mut PushJournal, note: impl FnOnce(&mut OpenLoad)) {
    if let Some(load) = &mut journal.load {
        note(load);
    }
}

/// Checks that the loaded image is the one of the archive.
async fn identify(
    engine: &impl Engine,
    id: &str,
    archived: &ArchivedImage,
    wanted: &Platform,
) -> Result<Value, PushRefusal> {
    let document = engine.inspect_image(id).await.map_err(engine_error)?;
    let document = document.ok_or_else(|| bad(format!("the Engine loaded {id} and has it not")))?;
    let platform = inspect::platform(&document);
    if !fits(wanted, &platform) {
        let detail = format!("the image is for {platform}, this machine needs {wanted}");
        return Err(PushRefusal::new(RefusalWord::Held(Reason::PlatformMissing), detail));
    }
    let is_same = inspect::layers(&document).eq(archived.diff_ids.iter().map(Digest::as_str));
    match is_same {
        true => Ok(document),
        false => Err(bad(format!("the Engine loaded {id}, which has other layers"))),
    }
}

fn offer(document: &Value, id: &str, archived: ArchivedImage) -> Offer {
    let ArchivedImage { config, diff_ids, blobs, .. } = archived;
    // The ID is a digest on every image store.
    let index = id.parse().unwrap_or_else(|_| config.clone());
    let layer = |digest| Layer { digest, size: 0, packing: Compression::Common };
    Offer {
        manifest: Digest::clone(&index),
        index,
        config,
        platform: inspect::platform(document),
        layers: blobs.into_iter().map(layer).collect(),
        diff_ids,
        version: None,
    }
}

/// The images without a name.
async fn unnamed(engine: &impl Engine) -> Result<Vec<String>, EngineError> {
    let mut unnamed = Vec::new();
    let mut take = |image: ImageFacts| {
        if image.tags.is_empty() {
            unnamed.push(image.id);
        }
    };
    engine.images(&mut take).await?;
    Ok(unnamed)
}

/// Removes the image that an open load left without a name.
///
/// # Errors
/// The Engine does not answer, or the entry cannot be read.
async fn remove_left_image<P: Ports>(ports: &P) -> Result<(), LeftImageError> {
    let Some(load) = ports.state().push_journal()?.load else { return Ok(()) };
    remove_images_of(ports.engine(), &[load]).await?;
    Ok(())
}

/// Removes the images that loads left which a crash ended. An Engine that had the whole archive may
/// finish the load after this; then a later look finds the image. Returns whether one may still
/// come.
///
/// # Errors
/// The Engine does not answer, or the entries cannot be read or written.
pub async fn remove_late_images<P: Ports>(ports: &P) -> Result<bool, LeftImageError> {
    ports.state().edit_push_journal(PushJournal::expect_late)?;
    let late = ports.state().push_journal()?.late;
    if late.is_empty() {
        return Ok(false);
    }
    let found = remove_images_of(ports.engine(), &late).await?;
    let is_new = |load: &&OpenLoad| {
        load.looks == 0 && load.config.as_ref().is_some_and(|config| !found.contains(config))
    };
    for load in late.iter().filter(is_new) {
        images::remove_loose_layers(ports.engine(), &load.diff_ids).await?;
    }
    ports.state().edit_push_journal(|journal| journal.note_look(&found))?;
    Ok(!ports.state().push_journal()?.late.is_empty())
}

/// Removes the images without a name that these loads left. Returns the configurations of those
/// that were there.
async fn remove_images_of(
    engine: &impl Engine,
    loads: &[OpenLoad],
) -> Result<BTreeSet<Digest>, EngineError> {
    let mut found = BTreeSet::new();
    let mut ids: BTreeSet<_> = unnamed(engine).await?.into_iter().collect();
    // The list leaves out images without labels and a date of their own; on the classic image store
    // the ID is known.
    ids.extend(loads.iter().filter_map(|load| load.config.as_ref()).map(ToString::to_string));
    for id in ids {
        if loads.iter().all(|load| load.unnamed.contains(&id)) {
            continue;
        }
        let document = match engine.inspect_image(&id).await {
            Ok(None) => continue,
            Ok(document) => document.unwrap_or_default(),
            // A power cut can leave an image that the Engine lists and cannot describe.
            Err(EngineError::Refused { .. }) => Value::Null,
            Err(error) => return Err(error),
        };
        let layers: Vec<_> = inspect::layers(&document).collect();
        let Some(load) = loads.iter().find(|load| load.left(&id, &layers)) else { continue };
        match document {
            // No container was made from it, and it has no name: the load ends before both.
            Value::Null => _ = engine.remove_image(&id).await?,
            _ => drop_if_unused(engine, &id).await?,
        }
        found.extend(load.config.clone());
    }
    Ok(found)
}

/// Why it is not known whether a load left an image behind.
#[derive(Debug, thiserror::Error)]
pub enum LeftImageError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A first container could not be ended.
    #[error("a first container: {0}")]
    First(String),
}

fn bad(detail: impl Into<String>) -> PushRefusal {
    PushRefusal::new(RefusalWord::BadArchive, detail)
}

fn broke_off() -> PushRefusal {
    bad("the upload broke off before its end")
}

fn ending() -> PushRefusal {
    PushRefusal::new(
        RefusalWord::NotReady,
        "the agent ends or reads its configuration again; push again in a minute",
    )
}

fn refused_archive(error: ArchiveError) -> PushRefusal {
    match error {
        ArchiveError::Bad(detail) => bad(detail),
        ArchiveError::Platform(detail) => {
            PushRefusal::new(RefusalWord::Held(Reason::PlatformMissing), detail)
        }
        ArchiveError::NoRoom { .. } => PushRefusal::new(RefusalWord::DiskFull, error.to_string()),
    }
}

fn refused_by_engine(answer: &LoadAnswer, words: &str) -> PushRefusal {
    let word = match () {
        () if words.contains("no space left on device") => RefusalWord::DiskFull,
        () if answer.lacks_a_layer() => RefusalWord::LayersMissing,
        () => RefusalWord::BadArchive,
    };
    PushRefusal::new(word, format!("the Engine did not load it: {words}"))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn engine_error(error: EngineError) -> PushRefusal {
    PushRefusal::new(RefusalWord::EngineError, error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn disk_error(error: JournalError) -> PushRefusal {
    PushRefusal::new(RefusalWord::NotReady, error.to_string())
}
