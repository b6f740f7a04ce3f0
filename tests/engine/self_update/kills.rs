//! Whatever strikes whenever, exactly one agent is left: `make torture`, as often as
//! `TORTURE_SELF_UPDATES` says. `TORTURE_SEED`, which is printed, begins the same story again.

use std::env;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::agent_container::{AGENT, FLAGS, HELPER, Home};
use crate::seed::Seed;
use crate::support::engine::Engine;

const LIVE_RESTORE: &str = "--live-restore";

/// An update of the agent by itself takes about four seconds, and its way back three more.
const MOMENTS: Duration = Duration::from_secs(7);

/// How long an agent may hold a socket at which nobody listens any more, before it sees that.
const SOCKET_SEEN: Duration = Duration::from_secs(32);

/// What can happen to an update.
#[derive(Debug, Clone, Copy)]
enum Strike {
    KillHelper,
    KillAgent,
    KillEngine,
    StopEngine,
    CutPower,
}

const STRIKES: [Strike; 5] = [
    Strike::KillHelper,
    Strike::KillAgent,
    Strike::KillEngine,
    Strike::StopEngine,
    Strike::CutPower,
];

impl Strike {
    fn renews_the_socket(self) -> bool {
        matches!(self, Self::KillEngine | Self::StopEngine)
    }

    fn strike(self, home: &Home, flags: &[&str]) {
        let ends = |end: fn(&Engine)| {
            end(&home.pi.engine);
            home.pi.engine.start_again(flags);
        };
        match self {
            Self::KillHelper => _ = home.kill(HELPER),
            Self::KillAgent => _ = home.kill(AGENT),
            Self::KillEngine => ends(Engine::kill),
            Self::StopEngine => ends(Engine::stop),
            Self::CutPower => ends(Engine::cut),
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// Strikes as many updates of one agent; every fourth of them is to a release that is no good.
fn struck(flags: &[&str], seed: &mut Seed, times: u64) {
    let home = Home::with(flags, &["--network=host"]);
    let flags = [&FLAGS, flags].concat();
    for time in 0..times {
        let is_bad = seed.one_in(4);
        let variable = if is_bad { "DOCKER_HOST=unix:///nowhere.sock" } else { "GOOD=yes" };
        let before = home.pi.image(AGENT);
        let next = home.publish(&format!("{variable} {time}"));
        home.hand_over();
        let strike = seed.pick(&STRIKES);
        let moment = MOMENTS.mul_f64(seed.below(1000) as f64 / 1000.0);
        println!("{time}: {strike:?} after {moment:.1?}, {variable}");
        sleep(moment);

        strike.strike(&home, &flags);

        if flags.contains(&LIVE_RESTORE) && strike.renews_the_socket() {
            sleep(SOCKET_SEEN);
        }
        home.wait_until_alone();
        // Nobody can tell an agent that is killed on trial from one that falls over.
        let is_killed = matches!(strike, Strike::KillAgent);
        if is_bad || is_killed && home.check()["reason"] == "refused_digest" {
            assert_eq!(home.pi.image(AGENT), before, "a refused release serves");
            continue;
        }
        home.assert_settles_on(&next);
    }
}

#[ignore = "takes half an hour: make torture"]
#[test]
fn an_agent_that_is_struck_while_it_updates_itself_is_one_agent_afterwards() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let start = number("TORTURE_SEED", now);
    let times = number("TORTURE_SELF_UPDATES", 60);
    println!("TORTURE_SEED={start}");
    let mut seed = Seed::new(start);
    struck(&[LIVE_RESTORE], &mut seed, times / 2);
    struck(&[], &mut seed, times.div_ceil(2));
}
