//! What the failures of a target mean.

use reqwest::StatusCode;

use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::registry::protocol::error::{Failure, error_code};
use crate::registry::protocol::request::HttpResponse;
use crate::registry::protocol::session::Session;

/// Texts of a full disk in the errors of distribution: the message, and `ENOSPC` as a number.
const FULL_DISK: [&str; 2] = ["no space left on device", "\"Err\":28"];

/// A failed request, for a copy.
pub(super) fn failed(failure: Failure) -> CopyError {
    CopyError::Failed(failure.error)
}

/// The answer of a source that did not give what was asked for.
pub(super) fn of_source(session: &Session, what: &str, answer: HttpResponse) -> CopyError {
    failed(session.refusal(what, answer))
}

/// The answer of a target that did not take what was sent.
pub(super) fn of_target(session: &Session, what: &str, answer: HttpResponse) -> CopyError {
    let why = judge(answer.status, &answer.body);
    let error = session.refusal(what, answer).error;
    match why {
        Some(why) => CopyError::Refused { why, detail: error.detail },
        None => CopyError::Failed(error),
    }
}

fn judge(status: StatusCode, body: &[u8]) -> Option<MirrorRefusal> {
    let is_full_disk = || {
        let body = String::from_utf8_lossy(body);
        status.is_server_error() && FULL_DISK.iter().any(|text| body.contains(text))
    };
    match (status.as_u16(), error_code(body)) {
        (507 | 413, _) => Some(MirrorRefusal::TargetFull),
        (405, _) | (_, Some("UNSUPPORTED")) => Some(MirrorRefusal::TargetReadonly),
        // It had all of them a moment before.
        (_, Some("MANIFEST_BLOB_UNKNOWN")) => Some(MirrorRefusal::TargetLies),
        // The sum was made here, and it was right.
        (_, Some("DIGEST_INVALID")) => Some(MirrorRefusal::TargetLies),
        _ if is_full_disk() => Some(MirrorRefusal::TargetFull),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_target_have_words() {
        let enospc = r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem","Enclosed":{"Op":"write","Path":"/x","Err":28}}}]}"#;
        let unsupported = r#"{"errors":[{"code":"UNSUPPORTED"}]}"#;
        let unknown = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#;
        let digest = r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#;
        let table = [
            (405, "", Some(MirrorRefusal::TargetReadonly)),
            (400, unsupported, Some(MirrorRefusal::TargetReadonly)),
            (413, "", Some(MirrorRefusal::TargetFull)),
            (507, "", Some(MirrorRefusal::TargetFull)),
            (500, enospc, Some(MirrorRefusal::TargetFull)),
            (400, enospc, None),
            (400, unknown, Some(MirrorRefusal::TargetLies)),
            (400, digest, Some(MirrorRefusal::TargetLies)),
            (500, "", None),
            (401, "", None),
        ];
        for (status, body, expected) in table {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(judge(status, body.as_bytes()), expected, "{status} {body}");
        }
    }
}
