//! Webhooks become messages of the broker: pushes become announcements, builds become results.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::{SinkError, WebhookNews, WebhookSink};
use crate::broker::{Broker, NotTaken, Publication, ReasonCode, Receipt};
use crate::core::docker::reference::Reference;
use crate::core::docker::webhook::{Build, Push};
use crate::core::fleet::message::announcement::Announcement;
use crate::core::fleet::message::build::BuildResult;
use crate::core::fleet::topic::{ReferenceKey, Topic, Topics};

/// How long the broker keeps an announcement for devices that are away: polling finds the image
/// before that.
const ANNOUNCEMENT_EXPIRY_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When a sender may try again while the broker is away.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Publishes what webhooks say. A webhook counts as taken when the broker has acknowledged all of
/// its messages.
pub struct BrokerSink<B> {
    pub broker: B,
    pub topics: Topics,
    /// The name of this bridge in announcements.
    pub name: String,
}

impl<B: Broker> WebhookSink for BrokerSink<B> {
    async fn take(&self, sender: &str, news: WebhookNews) -> Result<(), SinkError> {
        let publications = match news {
            WebhookNews::Pushed(pushes) => self.announcements(sender, &pushes)?,
            WebhookNews::Built(build) => vec![self.result(build)?],
        };
        let count = publications.len();
        // All are on their way before the first one is waited for.
        let receipts: Vec<_> =
            publications.into_iter().map(|publication| self.broker.publish(publication)).collect();
        for receipt in receipts {
            match receipt.await {
                // A newer announcement of the same reference took its place: devices look anyway.
                Ok(()) | Err(NotTaken::Replaced) => {}
                Err(why) => return Err(self.busy(sender, why)),
            }
        }
        tracing::info!(sender, messages = count, "the broker took a webhook");
        Ok(())
    }
}

impl<B: Broker> BrokerSink<B> {
    /// One announcement for each reference, the last digest of each.
    fn announcements(&self, sender: &str, pushes: &[Push]) -> Result<Vec<Publication>, SinkError> {
        let announcements: BTreeMap<ReferenceKey, Announcement> =
            pushes.iter().filter_map(|push| self.announcement(sender, push)).collect();
        if announcements.is_empty() {
            return Err(SinkError::Unwanted(
                "no pushed image has a registry and a tag: the events of a registry do not say its \
                 name, so give this sender one under `references` (docs/webhooks.md)"
                    .to_owned(),
            ));
        }
        let retained = |(key, announcement): (ReferenceKey, Announcement)| {
            Some(self.retained(&Topic::Announce(key), announcement.encode()?))
        };
        Ok(announcements.into_iter().filter_map(retained).collect())
    }

    fn announcement(&self, sender: &str, push: &Push) -> Option<(ReferenceKey, Announcement)> {
        let reference = push.reference()?;
        let key = ReferenceKey::of(&reference)?;
        let by = Some(format!("{} ({sender})", self.name));
        Some((key, Announcement { reference, digest: push.digest.clone(), by }))
    }

    /// The announcement of an image that the mirror copied.
    pub(super) fn announcement_of_copy(
        &self,
        rule: &str,
        copied: Reference,
    ) -> Option<(ReferenceKey, Announcement)> {
        let (digest, reference) = (copied.digest.clone(), Reference { digest: None, ..copied });
        let by = Some(format!("{} (mirror {rule})", self.name));
        Some((ReferenceKey::of(&reference)?, Announcement { reference, digest, by }))
    }

    /// Publishes an announcement; `None` if its reference has no tag.
    pub(super) fn announce(&self, announcement: &Announcement) -> Option<Receipt> {
        let key = ReferenceKey::of(&announcement.reference)?;
        let publication = self.retained(&Topic::Announce(key), announcement.encode()?);
        Some(self.broker.publish(publication))
    }

    /// Why the broker did not take an announcement, and what to do about it.
    pub(super) fn in_words(&self, why: NotTaken) -> String {
        match why {
            NotTaken::Refused(ReasonCode::NOT_AUTHORIZED) => format!(
                "{why}: its ACL must let {} write announce/# of the fleet, and a bridge build/# too",
                self.name
            ),
            why => why.to_string(),
        }
    }

    fn result(&self, build: Build) -> Result<Publication, SinkError> {
        let name = build.name.parse().map_err(|error| {
            SinkError::Unwanted(format!("the build of this sender cannot be a topic: {error}"))
        })?;
        let result = BuildResult { name, ok: build.ok, url: build.url };
        Ok(self.retained(&Topic::Build(result.name.clone()), result.encode()))
    }

    fn retained(&self, topic: &Topic, payload: Vec<u8>) -> Publication {
        let (topic, expiry) = (self.topics.name(topic), Some(ANNOUNCEMENT_EXPIRY_TIME));
        Publication::retained(topic, payload, expiry)
    }

    fn busy(&self, sender: &str, why: NotTaken) -> SinkError {
        let words = self.in_words(why);
        tracing::warn!(sender, "a webhook is not passed on: {words}");
        SinkError::Busy { why: words, retry_after: RETRY_AFTER }
    }
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
