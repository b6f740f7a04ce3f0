//! Reads labels of any size within a limit.
//!
//! A container may have megabytes of labels, and the Engine sends them in every list even if the
//! container is not opted in. So the labels of each container are reduced while they arrive: labels
//! for Pilotfish, Watchtower and Compose stay, other labels stay as long as there is room. If some
//! are left out, an unknown label is added in their place. It holds the container as `bad_label`,
//! so that the container is never recreated from an incomplete document.

/// Bytes of one container's labels that are kept in any case. Traefik's are a few kilobytes.
const LABELS_BYTES_MAX: usize = 256 * 1024;

/// Bytes of one label, name and value. A longer label is always left out.
const LABEL_BYTES_MAX: usize = 64 * 1024;

/// Labels that this program needs.
const MEANT: [&[u8]; 3] =
    [b"\"pilotfish.", b"\"com.centurylinklabs.watchtower.", b"\"com.docker.compose."];

/// The label in place of labels that were left out. It is unknown, so it holds its container.
pub const LEFT_OUT: &str = "pilotfish.labels-are-too-large";

/// The fields that contain labels: in a row of a list, and in `Config` of a document.
const LABELS_DEPTH: usize = 3;

/// A JSON text while it is read. Everything except labels passes unchanged.
#[derive(Debug, Default)]
pub struct LabelReader {
    out: Vec<u8>,
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    /// The last short text outside of labels, to know which field an object belongs to.
    last_text: Vec<u8>,
    labels: Option<LabelBuffer>,
}

/// The labels of one container while they are read.
#[derive(Debug, Default)]
struct LabelBuffer {
    kept: usize,
    member: Vec<u8>,
    is_too_long: bool,
    has_first: bool,
    left_out: bool,
}

impl LabelReader {
    /// Takes the next bytes of the answer.
    pub fn take(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(byte) = rest.first() {
            if self.in_text && !self.is_escaped {
                let (run, behind) = rest.split_at(plain_run(rest));
                self.take_run(run);
                rest = behind;
                if !run.is_empty() {
                    continue;
                }
            }
            self.step(*byte);
            rest = &rest[1..];
        }
    }

    /// Takes a part of a text that does not contain its end.
    fn take_run(&mut self, run: &[u8]) {
        if let Some(labels) = &mut self.labels {
            return labels.push_run(run);
        }
        self.out.extend_from_slice(run);
        let room = ("Labels".len() + 1).saturating_sub(self.last_text.len());
        self.last_text.extend_from_slice(&run[..run.len().min(room)]);
    }

    /// The kept bytes so far.
    pub fn so_far(&self) -> &[u8] {
        &self.out
    }

    /// Removes the kept bytes that the caller has used.
    pub fn forget(&mut self) {
        self.out.clear();
    }

    /// All kept bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn step(&mut self, byte: u8) {
        let was_in_text = self.in_text;
        self.follow_text(byte);
        let is_structure = !was_in_text && !self.in_text;
        if let Some(labels) = &mut self.labels {
            match byte {
                b',' if is_structure && self.depth == LABELS_DEPTH => {
                    labels.end_member(&mut self.out)
                }
                b'}' if is_structure && self.depth == LABELS_DEPTH => {
                    labels.end(&mut self.out);
                    self.labels = None;
                    self.depth -= 1;
                    self.out.push(byte);
                }
                byte => labels.push(byte),
            }
            return;
        }
        self.out.push(byte);
        if is_structure {
            self.follow_depth(byte);
        } else if !was_in_text {
            self.last_text.clear();
        } else if self.in_text && self.last_text.len() <= "Labels".len() {
            self.last_text.push(byte);
        }
    }

    fn follow_text(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_text => self.is_escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ => {}
        }
    }

    fn follow_depth(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => return,
        }
        if byte == b'{' && self.depth == LABELS_DEPTH && self.last_text == b"Labels" {
            self.labels = Some(LabelBuffer::default());
        }
    }
}

/// How many bytes come before the next quote or backslash. Most of a document is such runs, and
/// reading them byte by byte would take most of the time.
pub fn plain_run(text: &[u8]) -> usize {
    text.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(text.len())
}

impl LabelBuffer {
    fn push_run(&mut self, run: &[u8]) {
        let room = LABEL_BYTES_MAX.saturating_sub(self.member.len());
        self.is_too_long |= run.len() > room;
        self.member.extend_from_slice(&run[..run.len().min(room)]);
    }

    fn push(&mut self, byte: u8) {
        // Blanks between members belong to no member.
        if self.member.is_empty() && byte.is_ascii_whitespace() {
            return;
        }
        if self.member.len() < LABEL_BYTES_MAX {
            self.member.push(byte);
        } else {
            self.is_too_long = true;
        }
    }

