//! Whole pages, compared with files.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Asserts that a page equals `tests/golden/NAME.txt`.
pub fn compare(name: &str, page: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    if std::env::var_os("PILOTFISH_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, page).expect("the page can be written");
    }
    let expected = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        page == expected,
        "{} differs.\n--- the file\n{expected}\n--- the page\n{page}\n---",
        path.display()
    );
}

/// The same, and the page must fit a screen with so many columns.
pub fn compare_within(name: &str, page: &str, columns: usize) {
    for line in page.lines() {
        assert!(line.chars().count() <= columns, "{name}: wider than {columns}: {line}");
    }
    compare(name, page);
}

/// A page that a test reads while others write it.
#[derive(Clone, Default)]
pub struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    pub fn text(&self) -> String {
        let bytes = self.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
