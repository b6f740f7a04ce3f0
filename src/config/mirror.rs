//! The rules of the mirror, `[[mirror]]`.

use toml::de::DeValue;

use crate::config::bytes::parse_bytes;
use crate::config::effective::Explained;
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::keys::{MIRROR, MIRROR_KEYS};
use crate::config::listed_table::ListedTable;
use crate::config::table::TomlSource;
use crate::core::docker::reference::{DOCKER_HUB, Platform, Reference, is_tag};
use crate::core::mirror::rule::{
    MirrorRule, RepositoryName, SignatureMode, TAGS_MAX, TagSelection,
};
use crate::core::mirror::tag_expression::TagExpression;
use crate::core::time::schedule::Schedule;

/// Most rules: each has a task and a place in the memory.
const RULES_MAX: usize = 32;

/// Longest name of a rule in bytes; it is the label of a metric. A name without `name` is the
/// target, which may be as long.
const NAME_BYTES_MAX: usize = 256;

/// When a rule without `schedule` runs.
const DEFAULT_SCHEDULE: &str = "15m";

/// Slowest rate in bytes a second. A slower one could not copy a small image in an hour.
const RATE_MIN: u64 = 10_000;

/// One rule, and when it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorSettings {
    pub rule: MirrorRule,
    /// Absent: only when a push is reported.
    pub schedule: Option<Schedule>,
    /// Whether a reported push starts it.
    pub on_push: bool,
}

/// All rules in the file, and the origin of each value.
#[derive(Debug, Default)]
pub(super) struct MirrorRules {
    pub(super) rules: Vec<MirrorSettings>,
    pub(super) explained: Vec<Explained>,
}

/// Reads the tables `[[mirror]]`.
pub(super) fn read(
    source: &TomlSource<'_>,
    value: &DeValue<'_>,
    origin: &ValueOrigin,
) -> Result<MirrorRules, ConfigError> {
    let mut all = MirrorRules::default();
    let expected = "tables that begin with [[mirror]]";
    for mut table in ListedTable::read_all(MIRROR, expected, source, value, origin)? {
        let to = read_repository(&table, "to")?;
        let name = table.text("name")?.unwrap_or_else(|| to.to_string());
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
            return Err(table.wrong("name", &name, "use 1 to 256 visible characters"));
        }
        table.set_name(&name);
        table.check_keys(&MIRROR_KEYS)?;
        if all.rules.iter().any(|other| other.rule.name == name) {
            let why = "another rule has this name: give this one a `name` of its own";
            return Err(table.wrong("name", &name, why));
        }
        if all.rules.len() >= RULES_MAX {
            return Err(table.wrong(
                "name",
                &name,
                &format!("there are at most {RULES_MAX} rules"),
            ));
        }
        all.rules.push(read_rule(&table, to, &mut all.explained)?);
    }
    Ok(all)
}

fn read_rule(
    table: &ListedTable<'_, '_>,
    to: RepositoryName,
    explained: &mut Vec<Explained>,
) -> Result<MirrorSettings, ConfigError> {
    let from = read_repository(table, "from")?;
    if from == to {
        return Err(table.wrong("to", &to.to_string(), "a repository cannot be copied to itself"));
    }
    let schedule_text = table.text("schedule")?.unwrap_or_else(|| DEFAULT_SCHEDULE.to_owned());
    let schedule = read_schedule(table, &schedule_text)?;
    let on_push = table.flag("on_push")?.unwrap_or(true);
    if schedule.is_none() && !on_push {
        let why = "a rule without a schedule and without on_push would never run";
        return Err(table.wrong("schedule", "", why));
    }
    let (tags, tags_text) = read_tags(table, "tags")?.unzip();
    let (immutable, immutable_text) = read_tags(table, "immutable")?.unzip();
    let (platforms, platforms_text) = read_platforms(table)?.unzip();
    let (signatures, signatures_text) = read_signatures(table)?;
    let keep = table.number("keep")?;
    let (rate, rate_text) = read_rate(table)?.unzip();
    let values = [
        ("name", Some(table.name().to_owned())),
        ("from", Some(from.to_string())),
        ("to", Some(to.to_string())),
        ("tags", tags_text),
        ("immutable", immutable_text),
        ("platforms", platforms_text),
        ("signatures", Some(signatures_text)),
        ("keep", keep.map(|keep| keep.to_string())),
        ("schedule", Some(schedule_text)),
        ("on_push", Some(on_push.to_string())),
        ("rate", rate_text),
    ];
    explained.extend(values.into_iter().filter_map(|(name, value)| table.explain(name, value?)));
    let rule = MirrorRule {
        name: table.name().to_owned(),
        tags: tags.unwrap_or_default(),
        immutable,
        platforms: platforms.unwrap_or_default(),
        signatures,
        keep: keep.unwrap_or_default(),
        rate,
        ..MirrorRule::new(from, to)
    };
    Ok(MirrorSettings { rule, schedule, on_push })
}

