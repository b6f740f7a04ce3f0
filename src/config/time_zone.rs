//! The time zone of times of day.

use crate::config::environment::Environment;
use crate::core::text::{did_you_mean, shown};
use crate::core::time::zone::Zone;

/// The value that means the machine's own zone.
const LOCAL: &str = "local";

/// The variable that gives a process another zone than its machine (tzset(3)).
const TZ: &str = "TZ";

/// The directory of zone files; `TZ` may name one of them.
const ZONE_DIRECTORY: &str = "/usr/share/zoneinfo/";

/// A zone, and a note for a person about how it was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundZone {
    pub(super) zone: Zone,
    pub(super) note: Option<String>,
}

/// Reads `time_zone`.
pub(super) fn find(text: &str, environment: &Environment) -> Result<FoundZone, String> {
    let text = text.trim();
    if text != LOCAL {
        return parse(text).map(|zone| FoundZone { zone, note: None });
    }
    if let Some(value) = environment.variables.get(TZ) {
        return from_variable(value).map(|zone| FoundZone { zone, note: None });
    }
    match &environment.local_zone {
        Some(name) => {
            let in_words = |why| format!("{why}; this is the name of this machine's zone");
            parse(name).map(|zone| FoundZone { zone, note: None }).map_err(in_words)
        }
        None => Ok(FoundZone { zone: Zone::utc(), note: Some(without_name()) }),
    }
}

/// A container with a copied `/etc/localtime`, or none, has no name for its zone. The content of
/// the file could be read, but not everything that needs a zone can use it.
fn without_name() -> String {
    "time_zone is `local`, but this machine has no name for its time zone: times of day are UTC. \
     Set time_zone or the variable TZ, for example to Europe/Berlin"
        .to_owned()
}

/// An empty `TZ` is UTC, and a colon before the name changes nothing (tzset(3)).
fn from_variable(value: &str) -> Result<Zone, String> {
    let name = value.strip_prefix(':').unwrap_or(value);
    let name = name.strip_prefix(ZONE_DIRECTORY).unwrap_or(name);
    if name.is_empty() {
        return Ok(Zone::utc());
    }
    parse(name).map_err(|why| format!("the variable TZ is set, and {why}"))
}

fn parse(name: &str) -> Result<Zone, String> {
    Zone::named(name).ok_or_else(|| {
        let hint = match did_you_mean(name, Zone::names()) {
            hint if hint.is_empty() => {
                ": write `local`, `UTC` or a name like `Europe/Berlin`".into()
            }
            hint => hint,
        };
        format!("`{}` is not a time zone{hint}", shown(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::zone::zone;

    fn find_in(text: &str, tz: Option<&str>, local_zone: Option<&str>) -> Result<Zone, String> {
        let variables = tz.map(|value| (TZ.to_owned(), value.to_owned())).into_iter().collect();
        let environment = Environment { variables, local_zone: local_zone.map(str::to_owned) };
        find(text, &environment).map(|found| found.zone)
    }

    #[test]
    fn the_zone_is_what_is_written_then_tz_then_the_machines_own() {
        let berlin = || Ok(zone("Europe/Berlin"));
        let vienna = Some("Europe/Vienna");
        assert_eq!(find_in("Europe/Berlin", vienna, vienna), berlin());
        assert_eq!(find_in("local", Some("Europe/Berlin"), vienna), berlin());
        assert_eq!(find_in("local", Some(":Europe/Berlin"), vienna), berlin());
        assert_eq!(find_in("local", Some("/usr/share/zoneinfo/Europe/Berlin"), vienna), berlin());
        assert_eq!(find_in("local", Some(""), vienna), Ok(Zone::utc()));
        assert_eq!(find_in("local", None, Some("Europe/Berlin")), berlin());
    }

    #[test]
    fn a_machine_without_a_name_for_its_zone_is_in_utc_and_says_so() {
        let found = find("local", &Environment::default()).expect("a zone");
        assert_eq!(found.zone, Zone::utc());
        let note = found.note.expect("a note");
        assert!(note.contains("Set time_zone or the variable TZ"), "{note}");
    }

    #[test]
    fn a_wrong_zone_gets_a_suggestion() {
        for (text, tz, local, expected) in [
            (
                "Europe/Berln",
                None,
                None,
                "`Europe/Berln` is not a time zone; did you mean `Europe/Berlin`?",
            ),
            (
                "europe/berlin",
                None,
                None,
                "`europe/berlin` is not a time zone; did you mean `Europe/Berlin`?",
            ),
            (
                "CEST-nonsense-1",
                None,
                None,
                "`CEST-nonsense-1` is not a time zone: write `local`, `UTC` or a name like `Europe/Berlin`",
            ),
            (
                "local",
                Some("Europe/Berln"),
                None,
                "the variable TZ is set, and `Europe/Berln` is not a time zone; did you mean `Europe/Berlin`?",
            ),
            (
                "local",
                None,
                Some("Mars/Phobos_Base"),
                "`Mars/Phobos_Base` is not a time zone: write `local`, `UTC` or a name like `Europe/Berlin`; this is the name of this machine's zone",
            ),
        ] {
            assert_eq!(find_in(text, tz, local), Err(expected.to_owned()));
        }
    }

    proptest::proptest! {
        // Each wrong name is compared with all six hundred zones.
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = find_in(&text, None, None);
            let _ = find_in("local", Some(&text), None);
        }
    }
}
