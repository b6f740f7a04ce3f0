//! The names of entries.

use super::ArchiveError;
use super::header::NAME_MAX;

/// The name of the layers in archives of `docker save` before Engine 25.
const LAYER: &str = "/layer.tar";

/// The name of an entry in its plain form; `None`: the root directory, which needs no entry.
///
/// # Errors
/// The name leads out of the archive, is too long, or has other than plain characters.
pub(super) fn plain(name: &[u8]) -> Result<Option<String>, ArchiveError> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
    let text = std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|it| is_plain(&it)));
    let Some(text) = text else {
        return Err(ArchiveError::bad("the name of an entry has characters that no image needs"));
    };
    let text = text.trim_end_matches('/');
    if name.first() == Some(&b'/') {
        return Err(ArchiveError::bad("the name of an entry is an absolute path"));
    }
    let parts: Vec<_> = text.split('/').filter(|part| !matches!(*part, "." | "")).collect();
    if parts.contains(&"..") {
        return Err(ArchiveError::bad("the name of an entry leads out of the archive"));
    }
    let text = parts.join("/");
    if text.len() > NAME_MAX {
        let detail = format!("the name of an entry is longer than {NAME_MAX} characters");
        return Err(ArchiveError::bad(detail));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Checks a link. `docker save` before Engine 25 writes a layer that an image has twice as a link
/// to the first one; there is no other use.
///
/// # Errors
/// It is another link.
pub(super) fn check_link(name: &str, target: &[u8]) -> Result<(), ArchiveError> {
    let is_layer = |path: &str| path.strip_suffix(LAYER).is_some_and(is_layer_id);
    let target = std::str::from_utf8(target).ok().and_then(|target| target.strip_prefix("../"));
    if is_layer(name) && target.is_some_and(is_layer) {
        return Ok(());
    }
    Err(ArchiveError::bad("it has a link that `docker save` would not write"))
}

fn is_layer_id(text: &str) -> bool {
    const ID_LENGTH: usize = 64;
    text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_plain_or_refused() {
        for (name, expected) in [
            (&b"manifest.json"[..], Some("manifest.json")),
            (b"./manifest.json", Some("manifest.json")),
            (b"././blobs//sha256/./aa", Some("blobs/sha256/aa")),
            (b"blobs/", Some("blobs")),
            (b"./", None),
            (b".", None),
            (b"sha256:aa", Some("sha256:aa")),
        ] {
            assert_eq!(plain(name).expect("a name").as_deref(), expected, "{name:?}");
        }
        let long = [b'a'; NAME_MAX + 1];
        for name in [
            &b"../etc/passwd"[..],
            b"a/../../b",
            b"a/..",
            b"/etc/passwd",
            b"a b",
            b"a\nb",
            b"a\\b",
            b"\xff",
            &long,
        ] {
            assert!(plain(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn only_the_links_of_docker_save_are_accepted() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let layer = |id: &str| format!("{id}/layer.tar");
        let target = format!("../{b}/layer.tar");
        assert!(check_link(&layer(&a), target.as_bytes()).is_ok());
        for (name, target) in [
            (layer(&a), format!("{b}/layer.tar")),
            (layer(&a), format!("../../{b}/layer.tar")),
            (layer(&a), "/etc/passwd".to_owned()),
            (layer(&a), "../manifest.json".to_owned()),
            ("manifest.json".to_owned(), format!("../{b}/layer.tar")),
            (layer("short"), format!("../{b}/layer.tar")),
        ] {
            assert!(check_link(&name, target.as_bytes()).is_err(), "{name} -> {target}");
        }
    }
}
