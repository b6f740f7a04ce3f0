//! Names in the paths and queries of the API.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that are not encoded in a path or a query: the unreserved characters (RFC 3986,
/// 2.3), and the slashes, colons and at-signs of an image name, which the Engine accepts unencoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// Percent-encodes one component of a path or a query.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}
