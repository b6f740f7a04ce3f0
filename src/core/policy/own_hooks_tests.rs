//! Labels of hooks, right and wrong.

use super::*;

fn hooks(labels: &[(&str, &str)]) -> Result<OwnHooks, String> {
    let mut hooks = OwnHooks::default();
    for (word, value) in labels {
        hooks.take(&format!("{OWN_HOOK_PREFIX}{word}"), value)?;
    }
    Ok(hooks)
}

#[test]
fn a_command_is_split_like_a_command_line_or_read_by_a_shell() {
    let rows: [(&str, &[&str]); 5] = [
        ("/backup", &["/backup"]),
        (r#"/backup --to "/data/a b" 'c d'"#, &["/backup", "--to", "/data/a b", "c d"]),
        ("/backup $HOME | gzip", &["/backup", "$HOME", "|", "gzip"]),
        ("sh:pg_dump shop > /backup/shop", &["sh", "-c", "pg_dump shop > /backup/shop"]),
        ("sh: exit 75", &["sh", "-c", "exit 75"]),
    ];
    for moment in Moment::OF_PILOTFISH {
        for (value, words) in rows {
            let hook = hooks(&[(moment.word(), value)]).expect(value).at(moment).expect(value);
            assert_eq!(hook.words(), words, "{value}");
            assert_eq!(hook.timeout, Duration::from_secs(60), "{value}");
        }
    }
}

#[test]
fn a_hook_has_a_timeout_of_an_hour_at_most_and_a_pre_stop_hook_of_a_minute() {
    let rows = [
        ("pre-update", "1s", Some(1)),
        ("pre-update", "1h", Some(3600)),
        ("pre-update", "61m", None),
        ("pre-update", "0s", None),
        ("pre-update", "5", None),
        ("pre-stop", "1m", Some(60)),
        ("pre-stop", "61s", None),
        ("post-update", "30m", Some(1800)),
        ("post-rollback", "2m", Some(120)),
    ];
    for (word, timeout, seconds) in rows {
        let moment = Moment::OF_PILOTFISH.into_iter().find(|it| it.word() == word);
        let read = hooks(&[(word, "/x"), (&format!("{word}.timeout"), timeout)]);
        let hook = read.ok().and_then(|hooks| hooks.at(moment.expect("a moment")));
        assert_eq!(hook.map(|hook| hook.timeout.as_secs()), seconds, "{word} {timeout}");
    }
}

#[test]
fn what_is_no_hook_is_refused_with_a_suggestion() {
    for (word, value, part) in [
        ("pre-updat", "/x", "did you mean `pilotfish.hook.pre-update`?"),
        ("post-update.requird", "true", "did you mean `pilotfish.hook.post-update"),
        ("pre-stop.required", "true", "there is no such label"),
        ("pre-check", "/x", "there is no such label"),
        ("pre-update", "", "a command is missing"),
        ("pre-update", "sh:", "needs a command"),
        ("pre-update", "/x 'y", "quotation mark"),
        ("post-update.required", "yes", "neither `true` nor `false`"),
    ] {
        let error = hooks(&[(word, value)]).expect_err(word);
        assert!(error.contains(part), "{word}={value}: {error}");
    }
    let long = "x".repeat(COMMAND_MAX + 1);
    assert!(hooks(&[("pre-update", &long)]).is_err());
}

#[test]
fn a_label_of_a_hook_without_a_command_is_an_error() {
    let wrong = |labels: &[(&str, &str)]| -> Vec<String> {
        let errors = hooks(labels).expect("labels").without_command();
        errors.into_iter().map(|error| error.label).collect()
    };
    let command = ("post-update", "/x");
    assert_eq!(wrong(&[("pre-stop.timeout", "5s")]), ["pilotfish.hook.pre-stop.timeout"]);
    assert_eq!(wrong(&[("post-update.required", "true")]), [LABEL_POST_UPDATE_REQUIRED]);
    assert_eq!(wrong(&[("post-update.required", "false")]), Vec::<String>::new());
    assert_eq!(wrong(&[command, ("post-update.required", "true")]), Vec::<String>::new());
    assert_eq!(wrong(&[command, ("post-update.timeout", "5s")]), Vec::<String>::new());
}

#[test]
fn a_journal_of_an_older_program_has_a_command_for_a_shell() {
    let older = r#"{"command":"/dump.sh","timeout":{"secs":60,"nanos":0}}"#;
    let hook: Hook = serde_json::from_str(older).expect("a hook");
    assert_eq!(hook.command, HookCommand::Shell("/dump.sh".into()));
    for value in ["/x y", "sh:/x y"] {
        let hook = hooks(&[("pre-stop", value)]).expect(value).at(Moment::PreStop);
        let text = serde_json::to_string(&hook).expect("it serialises");
        assert_eq!(serde_json::from_str::<Option<Hook>>(&text).expect(&text), hook);
    }
}
