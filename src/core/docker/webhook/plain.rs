//! Our own form, which any CI can send with one line of `curl`:
//! `{"v":1,"pushed":["registry/repository:tag", …]}`. An entry with a digest is an object:
//! `{"ref":"registry/repository:tag","digest":"sha256:…"}`.
//! Other keys are ignored.

use serde_json::Value;

use super::{PUSHES_MAX, Push, WebhookContent, WebhookError, WebhookRead, text};

/// The version of the form.
const VERSION: u64 = 1;

pub(super) fn read(document: &Value) -> WebhookRead {
    let pushed = document.get("pushed")?;
    if document.get("v")?.as_u64() != Some(VERSION) {
        return Some(Err(WebhookError::Version));
    }
    let entries = pushed.as_array().filter(|entries| !entries.is_empty());
    let Some(entries) = entries else { return Some(Err(WebhookError::Entry(1))) };
    let pushed = entries.iter().take(PUSHES_MAX).enumerate().map(|(index, entry)| {
        entry_of(entry).filter(|push| push.tag.is_some()).ok_or(WebhookError::Entry(index + 1))
    });
    Some(pushed.collect::<Result<_, _>>().map(WebhookContent::Pushed))
}

fn entry_of(entry: &Value) -> Option<Push> {
    if let Some(reference) = entry.as_str() {
        return Push::named(reference);
    }
    let push = Push::named(text(entry, "/ref")?)?;
    let digest = match entry.get("digest") {
        None | Some(Value::Null) => push.digest,
        Some(digest) => Some(digest.as_str()?.parse().ok()?),
    };
    Some(Push { digest, ..push })
}