/// A repository without a tag: `docker.io/table/till`.
fn read_repository(table: &ListedTable<'_, '_>, key: &str) -> Result<RepositoryName, ConfigError> {
    let text = table.text(key)?.unwrap_or_default();
    if text.trim().is_empty() {
        let why = "each rule needs `from` and `to`, like \"docker.io/table/till\"";
        return Err(table.wrong(key, &text, why));
    }
    let reference: Reference =
        text.trim().parse().map_err(|error| table.wrong(key, &text, &format!("{error}")))?;
    // Nobody pushes to Docker Hub by a forgotten port.
    if key == "to" && reference.registry == DOCKER_HUB && !text.trim().starts_with(DOCKER_HUB) {
        let why = "name the registry, such as \"registry:443/table/till\"; Docker Hub is \"docker.io/table/till\"";
        return Err(table.wrong(key, &text, why));
    }
    // A reference without a tag gets the default one.
    let name = text.rsplit('/').next().unwrap_or_default();
    if name.contains([':', '@']) {
        let why = "write the repository without a tag or a digest: the tags are in `tags`";
        return Err(table.wrong(key, &text, why));
    }
    Ok(reference.into())
}

fn read_schedule(table: &ListedTable<'_, '_>, text: &str) -> Result<Option<Schedule>, ConfigError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| table.wrong("schedule", text, &format!("{error}")))
}

/// Tags as a list or as an expression, and their text.
fn read_tags(
    table: &ListedTable<'_, '_>,
    key: &str,
) -> Result<Option<(TagSelection, String)>, ConfigError> {
    let expected = "a list of tags, like [\"latest\"], or an expression, like \"^v\"";
    if !table.is_list(key) {
        let Some(text) = table.text_or(key, expected)? else { return Ok(None) };
        let expression = TagExpression::parse(&text)
            .map_err(|error| table.wrong(key, &text, &format!("{error}")))?;
        return Ok(Some((TagSelection::Matching(expression), text)));
    }
    let Some(tags) = table.texts(key, expected)? else { return Ok(None) };
    if tags.is_empty() || tags.len() > TAGS_MAX {
        return Err(table.wrong(key, "[…]", &format!("write 1 to {TAGS_MAX} tags")));
    }
    if let Some(wrong) = tags.iter().find(|tag| !is_tag(tag)) {
        let why = "a tag has letters, digits, `_`, `.` and `-`; an expression is not in a list";
        return Err(table.wrong(key, wrong, why));
    }
    let text = tags.join(", ");
    Ok(Some((TagSelection::Named(tags), text)))
}

fn read_platforms(
    table: &ListedTable<'_, '_>,
) -> Result<Option<(Vec<Platform>, String)>, ConfigError> {
    let expected = "a list of platforms, like [\"linux/arm64\", \"linux/arm/v7\"]";
    let Some(texts) = table.texts("platforms", expected)? else { return Ok(None) };
    let platform = |text: &String| {
        parse_platform(text).ok_or_else(|| {
            table.wrong("platforms", text, "write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT")
        })
    };
    let platforms = texts.iter().map(platform).collect::<Result<_, _>>()?;
    Ok(Some((platforms, texts.join(", "))))
}

fn parse_platform(text: &str) -> Option<Platform> {
    let mut parts = text.split('/').map(str::to_owned);
    let (os, architecture) = (parts.next()?, parts.next()?);
    let variant = parts.next().unwrap_or_default();
    let is_whole = parts.next().is_none() && !os.is_empty() && !architecture.is_empty();
    is_whole.then_some(Platform { os, architecture, variant })
}

fn read_signatures(table: &ListedTable<'_, '_>) -> Result<(SignatureMode, String), ConfigError> {
    const REQUIRED: &str = "required";
    if table.is_text("signatures") {
        let text = table.text("signatures")?.unwrap_or_default();
        if text != REQUIRED {
            return Err(table.wrong("signatures", &text, "it is true, false or \"required\""));
        }
        return Ok((SignatureMode::Require, text));
    }
    let is_copied = table.flag("signatures")?.unwrap_or(true);
    let mode = if is_copied { SignatureMode::Copy } else { SignatureMode::Ignore };
    Ok((mode, is_copied.to_string()))
}

fn read_rate(table: &ListedTable<'_, '_>) -> Result<Option<(u64, String)>, ConfigError> {
    let Some(text) = table.text("rate")?.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    match parse_rate(&text) {
        Some(rate) if rate >= RATE_MIN => Ok(Some((rate, text))),
        Some(_) => Err(table.wrong("rate", &text, "the slowest rate is 10 kB/s")),
        None => Err(table.wrong("rate", &text, "write it like \"2MB/s\" or \"500kB/s\"")),
    }
}

/// Bytes a second from `2MB/s`.
fn parse_rate(text: &str) -> Option<u64> {
    parse_bytes(text.trim().strip_suffix("/s")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_unit() {
        for (text, expected) in [
            ("2MB/s", Some(2_000_000)),
            (" 500 kB/s", Some(500_000)),
            ("1MiB/s", Some(1_048_576)),
            ("7B/s", Some(7)),
            ("2MB", None),
            ("2/s", None),
            ("-2MB/s", None),
            ("99999999999999GB/s", None),
            ("", None),
        ] {
            assert_eq!(parse_rate(text), expected, "{text}");
        }
    }

    #[test]
    fn platforms_have_two_or_three_parts() {
        let words = |text| parse_platform(text).map(|platform| platform.to_string());
        assert_eq!(words("linux/arm/v7").as_deref(), Some("linux/arm/v7"));
        assert_eq!(words("linux/arm64").as_deref(), Some("linux/arm64"));
        for wrong in ["arm64", "linux/", "/arm64", "a/b/c/d", ""] {
            assert_eq!(words(wrong), None, "{wrong}");
        }
    }
}
