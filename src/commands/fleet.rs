//! `pilotfish fleet`: what the devices of a fleet tell, and the stop of all their updates.

use std::future::Future;
use std::time::Duration;

use anyhow::{anyhow, bail};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fleet_observation::FleetObservation;
use super::{CommandContext, Exit, print, print_raw, say, stop_on_signal, terminal_size};
use crate::app::{self, OperatorConnection};
use crate::broker::{Broker as _, BrokerEvents, BrokerTask, NotTaken, Publication, ReasonCode};
use crate::cli::{FleetAction, FleetArguments};
use crate::config::{ConfigError, Environment, MqttSettings, ValueOrigin};
use crate::control::client::Control;
use crate::core::fleet::message::stop::{FleetStop, StopScope};
use crate::core::fleet::topic::{Topic, Topics};
use crate::documents::FleetDocument;
use crate::output::{self, FleetPage, LivePage, Screen, stop_scope, stopped};

/// Shortest time between two pages on a terminal. The devices of a large fleet tell something all
/// the time, and a person reads no faster.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);

/// Longest time between two pages, for the times in them.
const REPEAT_INTERVAL: Duration = Duration::from_secs(5);

/// The variables with the name of the person, the first one that is set.
const USERS: [&str; 3] = ["SUDO_USER", "USER", "LOGNAME"];

/// Shows the fleet, stops it, or lets it go on.
pub async fn fleet(setting: &CommandContext, arguments: FleetArguments) -> anyhow::Result<Exit> {
    if arguments.action.is_some() && (arguments.once || arguments.all || arguments.json) {
        say("pilotfish: --once, --all and --json show a fleet: leave them out, or `stop` and `go`");
        return Ok(Exit::Usage);
    }
    let mqtt = setting.settings.mqtt.as_ref().ok_or_else(no_broker)?;
    check_certificate(setting, mqtt, &arguments).await?;
    let topics = Topics::new(&mqtt.fleet);
    let by = Some(operator_name(&Environment::of_process(), &app::host_name()));
    match arguments.action {
        Some(FleetAction::Stop(stop)) => {
            let scope = StopScope::of(stop.references);
            tell(mqtt, topics, FleetStop { scope, why: stop.why, by }).await
        }
        Some(FleetAction::Go) => {
            tell(mqtt, topics, FleetStop { scope: StopScope::Nothing, why: None, by }).await
        }
        None => {
            let OperatorConnection { task, events, .. } =
                app::operator(mqtt, topics.observer_filters());
            let observation = FleetObservation::new(topics);
            with_broker(task, show(setting, mqtt, &arguments, observation, events)).await
        }
    }
}

fn no_broker() -> anyhow::Error {
    let why = "give the address of the fleet's broker, such as --url mqtts://broker.lan".to_owned();
    let (key, value) = ("mqtt.url".to_owned(), String::new());
    ConfigError::BadValue { key, origin: ValueOrigin::Default, value, why }.into()
}

/// The certificate of the agent that runs here is in use: the broker would end its connection.
async fn check_certificate(
    setting: &CommandContext,
    mqtt: &MqttSettings,
    arguments: &FleetArguments,
) -> anyhow::Result<()> {
    let Some((certificate, _)) = &mqtt.identity else { return Ok(()) };
    if arguments.broker.cert_file.is_some() {
        return Ok(());
    }
    // A user who may not connect to the agent may not read its key either.
    if let Ok(Some(_)) = Control::connect(&setting.settings.state_dir).await {
        bail!(
            "{} is the certificate of the agent that runs here, and one certificate is one \
             connection: give the certificate of the operator with --cert-file and --key-file",
            certificate.display()
        );
    }
    Ok(())
}

/// Serves the connection while the work is done.
async fn with_broker<T>(
    task: BrokerTask,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let stop = CancellationToken::new();
    let mut serving = Box::pin(task.run(stop.clone()));
    let mut work = Box::pin(work);
    tokio::select! {
        done = &mut work => {
            stop.cancel();
            serving.await;
            done
        }
        // The work hears of the end.
        () = &mut serving => work.await,
    }
}

async fn show(
    setting: &CommandContext,
    mqtt: &MqttSettings,
    arguments: &FleetArguments,
    mut observation: FleetObservation,
    mut events: BrokerEvents,
) -> anyhow::Result<Exit> {
    let FleetArguments { once, all, json, .. } = *arguments;
    if setting.is_terminal && !(once || all || json) {
        return watch(setting, mqtt, observation, events).await;
    }
    observation.settle(&mut events).await?;
    if json {
        let document = FleetDocument::new(&mqtt.fleet, &observation.overview);
        print(&output::fleet_json(&document)?)?;
    } else {
        let lines = if setting.is_terminal && !all { terminal_size().1 } else { None };
        // The last line is for the prompt.
        let lines = lines.map(|lines| lines.saturating_sub(1));
        print(&page(setting, mqtt, &observation, None, (setting.screen, lines)))?;
    }
    Ok(Exit::Done)
}

fn page(
    setting: &CommandContext,
    mqtt: &MqttSettings,
    observation: &FleetObservation,
    observed: Option<Duration>,
    (screen, lines): (Screen, Option<usize>),
) -> String {
    let page = FleetPage {
        fleet: &mqtt.fleet,
        overview: &observation.overview,
        observed,
        loss: observation.loss.as_deref(),
        zone: &setting.settings.time_zone,
    };
    output::fleet(&page, screen, lines)
}

