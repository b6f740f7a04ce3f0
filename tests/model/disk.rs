//! A disk that forgets what was not flushed, tears what was half written, and fills up.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilotfish::journal::Disk;

use crate::fault::{DiskTrouble, Keeps};
use crate::machine::Machine;
use crate::seed::Seed;

/// What programs see of a file, and what a power cut leaves of it for sure.
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
    /// How many times something was written.
    pub writes: usize,
    /// How many times all of it was lost.
    pub lost: usize,
    /// How the disk fails, and for how many writes more.
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

    /// Everything is flushed.
    pub fn keep_all(&mut self) {
        for file in self.files.values_mut() {
            file.kept.clone_from(&file.seen);
        }
    }

    /// The power goes.
    pub fn cut(&mut self, keeps: Keeps) {
        let mut seed = Seed::new(if let Keeps::Some(seed) = keeps { seed } else { 0 });
        for file in self.files.values_mut().filter(|file| file.seen != file.kept) {
            file.seen = match keeps {
                Keeps::All => file.seen.clone(),
                Keeps::Nothing => file.kept.clone(),
                Keeps::Some(_) => file.survivor(&mut seed),
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
    /// One of the things a power cut may leave: as it was, as it is, or torn in between.
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
    /// One write: the points before, in the middle and after it, and what a full disk leaves.
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
        let mut affairs = self.0.lock();
        end(&mut affairs.files);
        if is_durable {
            affairs.files.keep(path);
            if affairs.shares_a_disk {
                affairs.engine.harden();
            }
        }
        drop(affairs);
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
        let affairs = self.0.lock();
        let inside = affairs.files.paths().filter(|path| path.parent() == Some(directory));
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
        let mut affairs = self.0.lock();
        if affairs.files.error.is_some() {
            return Err(io::Error::other("Input/output error"));
        }
        affairs.files.keep(path);
        if affairs.shares_a_disk {
            affairs.engine.harden();
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
        let mut affairs = self.0.lock();
        affairs.files.keep(path);
        if affairs.shares_a_disk {
            affairs.engine.harden();
        }
        drop(affairs);
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
