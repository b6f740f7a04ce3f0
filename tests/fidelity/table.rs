//! Parses `table.txt`: one row per option.

use pilotfish::core::docker::api_version::ApiVersion;

/// The table.
const TABLE: &str = include_str!("table.txt");

/// One option, and how it is tried.
#[derive(Debug, Default)]
pub struct Row {
    /// The name that users look for.
    pub name: String,
    /// The heading above the row.
    pub group: String,
    /// The arguments of `docker create`, or a body of the API.
    pub create: String,
    /// `docker` commands between create and start.
    pub then: Vec<String>,
    /// Why this machine cannot start such a container, so that it is only created.
    pub only_created: Option<String>,
    /// Why Engines do not accept the option here, so that only the create body is checked.
    pub only_body: Option<String>,
    /// The field with which such a container is refused.
    pub refused: Option<String>,
    /// The lowest version of the Engine's API with the option.
    pub api: Option<String>,
    /// The highest version of the Engine's API with the option.
    pub api_until: Option<String>,
}

/// All rows of the table.
pub fn rows() -> Vec<Row> {
    let mut group = String::new();
    let mut rows = Vec::new();
    for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix('#') {
            Some(heading) => group = heading.trim().to_owned(),
            None => rows.push(Row { group: group.clone(), ..row(line) }),
        }
    }
    rows
}

fn row(line: &str) -> Row {
    let mut columns = line.split(" | ").map(str::trim);
    let mut column = || columns.next().unwrap_or_else(|| panic!("too few columns: {line}"));
    let mut row = Row { name: column().to_owned(), create: column().to_owned(), ..Row::default() };
    for remark in columns {
        let (kind, text) = remark.split_once(": ").unwrap_or_else(|| panic!("remark: {line}"));
        let text = text.to_owned();
        match kind {
            "then" => row.then.push(text),
            "only created" => row.only_created = Some(text),
            "only body" => row.only_body = Some(text),
            "refused" => row.refused = Some(text),
            "from API" => row.api = Some(text),
            "until API" => row.api_until = Some(text),
            _ => panic!("unknown remark: {line}"),
        }
    }
    row
}

impl Row {
    /// Whether an Engine with this API version has the option.
    pub fn fits(&self, api: ApiVersion) -> bool {
        let version = |text: &String| text.parse::<ApiVersion>().expect("a version in the table");
        self.api.as_ref().is_none_or(|from| version(from) <= api)
            && self.api_until.as_ref().is_none_or(|until| api <= version(until))
    }

    /// How far the option was tried.
    pub fn level(&self) -> &'static str {
        match self {
            Self { only_body: Some(_), .. } => " (only the create body)",
            Self { only_created: Some(_), .. } => " (created, not started)",
            _ => "",
        }
    }
}

/// Splits a command line like a shell, with single quotes only.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut is_quoted, mut is_word) = (String::new(), false, false);
    for letter in text.chars() {
        match letter {
            '\'' => (is_quoted, is_word) = (!is_quoted, true),
            ' ' if !is_quoted => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            letter => {
                word.push(letter);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}
