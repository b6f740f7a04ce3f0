//! A directory with everything that the program uses: its configuration, its state, an Engine's
//! socket.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user ID of `nobody` on every Linux.
const NOBODY: &str = "65534";

/// The directory: `pilotfish.toml` is the configuration (it always exists, so that the machine's
/// own is never read), `state` the state directory, `docker.sock` the Engine.
pub struct Fixture {
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Fixture {
    /// A fixture with this configuration.
    pub fn new(configuration: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("pf").tempdir().expect("a directory");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), open).expect("the directory's mode");
        let fixture = Self { directory, variables: Vec::new() };
        fixture.configure(configuration);
        fixture
    }

    /// Replaces the configuration.
    pub fn configure(&self, configuration: &str) {
        fs::write(self.path("pilotfish.toml"), configuration).expect("the configuration");
    }

    /// Adds an environment variable for the program.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The program with these arguments, without the test's own environment.
    pub fn command(&self, words: &str) -> Command {
        self.prepare(Command::new(env!("CARGO_BIN_EXE_pilotfish")), words)
    }

    /// The same as the user `nobody`, which needs root.
    pub fn command_as_nobody(&self, words: &str) -> Command {
        let copy = self.path("pilotfish");
        fs::copy(env!("CARGO_BIN_EXE_pilotfish"), &copy).expect("a copy that nobody can start");
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(copy);
        self.prepare(command, words)
    }

    fn prepare(&self, mut command: Command, words: &str) -> Command {
        command.arg("--config").arg(self.path("pilotfish.toml"));
        command.args(words.split_whitespace()).current_dir(self.directory.path());
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("TZ", "Europe/Berlin");
        command.env("PILOTFISH_STATE_DIR", self.path("state"));
        command.env("DOCKER_HOST", format!("unix://{}", self.path("docker.sock").display()));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Runs the program; returns the command line, the output and the exit code.
    pub fn run(&self, words: &str) -> String {
        self.run_command(words, &mut self.command(words))
    }

    /// The same for a prepared command.
    pub fn run_command(&self, words: &str, command: &mut Command) -> String {
        let output = command.output().expect("the program starts");
        let directory = self.directory.path().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&directory, "DIR");
        let code = output.status.code().expect("an exit code");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        format!("$ pilotfish {words}\n{out}{err}exit code {code}\n")
    }

    /// The same, and fails the test if the command changes a file.
    #[track_caller]
    pub fn run_without_changes(&self, words: &str, command: &mut Command) -> String {
        let before = self.everything();
        let output = self.run_command(words, command);
        assert_eq!(self.everything(), before, "`{words}` left a trace");
        output
    }

    /// Every file with its content, and every directory and socket.
    pub fn everything(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        collect(self.directory.path(), &mut found);
        found
    }
}

fn collect(directory: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for path in fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, found);
        }
        let content = fs::read(&path).ok();
        found.insert(path, content);
    }
}
