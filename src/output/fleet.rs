//! The page of `pilotfish fleet`: a summary, rollouts under way, a table of the devices.

use std::time::Duration;

use crate::core::decide::report::Verdict;
use crate::core::fleet::message::row::SubjectState;
use crate::core::fleet::message::stop::{FleetStop, StopScope};
use crate::core::fleet::names::FleetName;
use crate::core::fleet::overview::{DeviceOverview, FleetCounts, FleetOverview};
use crate::core::fleet::overview_rollouts::RolloutOverview;
use crate::core::subject::Subject;
use crate::core::time::wall_clock::reading;
use crate::core::time::zone::Zone;
use crate::output::screen::{Screen, Style};
use crate::output::sentence::{UNKNOWN, counted, short, spaced};
use crate::output::table::{Cell, Column, INDENT, TableRow, natural_width, push_line, render};
use crate::output::text::{cut, one_line, shorten, wrap};

/// From this time on the page says how long the state of a device has not changed.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// The text if there is no device. A broker with an ACL file does not say that it sends nothing.
const NOTHING_TOLD: &str = "no device has told anything; if there are devices, check the name of \
     the fleet, and whether the broker lets this client read it";

const DEVICES: [Column; 7] = [
    Column { title: "DEVICE", shortest: Some(8) },
    Column { title: "STATE", shortest: None },
    Column { title: "AGENT", shortest: Some(5) },
    Column { title: "CONTAINER", shortest: Some(9) },
    Column { title: "IMAGE", shortest: Some(8) },
    Column { title: "RUNNING", shortest: Some(12) },
    Column { title: "VERDICT", shortest: Some(20) },
];

/// The column that a narrow terminal does without.
const AGENT: usize = 2;

const ROLLOUTS: [Column; 9] = [
    Column { title: "ROLLOUT", shortest: Some(7) },
    Column { title: "DIGEST", shortest: None },
    Column { title: "RUN", shortest: None },
    Column { title: "UPDATING", shortest: None },
    Column { title: "WAIT", shortest: None },
    Column { title: "REFUSED", shortest: None },
    Column { title: "OK", shortest: None },
    Column { title: "BAD", shortest: None },
    Column { title: "STOPPED", shortest: None },
];

/// Longest name or word in characters. A stolen device may tell of longer names, which would push
/// everything else out of the page.
const NAME_LENGTH_MAX: usize = 64;

/// Longest image in characters. Those of real registries fit.
const IMAGE_LENGTH_MAX: usize = 120;

/// Longest version of a program in characters. Most are far shorter.
const VERSION_LENGTH_MAX: usize = 24;

/// References of a stop that are named: a stop may have a hundred, and `--json` has them all.
const STOP_NAMED_MAX: usize = 5;

/// What the page shows.
pub struct FleetPage<'a> {
    pub fleet: &'a FleetName,
    pub overview: &'a FleetOverview,
    /// How long the fleet is observed; `None` if it is only looked at once.
    pub observed: Option<Duration>,
    /// Why there is no connection to the broker now.
    pub loss: Option<&'a str>,
    /// The time zone of the reader.
    pub zone: &'a Zone,
}

/// The page. With a number of lines it is as long as this at most: then the devices that need a
/// look come first, and a line counts the others.
#[must_use]
pub fn fleet(page: &FleetPage<'_>, screen: Screen, lines: Option<usize>) -> String {
    let mut text = summary(page, screen);
    let rollouts = page.overview.rollouts();
    if !rollouts.is_empty() {
        // A third of the page: the devices are more important.
        let room = lines.map(|lines| lines / 3);
        text.push('\n');
        text.push_str(&rollouts_table(&rollouts, screen, room));
    }
    let used = text.lines().count();
    let room = lines.map(|lines| lines.saturating_sub(used + 1));
    text.push_str(&devices_table(page, screen, room));
    // A long stop alone may be longer than a small terminal.
    let lines = lines.unwrap_or(usize::MAX);
    text.split_inclusive('\n').take(lines).collect()
}

fn summary(page: &FleetPage<'_>, screen: Screen) -> String {
    let counts = page.overview.counts();
    let FleetCounts { devices, online, away, missing, .. } = counts;
    let name = page.fleet;
    let mut lines = Vec::new();
    match devices {
        0 => lines.push((Style::Plain, format!("fleet {name}: {NOTHING_TOLD}"))),
        _ => {
            let all = counted(devices, "device", "devices");
            let unknown = match devices - online - away {
                0 => String::new(),
                unknown => format!(", {unknown} unknown"),
            };
            let line = format!("fleet {name}: {all}, {online} online, {away} away{unknown}");
            lines.push((Style::Bold, line));
            lines.push((Style::Plain, containers(&counts)));
        }
    }
    if let Some(stop) = page.overview.stop() {
        lines.push((Style::Red, stopped(stop)));
    }
    if let Some(loss) = page.loss {
        let loss = format!("no connection to the broker, this is what it told before: {loss}");
        lines.push((Style::Red, loss));
    }
    if missing > 0 {
        let rows = counted(missing, "container is", "containers are");
        let advice = "the broker did not send them; Mosquitto drops what is beyond \
                      max_queued_messages";
        lines.push((Style::Yellow, format!("{rows} not shown: {advice}")));
    }
    let mut text = String::new();
    for (style, line) in lines {
        let wrapped = wrap(&one_line(&line), "", screen.width);
        wrapped.iter().for_each(|line| push_line(&mut text, &screen.paint(style, line)));
    }
    text
}

