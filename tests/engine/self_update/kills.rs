//! After a fault at any moment, exactly one agent is left: `make torture`; `TORTURE_SELF_UPDATES`
//! sets the number of faults. `TORTURE_SEED`, which is printed, repeats a run.

use std::env;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::agent_container::{AGENT, AgentInContainer, FLAGS, HELPER};
use crate::seed::Seed;
use crate::support::engine::Engine;

const LIVE_RESTORE: &str = "--live-restore";

/// A self-update takes about four seconds, and its rollback three more.
const UPDATE_TIME: Duration = Duration::from_secs(7);

/// How long an agent may hold a dead socket before it notices.
const SOCKET_SEEN: Duration = Duration::from_secs(32);

/// A fault during an update.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KillHelper,
    KillAgent,
    KillEngine,
    StopEngine,
    CutPower,
}

const FAULTS: [Fault; 5] =
    [Fault::KillHelper, Fault::KillAgent, Fault::KillEngine, Fault::StopEngine, Fault::CutPower];

impl Fault {
    fn renews_the_socket(self) -> bool {
        matches!(self, Self::KillEngine | Self::StopEngine)
    }

    fn inject(self, home: &AgentInContainer, flags: &[&str]) {
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

/// One fault during each of so many self-updates; every fourth update is to a bad release.
fn inject_faults(flags: &[&str], seed: &mut Seed, times: u64) {
    let home = AgentInContainer::with(flags, &["--network=host"]);
    let flags = [&FLAGS, flags].concat();
    for time in 0..times {
        let is_bad = seed.one_in(4);
        let variable = if is_bad { "DOCKER_HOST=unix:///nowhere.sock" } else { "GOOD=yes" };
        let before = home.pi.image(AGENT);
        let next = home.publish(&format!("{variable} {time}"));
        home.start_self_update();
        let fault = seed.pick(&FAULTS);
        let moment = UPDATE_TIME.mul_f64(seed.below(1000) as f64 / 1000.0);
        println!("{time}: {fault:?} after {moment:.1?}, {variable}");
        sleep(moment);

        fault.inject(&home, &flags);

        if flags.contains(&LIVE_RESTORE) && fault.renews_the_socket() {
            sleep(SOCKET_SEEN);
        }
        home.wait_until_alone();
        // An agent that is killed during verification looks like one that crashes.
        let is_killed = matches!(fault, Fault::KillAgent);
        if is_bad || is_killed && home.check()["reason"] == "refused_digest" {
            assert_eq!(home.pi.image(AGENT), before, "a refused release runs");
            continue;
        }
        home.assert_settles_on(&next);
    }
}

#[ignore = "takes half an hour: make torture"]
#[test]
fn a_fault_during_a_self_update_leaves_exactly_one_agent() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let start = number("TORTURE_SEED", now);
    let times = number("TORTURE_SELF_UPDATES", 60);
    println!("TORTURE_SEED={start}");
    let mut seed = Seed::new(start);
    inject_faults(&[LIVE_RESTORE], &mut seed, times / 2);
    inject_faults(&[], &mut seed, times.div_ceil(2));
}