/// The live table, until a signal.
async fn watch(
    setting: &CommandContext,
    mqtt: &MqttSettings,
    mut observation: FleetObservation,
    mut events: BrokerEvents,
) -> anyhow::Result<Exit> {
    let stop = stop_on_signal()?;
    tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        settled = observation.settle(&mut events) => settled?,
    }
    let mut live = LivePage::default();
    let (mut drawn_at, mut is_changed) = (Instant::now(), false);
    loop {
        // After a new connection the earlier page stays until everything is heard again.
        if observation.is_settled() || observation.loss.is_some() {
            let (width, lines) = terminal_size();
            let screen = Screen { width, ..setting.screen };
            let lines = lines.map(|lines| lines.saturating_sub(1));
            let observed = Some(observation.time());
            let page = page(setting, mqtt, &observation, observed, (screen, lines));
            print_raw(&live.draw(&page))?;
            is_changed = false;
        }
        drawn_at = drawn_at.max(Instant::now());
        loop {
            let pause = if is_changed { REFRESH_INTERVAL } else { REPEAT_INTERVAL };
            tokio::select! {
                () = stop.cancelled() => return Ok(Exit::Done),
                event = events.next() => observation.receive(event)?,
                () = sleep_until(drawn_at + pause) => break,
            }
            is_changed = true;
        }
    }
}

/// Publishes a stop, or the end of one, and says what it changes.
async fn tell(mqtt: &MqttSettings, topics: Topics, stop: FleetStop) -> anyhow::Result<Exit> {
    let topic = topics.name(&Topic::Stop);
    let OperatorConnection { broker, task, mut events } = app::operator(mqtt, vec![topic.clone()]);
    let mut observation = FleetObservation::new(topics);
    let payload = stop.encode();
    let before = with_broker(task, async {
        observation.settle(&mut events).await?;
        broker.publish(Publication::retained(topic, payload, None)).await.map_err(not_taken)?;
        Ok(observation.overview.stop().cloned())
    });
    print(&told(&mqtt.fleet.to_string(), &stop, before.await?.as_ref()))?;
    Ok(Exit::Done)
}

fn not_taken(why: NotTaken) -> anyhow::Error {
    match why {
        NotTaken::Refused(reason @ ReasonCode::NOT_AUTHORIZED) => anyhow!(
            "the broker does not let this client stop a fleet: {reason}; give the certificate of \
             the operator with --cert-file and --key-file"
        ),
        NotTaken::Refused(_) => anyhow!(why),
        _ => anyhow!("{why}; `pilotfish fleet` shows whether the broker took it"),
    }
}

/// What a stop changes.
fn told(fleet: &str, stop: &FleetStop, before: Option<&FleetStop>) -> String {
    let now = match stop.scope {
        StopScope::Nothing if before.is_none() => format!("The fleet {fleet} was not stopped."),
        StopScope::Nothing => format!("The stop of the fleet {fleet} is lifted."),
        StopScope::All => format!(
            "The fleet {fleet} is stopped: no device begins an update until `pilotfish fleet go`."
        ),
        StopScope::References(_) => format!(
            "The fleet {fleet} is stopped for {}: no device updates them until `pilotfish fleet go`.",
            stop_scope(stop)
        ),
    };
    let before = before.map(|before| format!("Before: {}\n", stopped(before)));
    format!("{now}\n{}", before.unwrap_or_default())
}

/// The person and the machine: `ann@desk`.
fn operator_name(environment: &Environment, host: &str) -> String {
    let user = USERS.iter().filter_map(|name| environment.variables.get(*name));
    let user = user.map(String::as_str).find(|user| !user.is_empty());
    match (user, host) {
        (Some(user), "") => user.to_owned(),
        (Some(user), host) => format!("{user}@{host}"),
        (None, "") => "an operator".to_owned(),
        (None, host) => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_person_is_who_called_sudo() {
        for (variables, host, expected) in [
            (vec![("USER", "root"), ("SUDO_USER", "ann")], "desk", "ann@desk"),
            (vec![("USER", "bob"), ("SUDO_USER", "")], "desk", "bob@desk"),
            (vec![("LOGNAME", "bob")], "", "bob"),
            (vec![], "desk", "desk"),
        ] {
            let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let environment =
                Environment { variables: variables.collect(), ..Environment::default() };
            assert_eq!(operator_name(&environment, host), expected);
        }
    }

    #[test]
    fn a_stop_says_what_it_takes_the_place_of() {
        let stop =
            |scope| FleetStop { scope, why: Some("market day".into()), by: Some("a".into()) };
        let some = StopScope::References(vec!["shop/till:1".parse().expect("a reference")]);
        for (now, before, expected) in [
            (StopScope::Nothing, None, "The fleet home was not stopped.\n"),
            (
                StopScope::Nothing,
                Some(StopScope::All),
                "The stop of the fleet home is lifted.\nBefore: stopped by a: everything (market day)\n",
            ),
            (
                some,
                None,
                "The fleet home is stopped for docker.io/shop/till:1: no device updates them until `pilotfish fleet go`.\n",
            ),
        ] {
            assert_eq!(told("home", &stop(now), before.map(stop).as_ref()), expected);
        }
    }
}