    fn end_member(&mut self, out: &mut Vec<u8>) {
        let is_meant = MEANT.iter().any(|prefix| self.member.starts_with(prefix));
        let fits = self.kept + self.member.len() <= LABELS_BYTES_MAX;
        if self.is_too_long || !(is_meant || fits) || self.kept > 2 * LABELS_BYTES_MAX {
            self.left_out = true;
        } else if !self.member.is_empty() {
            let member = std::mem::take(&mut self.member);
            self.write(&member, out);
        }
        self.member.clear();
        self.is_too_long = false;
    }

    fn write(&mut self, member: &[u8], out: &mut Vec<u8>) {
        if self.has_first {
            out.push(b',');
        }
        self.has_first = true;
        self.kept += member.len();
        out.extend_from_slice(member);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.end_member(out);
        if self.left_out {
            let member = format!("\"{LEFT_OUT}\":\"\"");
            self.write(member.as_bytes(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn skimmed(text: &str, piece: usize) -> Value {
        let mut skimmer = LabelReader::default();
        text.as_bytes().chunks(piece).for_each(|chunk| skimmer.take(chunk));
        serde_json::from_slice(&skimmer.into_bytes()).expect("JSON")
    }

    #[test]
    fn what_is_within_the_limits_passes_as_it_is() {
        let list = json!([
            { "Id": "1", "Names": ["/a{b\"[,\\"], "Labels": { "a": "x,}\"\\", "b": "" }, "State": "x" },
            { "Id": "2", "Labels": {}, "Command": "echo \"Labels\": {", "Mounts": [{"a": [1]}] },
            { "Id": "3", "Labels": null, "HostConfig": { "Labels": { "c": { "d": "e" } } } },
            "Labels", { "Labels": { "pilotfish.enable": "true" } },
        ]);
        let document =
            json!({ "Config": { "Labels": { "ü": "ß" }, "Env": ["A={"] }, "Name": "/x" });
        for value in [list, document, json!(null), json!({}), json!({ "Labels": { "a": "b" } })] {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("text")] {
                for piece in [1, 7, 1000] {
                    assert_eq!(skimmed(&text, piece), value);
                }
            }
        }
    }

    #[test]
    fn labels_without_a_limit_leave_what_means_something() {
        let mut labels = serde_json::Map::new();
        for number in 0..300_000 {
            labels.insert(format!("x.{number:06}"), "y".repeat(100).into());
        }
        labels.insert("pilotfish.enable".into(), "true".into());
        labels.insert("zz".into(), "z".into());
        let text = json!([{ "Id": "1", "Labels": labels, "State": "running" }, { "Id": "2" }]);
        let mut skimmer = LabelReader::default();
        skimmer.take(text.to_string().as_bytes());
        assert!(skimmer.so_far().len() < 2 * LABELS_BYTES_MAX, "{}", skimmer.so_far().len());
        let list: Value = serde_json::from_slice(&skimmer.into_bytes()).expect("JSON");
        assert_eq!(list[0]["Labels"]["pilotfish.enable"], "true");
        assert_eq!(list[0]["Labels"][LEFT_OUT], "");
        assert_eq!((&list[0]["State"], &list[1]["Id"]), (&json!("running"), &json!("2")));
    }

    #[test]
    fn one_label_without_a_limit_is_left_out_whatever_it_is() {
        for name in ["a", "pilotfish.health.probe", "\"\\"] {
            let long = "\\\"ü,}".repeat(10_000_000 / 6);
            let text =
                json!([{ "Labels": { "before": "1", name: long, "behind": "2" }, "Id": "1" }]);
            let expected =
                json!([{ "Labels": { "before": "1", "behind": "2", LEFT_OUT: "" }, "Id": "1" }]);
            assert_eq!(skimmed(&text.to_string(), 4096), expected);
        }
        let long_name = json!([{ "Labels": { "n".repeat(100_000): "1" }, "Id": "1" }]).to_string();
        assert_eq!(skimmed(&long_name, 4096), json!([{ "Labels": { LEFT_OUT: "" }, "Id": "1" }]));
    }

    proptest::proptest! {
        #[test]
        fn strange_texts_harm_nobody(text in "[\\[\\]{}\",\\\\:Labels0x ]{0,200}") {
            let mut skimmer = LabelReader::default();
            skimmer.take(text.as_bytes());
            proptest::prop_assert!(skimmer.into_bytes().len() <= text.len() + 100 * text.len());
        }
    }
}
