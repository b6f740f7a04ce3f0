//! The files on the disk, as text to be searched.

use std::fs;
use std::path::Path;

/// The content of every file below a directory, each after its path.
pub fn files(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text.push_str(&files(&path));
        } else if path.is_file() {
            let content = fs::read(&path).expect("a file");
            text.push_str(&format!("{}\n{}\n", path.display(), String::from_utf8_lossy(&content)));
        }
    }
    text
}
