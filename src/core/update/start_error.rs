//! What is at fault when the Engine cannot start a container.
//!
//! Docker and Podman report it in one sentence, and each program in between adds a prefix: `failed
//! to create shim task: OCI runtime create failed: runc create failed: …`. The tables below were
//! collected by provoking each failure on Docker 20.10 and 28.5 (runc 1.1 and 1.3) and on Podman
//! 4.3 (crun 1.8, runc 1.1); `tests/fixtures/start-errors/` has the messages.
//!
//! Names of files, devices and networks may contain any words. So quoted parts and paths are cut
//! out, and a sentence counts only if it begins as the tables say.

use serde_json::Value;

use crate::core::docker::inspect;

/// What an Engine's message blames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The image cannot run on any machine.
    Image,
    /// Something outside of the image prevents the start.
    Surroundings,
    /// The message is unknown, or does not separate the image from its surroundings, such as a
    /// user's mount over a file of the image.
    Unknown,
}

/// Prefixes that the programs between the Engine and the container add, in lower case.
const PREFIXES: [&str; 9] = [
    "failed to create task for container: ",
    "failed to create shim task: ",
    "failed to set up container networking: ",
    "oci runtime create failed: ",
    "runc create failed: ",
    "container create: ",
    "runc: ",
    "crun: ",
    // The runtime, if Podman was given its path.
    "/: ",
];

/// Prefixes that runc and crun put before a message about the container's process. Only after these
/// words is `exec: "X"` the container's program: Docker writes the same about `docker-init`, a
/// runtime or a hook that this machine lacks.
const OF_THE_PROCESS: [&str; 3] = [
    "unable to start container process: ",
    "starting container process caused: ",
    "error during container init: ",
];

/// Why a program of the image cannot be run, after `exec: "X": ` of runc and `open executable: ` of
/// crun. `operation not permitted` of runc is not among them, because it comes from a seccomp
/// profile.
const CANNOT_BE_RUN: [&str; 7] = [
    "no such file or directory",
    "executable file not found in $path",
    "permission denied",
    "not a directory",
    "is a directory",
    "exec format error",
    "too many levels of symbolic links",
];

/// Beginnings of messages about the machine, the Engine or the container's own options, after the
/// cut: an empty pair of quotes stands for a quotation, `/` for a path.
const SURROUNDINGS: [&str; 52] = [
    // Devices and GPUs.
    "error gathering device information",
    "could not select device driver",
    "cdi device injection failed",
    "stat /: no such file or directory",
    "/ is not a valid device",
    "no devices found in /",
    "invalid device mode",
    // Mounts and volumes.
    "invalid mount config for type",
    "error while creating mount source path",
    "error stat'ing file ``",
    "error while mounting volume",
    "mounting volume",
    "error looking up volume plugin",
    "cannot access path /",
    "path / is mounted on /",
    "make cli opts(): making volume mountpoint",
    "error creating overlay mount",
    // Ports, networks and addresses.
    "driver failed programming external connectivity",
    "cannot listen on the",
    "address already in use",
    "ipam error",
    "no available ipv4 addresses",
    "network ",
    "unable to find network",
    // Other containers.
    "no such container",
    "cannot join ",
    "can't join ",
    "joining network namespace",
    "failed to join ",
    "container ",
    "cannot link to a non running container",
    "bad parameter: link is not supported",
    // Logs.
    "failed to initialize logging driver",
    "error looking up logging plugin",
    "running container create option: invalid log driver",
    "failed to initialize journal",
    // The kernel, its limits and its guards.
    "sysctl ",
    "open /: no such file or directory",
    "open sysctl ",
    "write /: ",
    "write to /: ",
    "failed to write sysctl",
    "fill out specgen: sysctl",
    "error setting rlimit",
    "setrlimit ``",
    "unable to apply cgroup configuration",
    "creating cgroup directory",
    "writing file ``: ",
    "unable to apply caps",
    "requested cpus are not available",
    "minimum memory limit allowed",
    "apparmor profile",
];

/// The same, for words elsewhere in a message.
const SURROUNDINGS_WITHIN: [&str; 6] = [
    // A runtime that is registered with the Engine, but whose program is gone.
    "unable to retrieve oci runtime error",
    "unknown runtime specified",
    "unknown or invalid runtime name",
    "container-init binary not found on the host",
    "error looking up volume plugin",
    "no space left on device",
];

