//! A registry that requires a login: the agent and the Engine use the same login.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::support::files::files;
use crate::support::images::Release;
use crate::support::{Pi, QUIET};

/// Characters that expose encoding errors: `?`, `>` and `~` differ between the two alphabets of
/// Base64.
const PASSWORD: &str = "p?>~:ä";

/// `htpasswd -B` of the password.
const HTPASSWD: &str = "matrose:$2y$05$abcdefghijklmnopqrstuuO4OeUZqIbBTRY2dzAplwkAa6ox5/lsG";

const PORT: u16 = 8081;

#[test]
fn an_image_behind_a_login_is_checked_and_pulled_with_it() {
    let mut pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let guarded = pi.registry.serve_with_login(&pi.engine, HTPASSWD);
    let image = format!("{guarded}/till:latest");
    pi.engine.docker(&["pull", "--quiet", &one.reference]);
    pi.engine.docker(&["tag", &one.reference, &image]);
    pi.start_watched("till", &image, PORT, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));
    assert_eq!(pi.check("till")["reason"], "registry_unauthorized");

    let password = pi.engine.directory().join("password");
    fs::write(&password, PASSWORD).expect("the password");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("its mode");
    let login = format!("username = \"matrose\"\npassword_file = {password:?}");
    let login = format!("{QUIET}\n[registries.\"{guarded}\"]\n{login}");
    pi.agent.set(&pi.engine, &login);
    let output = pi.update(&[]).expect_code(0);
    assert_eq!(pi.serving(PORT).as_deref(), Some("till 2"));
    pi.assert_settled("till", &two, 1);
    let history = pi.agent.json(&pi.engine, &["history", "--json"]);
    let written = format!("{output:?}\n{history}\n{}", files(&pi.agent.state()));
    assert!(written.contains(&two.digest), "the update is in the history: {written}");
    let login = format!("matrose:{PASSWORD}");
    for secret in [PASSWORD.to_owned(), STANDARD.encode(&login), URL_SAFE.encode(&login)] {
        assert!(!written.contains(&secret), "{secret} is in {written}");
    }
}
