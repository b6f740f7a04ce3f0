//! The names of Linux's signals, as Docker's users write them.
//!
//! Source: moby `pkg/signal`, `ParseSignal` and `signal_linux.go`.

/// Signals 1 to 31, each without its `SIG`.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first real-time signal that a program may use: `SIGRTMIN` of the C library.
const FIRST_REAL_TIME_SIGNAL: u8 = 34;

/// The last real-time signal: `SIGRTMAX`.
const LAST_SIGNAL: u8 = 64;

/// The number of a signal: `SIGUSR1`, `usr1` and `10` are all 10. `None` if there is no such
/// signal.
#[must_use]
pub fn number(signal: &str) -> Option<u8> {
    let name = signal.trim().to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let number = if let Some(later) = name.strip_prefix("RTMIN") {
        FIRST_REAL_TIME_SIGNAL.checked_add(offset(later, '+')?)?
    } else if let Some(earlier) = name.strip_prefix("RTMAX") {
        LAST_SIGNAL.checked_sub(offset(earlier, '-')?)?
    } else if let Ok(number) = name.parse() {
        number
    } else {
        let index = SIGNALS.iter().position(|known| *known == name)?;
        u8::try_from(index).ok()? + 1
    };
    (1..=LAST_SIGNAL).contains(&number).then_some(number)
}

/// The offset in the real-time range: `+3`, `-3`, or nothing.
fn offset(text: &str, sign: char) -> Option<u8> {
    if text.is_empty() {
        return Some(0);
    }
    text.strip_prefix(sign)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_one_number_however_it_is_written() {
        for (written, expected) in [
            ("SIGUSR1", Some(10)),
            ("usr1", Some(10)),
            (" 10 ", Some(10)),
            ("SIGTERM", Some(15)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMIN", Some(34)),
            ("RTMAX-14", Some(50)),
            ("SIGRTMAX", Some(64)),
            ("SIGRTMAX-99", None),
            ("SIGRTMIN3", None),
            ("SIGNAL", None),
            ("0", None),
            ("65", None),
            ("-9", None),
            ("", None),
        ] {
            assert_eq!(number(written), expected, "{written}");
        }
    }
}