/// What the Engine's message blames.
#[must_use]
pub fn of(message: &str) -> Blame {
    let said = Said::cut(message);
    let (words, is_of_the_process) = said.behind_prefixes();
    if is_image_fault(&said, words, is_of_the_process) {
        return Blame::Image;
    }
    let begins = SURROUNDINGS.iter().any(|words_of| words.starts_with(words_of));
    let within = SURROUNDINGS_WITHIN.iter().any(|words_of| words.contains(words_of));
    if begins || within { Blame::Surroundings } else { Blame::Unknown }
}

/// The same with the container's mounts: a file below a mount is not the image's.
#[must_use]
pub fn of_container(message: &str, container: &Value) -> Blame {
    match of(message) {
        Blame::Image if is_mounted_over(message, container) => Blame::Unknown,
        blame => blame,
    }
}

/// Whether the file in a message may come from a mount: the program, the users, or the directory in
/// which the program is started.
fn is_mounted_over(message: &str, container: &Value) -> bool {
    let file = match Said::cut(message).behind_prefixes().0 {
        words if words.starts_with("unable to find user") => "/etc/passwd",
        words if words.starts_with("unable to find group") => "/etc/group",
        words if words.starts_with("chdir to ") => inspect::text(container, "/Config/WorkingDir"),
        _ => inspect::text(container, "/Path"),
    };
    let mounts = container.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    let mut places = mounts.map(|mount| inspect::text(mount, "/Destination").trim_end_matches('/'));
    places.any(|place| {
        let rest = file.strip_prefix(place);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

fn is_image_fault(said: &Said, words: &str, is_of_the_process: bool) -> bool {
    let cannot_be_run = |why: &str| CANNOT_BE_RUN.iter().any(|known| begins_with_part(why, known));
    if let Some(why) = words.strip_prefix("exec: \"\": ").filter(|_| is_of_the_process) {
        // runc looks for the program before it runs it: `stat /app: no such file or directory`.
        return cannot_be_run(said.behind_stat(why));
    }
    if let Some(why) = words.strip_prefix("open executable: ") {
        return cannot_be_run(why) || begins_with_part(why, "operation not permitted");
    }
    if let Some(why) = words.strip_prefix("chdir to cwd (\"\") set in config.json failed: ") {
        return cannot_be_run(why);
    }
    let ends = |end: &str| words.ends_with(end) || words.contains(&format!("{end}: "));
    words.starts_with("executable file `` not found in $path")
        || words.starts_with("no command specified")
        || words.starts_with("no command or entrypoint provided")
        || words.starts_with("unable to find user ") && ends("no matching entries in passwd file")
        || words.starts_with("unable to find group ") && ends("no matching entries in group file")
}

/// Whether a text begins with these words, and they end there or a colon follows.
fn begins_with_part(text: &str, words: &str) -> bool {
    text.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// A message in lower case, without the names in it.
struct Said {
    /// The rest: only the quotes of a quotation, only the first slash of a path.
    words: String,
    /// The quotations in lower case, in order.
    quoted: Vec<String>,
}

impl Said {
    fn cut(message: &str) -> Self {
        let message = message.trim().to_lowercase();
        let mut said = Self { words: String::new(), quoted: Vec::new() };
        let mut rest = message.as_str();
        while let Some(next) = rest.chars().next() {
            let is_at_a_word = !said.words.ends_with(char::is_alphanumeric);
            rest = match next {
                '"' | '`' => said.take_quoted(rest, next),
                '\'' if is_at_a_word => said.take_quoted(rest, next),
                '/' => said.take_path(rest),
                _ => {
                    said.words.push(next);
                    &rest[next.len_utf8()..]
                }
            };
        }
        said
    }

    /// Takes a quotation, in which Go escapes its own quotes. A quote without an end is no
    /// quotation.
    fn take_quoted<'a>(&mut self, text: &'a str, quote: char) -> &'a str {
        self.words.push(quote);
        let mut content = String::new();
        let mut letters = text.char_indices().skip(1);
        while let Some((place, letter)) = letters.next() {
            match letter {
                '\\' if quote == '"' => content.extend(letters.next().map(|(_, escaped)| escaped)),
                letter if letter == quote => {
                    self.words.push(quote);
                    self.quoted.push(content);
                    return &text[place + quote.len_utf8()..];
                }
                letter => content.push(letter),
            }
        }
        &text[quote.len_utf8()..]
    }

    /// Takes a path, which ends at a space or before the colon that ends its part of the message.
    fn take_path<'a>(&mut self, text: &'a str) -> &'a str {
        self.words.push('/');
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let path = text[..end].trim_end_matches([':', ',', ')', ';', '\'', '"']);
        &text[path.len().max(1)..]
    }

    /// The text after all prefixes, and whether a prefix said that it is about the container's
    /// process.
    fn behind_prefixes(&self) -> (&str, bool) {
        let mut words = self.words.as_str();
        let mut is_of_the_process = false;
        loop {
            let behind = |prefixes: &[&str]| prefixes.iter().find_map(|it| words.strip_prefix(it));
            if let Some(rest) = behind(&PREFIXES) {
                words = rest;
            } else if let Some(rest) = behind(&OF_THE_PROCESS) {
                (words, is_of_the_process) = (rest, true);
            } else if let Some(rest) = behind_line_number(words) {
                words = rest;
            } else {
                return (words, is_of_the_process);
            }
        }
    }

    /// The text after `stat X: `, if X is the program that was quoted just before. Here the program
    /// has no quotes, so it may have been cut apart.
    fn behind_stat<'a>(&self, why: &'a str) -> &'a str {
        let Some(program) = self.quoted.first() else { return why };
        let cut = Self::cut(&format!("stat {program}: ")).words;
        why.strip_prefix(&format!("{} ", cut.trim_end())).unwrap_or(why)
    }
}

