//! Watchtower's command line, as its flag library reads it (spf13/pflag).

use super::options::WatchtowerOption;
use super::source::unquoted;
use super::{Translation, TranslationNote, options};

impl Translation {
    pub(super) fn take_words(&mut self, words: &[String], told: &mut TranslationNote) {
        let mut words = words.iter().map(String::as_str);
        let mut only_names = false;
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some("-") if !only_names => only_names = true,
                Some(flag) if !only_names && !flag.is_empty() => {
                    self.take_flag(flag, &mut words, told);
                }
                _ => self.take_name(word),
            }
        }
    }

    fn take_name(&mut self, name: &str) {
        self.is_narrowed = true;
        self.leave(
            name,
            "only this container was watched: opt it in with the label pilotfish.enable=true",
        );
    }

    /// `flag` is the text after the first hyphen.
    fn take_flag<'a>(
        &mut self,
        flag: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
        told: &mut TranslationNote,
    ) {
        let Some(long) = flag.strip_prefix('-') else { return self.take_short(flag, rest, told) };
        let (long, value) = match long.split_once('=') {
            Some((long, value)) => (long, Some(value)),
            None => (long, None),
        };
        match options().find(|option| option.flag == long) {
            Some(option) => self.tell(option, value, rest, told),
            None => self.doubt(&format!("--{long}"), "Watchtower has no such flag"),
        }
    }

    /// Several may be combined: `-cd`, `-ci 60`, `-ci60`, `-t=30s`.
    fn take_short<'a>(
        &mut self,
        mut group: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
        told: &mut TranslationNote,
    ) {
        while let Some(letter) = group.chars().next() {
            let (short, behind) = group.split_at(letter.len_utf8());
            let Some(option) = options().find(|option| option.short == Some(short)) else {
                return self.doubt(&format!("-{short}"), "Watchtower has no such flag");
            };
            if let Some(value) = behind.strip_prefix('=') {
                return self.tell(option, Some(value), rest, told);
            }
            if option.takes_value {
                let value = Some(behind).filter(|value| !value.is_empty());
                return self.tell(option, value, rest, told);
            }
            self.tell(option, None, rest, told);
            group = behind;
        }
    }

    fn tell<'a>(
        &mut self,
        option: &WatchtowerOption,
        value: Option<&'a str>,
        rest: &mut impl Iterator<Item = &'a str>,
        told: &mut TranslationNote,
    ) {
        let name = format!("--{}", option.flag);
        let value = match value {
            Some(value) => value,
            None if !option.takes_value => "true",
            None => match rest.next() {
                Some(value) => value,
                None => return self.doubt(&name, "no value follows it"),
            },
        };
        told.insert(option.flag, (name, unquoted(value).to_owned()));
    }
}
