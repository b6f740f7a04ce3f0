//! What an Engine says while it loads an image archive.
//!
//! Its status says nothing: `POST /images/load` answers 200 to garbage too (measured on Engines
//! 20.10 and 28.5). The lines count. With the containerd image store the image can be named before
//! the line that says that its layers could not be unpacked.

use serde::Deserialize;

/// The beginning of the line about an image without a name.
const WITH_ID: &str = "Loaded image ID: ";

/// The beginning of the line about an image with a name.
const WITH_NAME: &str = "Loaded image: ";

/// The beginning of a failure that containerd's image store sends as an ordinary line.
const UNPACKING: &str = "Error unpacking image";

/// How much of the Engine's words is kept, in characters.
const WORDS_MAX: usize = 500;

/// Most images that are kept: an accepted archive holds one.
const IMAGES_MAX: usize = 10;

/// The answer so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadAnswer {
    /// The IDs, or names, of the loaded images.
    loaded: Vec<String>,
    /// The first error, in the Engine's words.
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stream: Option<String>,
    error: Option<String>,
    error_detail: Option<ErrorDetail>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    message: String,
}

impl LoadAnswer {
    /// Takes a line. One that is not JSON counts as an error in the Engine's words.
    pub fn take(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        let Ok(Line { stream, error, error_detail }) = serde_json::from_slice(line) else {
            return self.fail(&String::from_utf8_lossy(line));
        };
        if let Some(message) = error_detail.map(|detail| detail.message).or(error) {
            self.fail(&message);
        }
        let stream = stream.unwrap_or_default();
        for text in stream.lines() {
            let image = text.strip_prefix(WITH_ID).or_else(|| text.strip_prefix(WITH_NAME));
            match image {
                Some(image) if self.loaded.len() < IMAGES_MAX => {
                    self.loaded.push(image.trim().to_owned());
                }
                None if text.starts_with(UNPACKING) => self.fail(text),
                _ => {}
            }
        }
    }

    fn fail(&mut self, words: &str) {
        let words = || words.trim().chars().take(WORDS_MAX).collect();
        self.error.get_or_insert_with(words);
    }

    /// The ID of the one image that was loaded.
    ///
    /// # Errors
    /// The Engine's words, or what is missing in them.
    pub fn image(&self) -> Result<&str, String> {
        match (&self.error, self.loaded.as_slice()) {
            (Some(error), _) => Err(error.clone()),
            (None, [image]) => Ok(image),
            (None, []) => Err("the Engine ended without naming an image".to_owned()),
            (None, several) => Err(format!("the Engine names {} images", several.len())),
        }
    }

    /// Whether the error is about a layer that was left out of the archive, and that the Engine
    /// does not have.
    #[must_use]
    pub fn lacks_a_layer(&self) -> bool {
        let is_missing = |error: &String| {
            error.contains("no such file or directory")
                || error.contains("not found")
                || error.contains("mount callback failed")
        };
        self.error.as_ref().is_some_and(is_missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(lines: &str) -> LoadAnswer {
        let mut answer = LoadAnswer::default();
        lines.lines().for_each(|line| answer.take(line.as_bytes()));
        answer
    }

    /// Lines of Engines 20.10 and 28.5.
    #[test]
    fn only_one_image_without_an_error_is_loaded() {
        let id = format!("sha256:{}", "a".repeat(64));
        let loaded = format!(r#"{{"stream":"Loaded image ID: {id}\n"}}"#);
        let progress = r#"{"status":"Loading layer","progressDetail":{"current":1,"total":2}}"#;
        assert_eq!(answer(&format!("{progress}\r\n{loaded}\r\n")).image(), Ok(&*id));
        for (lines, expected) in [
            (String::new(), "without naming an image"),
            (progress.to_owned(), "without naming an image"),
            (
                r#"{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}"#.into(),
                "unexpected EOF",
            ),
            (
                format!("{loaded}\n{{\"stream\":\"Error unpacking image x: wrong diff id\\n\"}}"),
                "Error unpacking",
            ),
            (format!("{loaded}\n{loaded}"), "2 images"),
            ("Error response".into(), "Error response"),
        ] {
            let why = answer(&lines).image().expect_err("an error").to_owned();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn the_words_of_the_engine_are_bounded() {
        let error = answer(&format!(r#"{{"error":"{}"}}"#, "x".repeat(9000)));
        assert_eq!(error.image().expect_err("an error").len(), WORDS_MAX);
    }
}
