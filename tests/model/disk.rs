//! A disk that loses what was not flushed, tears half-written data, and fills up.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilotfish::journal::Disk;

use crate::fault::{DiskTrouble, Survives};
use crate::machine::Machine;
use crate::seed::Seed;

/// The content that programs see, and the content that surely survives a power cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct File {
    seen: Option<Arc<Vec<u8>>>,
    kept: Option<Arc<Vec<u8>>>,
}

/// The state directory.
#[derive(Debug, Clone, Default)]
pub struct Files {
    files: BTreeMap<PathBuf, File>,
    directories: BTreeSet<PathBuf>,
    /// How many writes there were.
    pub writes: usize,
    /// How many times the directory was lost.
    pub lost: usize,
    /// How the disk fails, and for how many more writes.
    pub error: Option<(DiskTrouble, usize)>,
}

impl Files {
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.files.get(path)?.seen.as_deref().cloned()
    }

    /// The paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().filter(|(_, file)| file.seen.is_some()).map(|(path, _)| path.as_path())
    }

    fn see(&mut self, path: &Path, content: Option<Vec<u8>>) {
        self.files.entry(path.to_owned()).or_default().seen = content.map(Arc::new);
    }

    fn keep(&mut self, path: &Path) {
        if let Some(file) = self.files.get_mut(path) {
            file.kept.clone_from(&file.seen);
        }
    }

    /// Flushes everything.
    pub fn flush_all(&mut self) {
        for file in self.files.values_mut() {
            file.kept.clone_from(&file.seen);
        }
    }

    /// The power is cut.
    pub fn cut(&mut self, keeps: Survives) {
        let mut seed = Seed::new(if let Survives::Some(seed) = keeps { seed } else { 0 });
        for file in self.files.values_mut().filter(|file| file.seen != file.kept) {
            file.seen = match keeps {
                Survives::All => file.seen.clone(),
                Survives::Nothing => file.kept.clone(),
                Survives::Some(_) => file.survivor(&mut seed),
            };
            file.kept.clone_from(&file.seen);
        }
        self.files.retain(|_, file| file.seen.is_some());
        self.error = None;
    }

    pub fn lose(&mut self) {
        (self.files, self.directories) = Default::default();
        self.lost += 1;
    }

    /// Whether the disk refuses a write now.
    fn refuses(&mut self) -> Option<DiskTrouble> {
        self.writes += 1;
        let (error, left) = self.error.as_mut()?;
        let refusal = *error;
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.error = None;
        }
        Some(refusal)
    }
}

impl File {
    /// One possible content after a power cut: the old one, the new one, or a torn one.
    fn survivor(&self, seed: &mut Seed) -> Option<Arc<Vec<u8>>> {
        let Some(seen) = &self.seen else {
            return if seed.one_in(2) { self.kept.clone() } else { None };
        };
        match seed.below(3) {
            0 => self.kept.clone(),
            1 => self.seen.clone(),
            _ => {
                let begin = self.kept.as_ref().map_or(0, |kept| kept.len());
                let is_append = self.kept.as_ref().is_none_or(|kept| seen.starts_with(kept));
                let begin = if is_append { begin } else { return self.kept.clone() };
                let end = begin + seed.below(seen.len() - begin + 1);
                Some(Arc::new(seen[..end].to_vec()))
            }
        }
    }
}

/// The disk of a machine, as the journal sees it.
#[derive(Debug, Clone)]
pub struct FakeDisk(pub Arc<Machine>);

impl FakeDisk {
    /// One write: the points before, during and after it, and what a full disk leaves.
    fn write(
        &self,
        path: &Path,
        call: &'static str,
        part: impl FnOnce(&mut Files),
        begin: impl FnOnce(&mut Files),
        end: impl FnOnce(&mut Files),
        is_durable: bool,
    ) -> io::Result<()> {
        self.0.point(call, false);
        let refusal = self.0.lock().files.refuses();
        match refusal {
            Some(DiskTrouble::Full) => {
                part(&mut self.0.lock().files);
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Some(DiskTrouble::Broken) => return Err(io::Error::other("Input/output error")),
            None => {}
        }
        begin(&mut self.0.lock().files);
        self.0.point("middle of a write", false);
        let mut state = self.0.lock();
        end(&mut state.files);
        if is_durable {
            state.files.keep(path);
            if state.shares_a_disk {
                state.engine.harden();
            }
        }
        drop(state);
        self.0.point(call, true);
        Ok(())
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

impl Disk for FakeDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.0.lock().files.directories.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let inside = state.files.paths().filter(|path| path.parent() == Some(directory));
        let names = inside.filter_map(|path| path.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().files.read(path))
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let half = content[..content.len() / 2].to_vec();
        self.write(
            path,
            "create file",
            |files| files.see(path, Some(half)),
            |files| files.see(path, Some(content.to_vec())),
            |_| {},
            true,
        )
    }

    fn append(&self, path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
        let before = self.0.lock().files.read(path).unwrap_or_default();
        let half = [before.as_slice(), &content[..content.len() / 2]].concat();
        let whole = [before.as_slice(), content].concat();
        self.write(
            path,
            "append",
            |files| files.see(path, Some(half)),
            |files| files.see(path, Some(whole)),
            |_| {},
            durable,
        )
    }

    fn flush(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.files.error.is_some() {
            return Err(io::Error::other("Input/output error"));
        }
        state.files.keep(path);
        if state.shares_a_disk {
            state.engine.harden();
        }
        Ok(())
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let tasks = temporary(path);
        let half = content[..content.len() / 2].to_vec();
        self.write(
            path,
            "replace file",
            |files| files.see(&tasks, Some(half)),
            |files| files.see(&tasks, Some(content.to_vec())),
            |files| {
                files.see(&tasks, None);
                files.keep(&tasks);
                files.see(path, Some(content.to_vec()));
            },
            true,
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.0.lock().files.read(path).is_none() {
            return Ok(());
        }
        self.0.point("remove file", false);
        let refusal = self.0.lock().files.refuses();
        if refusal == Some(DiskTrouble::Broken) {
            return Err(io::Error::other("Input/output error"));
        }
        self.0.lock().files.see(path, None);
        self.0.point("middle of a write", false);
        let mut state = self.0.lock();
        state.files.keep(path);
        if state.shares_a_disk {
            state.engine.harden();
        }
        drop(state);
        self.0.point("remove file", true);
        Ok(())
    }
}

impl Machine {
    pub fn disk_fails(&self, error: DiskTrouble, writes: usize) {
        self.lock().files.error = Some((error, writes));
        self.log(format!("! the disk fails ({error:?})"));
    }
}
