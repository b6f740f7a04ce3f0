//! Credential helpers, the programs that keep logins: `docker-credential-NAME get`
//! (docker-credential-helpers).

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::core::docker::credentials::Credentials;

/// Largest output of a credential helper in bytes. Tokens of cloud registries have a few kilobytes.
const OUTPUT_MAX: u64 = 64 * 1024;

/// The user name that marks the secret as an identity token.
const TOKEN_USER: &str = "<token>";

/// The output of every credential helper that has no login (`credentials.ErrCredentialsNotFound`).
const NOT_FOUND: &[u8] = b"credentials not found";

/// Why a credential helper gave no login. Its output is never shown, because it may be the secret.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(in crate::registry) enum HelperError {
    #[error("`{0}` is not the name of a credential helper")]
    Name(String),
    #[error("the credential helper `docker-credential-{0}` is not on the PATH")]
    Missing(String),
    #[error("the credential helper `docker-credential-{0}` cannot be run: {1}")]
    Run(String, ErrorKind),
    #[error("the credential helper `docker-credential-{0}` did not answer within {1} s")]
    Timeout(String, f32),
    #[error("the credential helper `docker-credential-{0}` failed")]
    Failed(String),
    #[error("the credential helper `docker-credential-{0}` did not print a login")]
    Output(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperOutput {
    username: String,
    secret: String,
}

/// Asks a credential helper for the login at `server`; `None` if it has none.
pub(in crate::registry) async fn ask(
    name: &str,
    server: &str,
    limit: Duration,
) -> Result<Option<Credentials>, HelperError> {
    if name.is_empty() || name.contains(['/', '\0']) {
        return Err(HelperError::Name(name.to_owned()));
    }
    ask_program(Command::new(format!("docker-credential-{name}")), name, server, limit).await
}

async fn ask_program(
    program: Command,
    name: &str,
    server: &str,
    limit: Duration,
) -> Result<Option<Credentials>, HelperError> {
    let mut child = start(program, name)?;
    let Ok(answer) = timeout(limit, converse(&mut child, name, server)).await else {
        end(&mut child).await;
        return Err(HelperError::Timeout(name.to_owned(), limit.as_secs_f32()));
    };
    let (succeeded, output) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            end(&mut child).await;
            return Err(error);
        }
    };
    match (succeeded, login_in(&output)) {
        (true, Some(login)) => Ok(Some(login)),
        (true, None) => Err(HelperError::Output(name.to_owned())),
        (false, _) if output.windows(NOT_FOUND.len()).any(|part| part == NOT_FOUND) => Ok(None),
        (false, _) => Err(HelperError::Failed(name.to_owned())),
    }
}

fn start(mut command: Command, name: &str) -> Result<Child, HelperError> {
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A separate process group, so that everything that a helper starts ends with it.
    command.process_group(0).kill_on_drop(true);
    command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => HelperError::Missing(name.to_owned()),
        kind => HelperError::Run(name.to_owned(), kind),
    })
}

/// Sends the server and reads the answer: whether the helper succeeded, and its output.
async fn converse(
    child: &mut Child,
    name: &str,
    server: &str,
) -> Result<(bool, Vec<u8>), HelperError> {
    let failed = |error: std::io::Error| HelperError::Run(name.to_owned(), error.kind());
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input may still answer.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_MAX + 1).read_to_end(&mut output).await.map_err(failed)?;
    }
    if output.len() as u64 > OUTPUT_MAX {
        return Err(HelperError::Output(name.to_owned()));
    }
    let status = child.wait().await.map_err(failed)?;
    Ok((status.success(), output))
}

/// Ends the helper and everything that it started.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        // It may have just ended by itself, which is fine.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill().await;
}

fn login_in(output: &[u8]) -> Option<Credentials> {
    let answer: HelperOutput = serde_json::from_slice(output).ok()?;
    if answer.secret.is_empty() {
        return None;
    }
    Some(match answer.username.as_str() {
        TOKEN_USER => Credentials::with_identity_token(answer.secret),
        _ => Credentials::with_password(answer.username, answer.secret),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_helper_prints_is_a_login_or_nothing() {
        let kind = |text: &str| login_in(text.as_bytes()).map(|login| format!("{login:?}"));
        let password = r#"{"ServerURL":"x","Username":"u","Secret":"s"}"#;
        assert_eq!(kind(password).as_deref(), Some("Credentials(password)"));
        let token = r#"{"Username":"<token>","Secret":"s"}"#;
        assert_eq!(kind(token).as_deref(), Some("Credentials(identity token)"));
        for wrong in ["", "rubbish", "{}", r#"{"Username":"u","Secret":""}"#] {
            assert_eq!(kind(wrong), None, "{wrong}");
        }
    }

    /// Runs a shell script in place of a credential helper.
    async fn answer_of(script: &str, limit: Duration) -> Result<String, String> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script);
        let answer = ask_program(shell, "x", "registry:443", limit).await;
        answer.map(|login| format!("{login:?}")).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn every_way_in_which_a_helper_answers() {
        let says = |what: &str| format!("the credential helper `docker-credential-x` {what}");
        let failed = || Err(says("failed"));
        let useless = || Err(says("did not print a login"));
        let table = [
            // The server is sent on standard input.
            (
                r#"read -r server; printf '{"Username":"%s","Secret":"s"}' "$server""#,
                Ok("Some(Credentials(password))".to_owned()),
            ),
            ("echo 'credentials not found in native keychain'; exit 1", Ok("None".to_owned())),
            ("echo 'the secret is hunter2'; exit 1", failed()),
            ("echo 'hunter2'", useless()),
            ("exit 0", useless()),
            ("yes hunter2", useless()),
        ];
        for (script, expected) in table {
            assert_eq!(answer_of(script, Duration::from_secs(20)).await, expected, "{script}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_ended_with_what_it_started() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let answer = answer_of(&script, Duration::from_millis(300)).await;
        let expected = "the credential helper `docker-credential-x` did not answer within 0.3 s";
        assert_eq!(answer, Err(expected.to_owned()));
        let pid = std::fs::read_to_string(&file).expect("the script wrote its child's id");
        let stat = format!("/proc/{}/stat", pid.trim());
        let is_gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        while !is_gone() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_helper_has_a_name_and_is_there() {
        let limit = Duration::from_secs(1);
        let path = ask("../x", "server", limit).await.expect_err("no name");
        assert_eq!(path, HelperError::Name("../x".into()));
        let missing = ask("pilotfish-none", "server", limit).await.expect_err("not there");
        assert_eq!(missing, HelperError::Missing("pilotfish-none".into()));
    }
}