/// `5 containers: 3 up to date, 1 update, 1 held; 1 is being updated`
fn containers(counts: &FleetCounts) -> String {
    let kinds = [
        (counts.up_to_date, "up to date", "up to date"),
        (counts.update, "update", "updates"),
        (counts.held, "held", "held"),
        (counts.errors, "error", "errors"),
    ];
    let present = kinds.iter().filter(|(count, _, _)| *count > 0);
    let parts: Vec<_> = present.map(|(count, one, many)| counted(*count, one, many)).collect();
    let all = counted(counts.containers, "container", "containers");
    let busy = match counts.busy {
        0 => String::new(),
        busy => format!("; {}", counted(busy, "is being updated", "are being updated")),
    };
    let kinds = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("{all}{kinds}{busy}")
}

/// The stop in words: `stopped by ann@desk: shop/till:v1 (market day)`.
#[must_use]
pub fn stopped(stop: &FleetStop) -> String {
    let by = stop.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
    let why = stop.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
    one_line(&format!("stopped{by}: {}{why}", stop_scope(stop)))
}

/// What is stopped, in words.
#[must_use]
pub fn stop_scope(stop: &FleetStop) -> String {
    match stop.scope {
        StopScope::Nothing => "nothing".to_owned(),
        StopScope::All => "everything".to_owned(),
        StopScope::References(_) => {
            let all = stop.references();
            let named: Vec<_> = all.iter().take(STOP_NAMED_MAX).map(String::as_str).collect();
            let more = match all.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            one_line(&format!("{}{more}", named.join(", ")))
        }
    }
}

/// A text of a device.
fn foreign(text: &str, length_max: usize) -> String {
    shorten(&one_line(text), length_max)
}

fn rollouts_table(rollouts: &[RolloutOverview], screen: Screen, room: Option<usize>) -> String {
    let number = |number: usize| Cell::plain(number.to_string());
    let row = |rollout: &RolloutOverview| {
        let counts = &rollout.counts;
        let bad = if counts.bad > 0 { Style::Red } else { Style::Plain };
        let (stopped, paint) = match rollout.is_stopped {
            true => ("yes", Style::Red),
            false => ("no", Style::Plain),
        };
        let cells = vec![
            Cell::plain(foreign(&rollout.reference, IMAGE_LENGTH_MAX)),
            Cell::plain(rollout.digest.short()),
            number(counts.runs),
            number(counts.updating),
            number(counts.waiting),
            number(counts.refused),
            number(counts.ok),
            Cell { text: counts.bad.to_string(), paint: bad },
            Cell { text: stopped.to_owned(), paint },
        ];
        TableRow { cells, below: Vec::new() }
    };
    let rows = |count| rollouts.iter().take(count).map(row).collect();
    let what = |more| counted(more, "more digest", "more digests");
    fitting(&ROLLOUTS, rollouts.len(), rows, what, (screen, room))
}

/// A table of as many rows as there is room for, and a line that counts the others.
fn fitting(
    columns: &[Column],
    total: usize,
    rows: impl Fn(usize) -> Vec<TableRow>,
    what: impl Fn(usize) -> String,
    (screen, room): (Screen, Option<usize>),
) -> String {
    // A row has at least one line, and the heading has one.
    let mut count = room.map_or(total, |room| total.min(room.saturating_sub(1)));
    loop {
        let mut text = match count {
            0 => String::new(),
            _ => rendered(columns, rows(count), screen),
        };
        if count < total {
            let more = format!("… and {}: `pilotfish fleet --all`", what(total - count));
            push_line(&mut text, &screen.paint(Style::Dim, &cut(&more, screen.width)));
        }
        let lines = text.lines().count();
        match room {
            Some(room) if lines > room && count > 0 => {
                count = (count * room / lines).min(count - 1);
            }
            _ => return text,
        }
    }
}

/// The table; on a narrow terminal without the column that is needed least.
fn rendered(columns: &[Column], mut rows: Vec<TableRow>, screen: Screen) -> String {
    let is_narrow = screen.width.is_some_and(|width| natural_width(columns, &rows) > width);
    if !is_narrow || columns.get(AGENT).is_none_or(|it| it.title != "AGENT") {
        return render(columns, &rows, screen);
    }
    rows.iter_mut().for_each(|row| drop(row.cells.remove(AGENT)));
    let left = columns.iter().enumerate().filter(|(index, _)| *index != AGENT);
    render(&left.map(|(_, column)| column.clone()).collect::<Vec<_>>(), &rows, screen)
}

