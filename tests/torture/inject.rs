//! Carries out on a machine of the bench what the proxy does not do itself.

use std::time::Instant;

use rustix::process::{Signal, kill_process};

use crate::disk::StateDisk;
use crate::fault::{Aim, Fault, Place};
use crate::rig::{AGENT_TIMEOUT, LOOK_INTERVAL, Rig};
use crate::support::agent::Running;

impl Rig {
    /// Runs the agent to its end, and carries out what the proxy leaves to the bench. Tells whether
    /// that was asked for.
    pub fn run_struck(&mut self, arguments: &[&str], aim: &Aim) -> bool {
        let mut agent = self.pi.agent.spawn(&self.pi.engine, arguments);
        let begun = Instant::now();
        let mut is_struck = false;
        while agent.is_running() {
            assert!(begun.elapsed() < AGENT_TIMEOUT, "the agent does not end:\n{}", agent.log());
            let release = self.proxy.struck(LOOK_INTERVAL);
            let is_time = matches!(aim.place, Place::After(time) if begun.elapsed() >= time);
            if release.is_none() && (!is_time || is_struck) {
                continue;
            }
            is_struck = true;
            self.log = agent.said();
            match self.carry_out(aim.fault, agent) {
                Some(lives) => agent = lives,
                None => return true,
            }
        }
        self.log = agent.said();
        is_struck
    }

    /// Gives the agent back if it lives on.
    fn carry_out(&mut self, fault: Fault, agent: Running) -> Option<Running> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let engine = &self.pi.engine;
        match fault {
            Fault::Kill => {
                agent.kill();
                return None;
            }
            Fault::Cut => {
                let disk = self.disk.as_mut().expect("a bench with a disk that can be cut");
                disk.cut();
                agent.kill();
                engine.cut();
                disk.mount_again();
                engine.start_again(&flags);
                return None;
            }
            Fault::RestartEngine => {
                engine.stop();
                engine.start_again(&flags);
            }
            Fault::KillEngine => {
                engine.kill();
                engine.start_again(&flags);
            }
            Fault::Terminate => {
                // Of an agent that has just ended by itself there is nobody to signal.
                let _ = kill_process(agent.pid(), Signal::TERM);
                self.terminated_at = Some(Instant::now());
            }
            Fault::RegistryGone => self.pi.registry.stop(),
            Fault::State(failure) => self.state_disk().fail(failure),
            Fault::DiskFull => self.disk.as_ref().expect("a bench with a small disk").fill(),
            Fault::Person(user_action) => self.meddle(user_action),
            Fault::DropReply
            | Fault::Delay
            | Fault::Hang
            | Fault::StartsFail
            | Fault::Answer(_) => {}
        }
        Some(agent)
    }

    /// What failed for as long as the agent ran is well again.
    pub fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::RegistryGone => {
                self.pi.registry.stop();
                self.pi.registry.start_again(&self.pi.engine);
            }
            Fault::State(_) => self.state_disk().mend(),
            Fault::StartsFail => {
                // One more agent that tries in vain: it must leave open what it cannot end.
                self.pi.agent.run(&self.pi.engine, &["recover"]);
                self.proxy.let_starts_pass();
            }
            Fault::DiskFull => self.disk.as_ref().expect("a bench with a small disk").make_room(),
            _ => {}
        }
    }

    fn state_disk(&self) -> &StateDisk {
        self.state_disk.as_ref().expect("a bench with a disk for the state")
    }
}