/// The text after `container_linux.go:380: ` of older versions of runc.
fn behind_line_number(words: &str) -> Option<&str> {
    let (line, rest) = words.strip_prefix("container_linux.go:")?.split_once(": ")?;
    line.bytes().all(|byte| byte.is_ascii_digit()).then_some(rest)
}

/// The detail for a copy that is removed and pulled again.
pub const PULLED_AGAIN: &str =
    "the image was on this machine before and may be damaged: it is pulled again";

/// What the kernel says when it cannot run a file that has lost its content, or a file whose loader
/// has: the last entry comes from an empty loader.
const KERNEL_REFUSES: [&str; 4] = [
    "exec format error",
    "no such file or directory",
    "accessing a corrupted shared library",
    "input/output error",
];

/// What a loader says about a library that has lost its content.
const LOADER_REFUSES: [&str; 5] = [
    "file too short",
    "invalid elf header",
    "no such file or directory",
    "exec format error",
    "input/output error",
];

/// Whether the last log lines of a container show a damaged copy of its image. A power cut leaves
/// an image that was pulled shortly before with empty files: newer versions of runc start it all
/// the same, and it ends at once. A bad release may say the same; its next copy is a fresh one.
///
/// Only messages in the exact form of the programs that start others count: runc, crun, tini, a
/// loader. A program that misses one of its own files is not damaged.
#[must_use]
pub fn is_damaged_copy(log: &str) -> bool {
    log.to_lowercase().lines().map(str::trim).any(|line| {
        let refuses = |table: &[&str], why: &str| table.iter().any(|words| why.contains(words));
        exec_refusal(line).is_some_and(|why| refuses(&KERNEL_REFUSES, why))
            || loader_refusal(line).is_some_and(|why| refuses(&LOADER_REFUSES, why))
    })
}

/// Why a program could not be run, as the program that starts it says.
fn exec_refusal(line: &str) -> Option<&str> {
    let behind = |text: &'_ str| text.rfind(": ").map(|place| place + 2);
    // tini: `[FATAL tini (7)] exec /app failed: Exec format error`
    let is_tini = line.starts_with("[fatal tini (") && line.contains("] exec /");
    // crun, which writes JSON: "exec container process `/app`: Exec format error"
    let crun = line.strip_prefix("{\"msg\":\"").unwrap_or(line);
    if crun.starts_with("exec container process ") {
        let said = crun.split_once("\",\"").map_or(crun, |(said, _)| said);
        return said.get(behind(said)?..);
    }
    // runc: `exec /app: exec format error`; before 1.1 `standard_init_linux.go:228: exec user
    // process caused: exec format error`
    let is_runc = line.starts_with("exec /") || line.starts_with("standard_init_linux.go:");
    (is_runc || is_tini).then(|| line.get(behind(line)?..)).flatten()
}

/// What a loader says about a library: glibc's `/app: error while loading shared libraries: …`, or
/// musl's `Error loading shared library …`.
fn loader_refusal(line: &str) -> Option<&str> {
    let musl = line.strip_prefix("error loading shared library ");
    musl.or_else(|| {
        let (program, why) = line.split_once(": error while loading shared libraries: ")?;
        (!program.contains(' ')).then_some(why)
    })
}

#[cfg(test)]
#[path = "start_error_tests.rs"]
mod tests;