fn devices_table(page: &FleetPage<'_>, screen: Screen, room: Option<usize>) -> String {
    let mut devices = page.overview.devices();
    if devices.is_empty() {
        return String::new();
    }
    let total: usize = devices.iter().map(|(_, it)| it.subjects.len().max(1)).sum();
    if room.is_some_and(|room| total + 1 > room) {
        // The sort is stable: devices that need the same look stay in the order of their names.
        devices.sort_by_key(|(_, device)| device.attention());
    }
    let rows = |count| {
        let rows = devices.iter().flat_map(|(name, it)| rows_of(page, name.as_str(), it, screen));
        rows.take(count).collect()
    };
    let what = |more| counted(more, "more row", "more rows");
    format!("\n{}", fitting(&DEVICES, total, rows, what, (screen, room)))
}

/// The rows of a device: one for each container, those that need a look first.
fn rows_of(
    page: &FleetPage<'_>,
    name: &str,
    device: &DeviceOverview,
    screen: Screen,
) -> Vec<TableRow> {
    let state = if device.is_online() == Some(true) { Style::Green } else { Style::Yellow };
    let own = || {
        vec![
            Cell::plain(name),
            Cell { text: presence(device, page.observed), paint: state },
            Cell::plain(foreign(device.version().unwrap_or(UNKNOWN), VERSION_LENGTH_MAX)),
        ]
    };
    let row = |(subject, state): (&Subject, &SubjectState)| {
        let mut cells = own();
        cells.extend(cells_of(subject, state));
        TableRow { cells, below: Vec::new() }
    };
    let mut rows: Vec<_> = device.subjects.iter().map(row).collect();
    if rows.is_empty() {
        let mut cells = own();
        cells.extend((0..4).map(|_| Cell::plain(UNKNOWN)));
        rows.push(TableRow { cells, below: Vec::new() });
    }
    if let Some(last) = rows.last_mut() {
        last.below = notes(page, device, screen);
    }
    rows
}

/// `online`, `away 12m`, `away >12m`: the last one has not changed for as long as it is observed.
fn presence(device: &DeviceOverview, observed: Option<Duration>) -> String {
    let state = match device.is_online() {
        Some(true) => "online",
        Some(false) => "away",
        None => return UNKNOWN.to_owned(),
    };
    match (observed, device.changed_at) {
        (Some(now), Some(at)) => format!("{state} {}", rough(now.saturating_sub(at))),
        (Some(now), None) if now >= STEADY_AFTER => format!("{state} >{}", rough(now)),
        _ => state.to_owned(),
    }
}

/// A time in its largest unit.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn cells_of(subject: &Subject, state: &SubjectState) -> [Cell; 4] {
    let running = short(state.running.as_ref());
    let running = match &state.version {
        // An image without a version of its own is shown by its digest, or by both.
        Some(version) if version.contains(&running) => foreign(version, VERSION_LENGTH_MAX),
        Some(version) => format!("{} {running}", foreign(version, VERSION_LENGTH_MAX)),
        None => running,
    };
    let (verdict, paint) = verdict(state);
    [
        Cell::plain(foreign(&subject.to_string(), NAME_LENGTH_MAX)),
        Cell::plain(foreign(&state.image, IMAGE_LENGTH_MAX)),
        Cell::plain(running),
        Cell { text: foreign(&verdict, NAME_LENGTH_MAX), paint },
    ]
}

fn verdict(state: &SubjectState) -> (String, Style) {
    if state.busy {
        let step = state.step.as_deref().unwrap_or("begins");
        let percent = state.percent.map_or(String::new(), |percent| format!(" {percent} %"));
        return (format!("updating: {step}{percent}"), Style::Cyan);
    }
    let word = spaced(state.verdict.word());
    let text = state.reason.as_ref().map_or(word.clone(), |reason| format!("{word}: {reason}"));
    let style = match state.verdict {
        Verdict::UpToDate => Style::Green,
        Verdict::Update => Style::Cyan,
        Verdict::Held => Style::Yellow,
        Verdict::Error => Style::Red,
    };
    (text, style)
}

/// The lines below a device.
fn notes(page: &FleetPage<'_>, device: &DeviceOverview, screen: Screen) -> Vec<String> {
    let agent = device.agent.as_ref();
    let checked =
        agent.and_then(|agent| agent.last_check).filter(|_| device.is_online() != Some(true));
    let checked = checked.map(|time| {
        let time = reading(time, page.zone).format("%Y-%m-%d %H:%M");
        (Style::Dim, format!("its last check was at {time}, by its own clock"))
    });
    let error = agent.and_then(|agent| agent.error.as_ref());
    let error = error.map(|error| (Style::Red, format!("its last round failed: {error}")));
    let more = device.has_more.then(|| {
        (Style::Yellow, format!("it tells of more than {} containers", device.subjects.len()))
    });
    let notes = [checked, error, more].into_iter().flatten();
    let line = |text: &str| cut(&one_line(&format!("{INDENT}{text}")), screen.width);
    notes.map(|(style, text)| screen.paint(style, &line(&text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_one_unit() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (200_000, "2d")]
        {
            assert_eq!(rough(Duration::from_secs(seconds)), expected);
        }
    }
}
