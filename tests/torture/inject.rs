//! Injects the faults that the proxy does not inject itself.

use std::time::Instant;

use rustix::process::{Signal, kill_process};

use crate::disk::StateDisk;
use crate::fault::{Fault, Place, PlannedFault};
use crate::rig::{AGENT_TIMEOUT, LOOK_INTERVAL, Rig};
use crate::support::agent::Running;

impl Rig {
    /// Runs the agent to its end, and injects the faults that the proxy leaves to this module.
    /// Returns whether a fault was injected.
    pub fn run_with_fault(&mut self, arguments: &[&str], aim: &PlannedFault) -> bool {
        let mut agent = self.pi.agent.spawn(&self.pi.engine, arguments);
        let begun = Instant::now();
        let mut is_injected = false;
        while agent.is_running() {
            assert!(begun.elapsed() < AGENT_TIMEOUT, "the agent does not end:\n{}", agent.log());
            let release = self.proxy.reached(LOOK_INTERVAL);
            let is_time = matches!(aim.place, Place::After(time) if begun.elapsed() >= time);
            if release.is_none() && (!is_time || is_injected) {
                continue;
            }
            is_injected = true;
            self.log = agent.all_output();
            match self.inject(aim.fault, agent) {
                Some(lives) => agent = lives,
                None => return true,
            }
        }
        self.log = agent.all_output();
        is_injected
    }

    /// Returns the agent if it is still running.
    fn inject(&mut self, fault: Fault, agent: Running) -> Option<Running> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let engine = &self.pi.engine;
        match fault {
            Fault::Kill => {
                agent.kill();
                return None;
            }
            Fault::Cut => {
                self.cut([agent]);
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
                // If the agent has just ended by itself, there is no process to signal.
                let _ = kill_process(agent.pid(), Signal::TERM);
                self.terminated_at = Some(Instant::now());
            }
            Fault::RegistryGone => self.pi.registry.stop(),
            Fault::State(failure) => self.state_disk().fail(failure),
            Fault::DiskFull => self.disk.as_ref().expect("a machine with a small disk").fill(),
            Fault::Person(user_action) => self.act(user_action),
            Fault::DropReply
            | Fault::Delay
            | Fault::Hang
            | Fault::StartsFail
            | Fault::Answer(_) => {}
        }
        Some(agent)
    }

    /// Cuts the power, and starts the machine again without these processes.
    pub fn cut(&mut self, processes: impl IntoIterator<Item = Running>) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let disk = self.disk.as_mut().expect("a machine with a lossy disk");
        disk.cut();
        processes.into_iter().for_each(|process| _ = process.kill());
        self.pi.engine.cut();
        disk.mount_again();
        self.pi.engine.start_again(&flags);
    }

    /// Repairs what failed while the agent ran.
    pub fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::RegistryGone => {
                self.pi.registry.stop();
                self.pi.registry.start_again(&self.pi.engine);
            }
            Fault::State(_) => self.state_disk().mend(),
            Fault::StartsFail => {
                // One more agent that tries and fails: it must leave open what it cannot finish.
                self.pi.agent.run(&self.pi.engine, &["recover"]);
                self.proxy.let_starts_pass();
            }
            Fault::DiskFull => self.disk.as_ref().expect("a machine with a small disk").make_room(),
            _ => {}
        }
    }

    fn state_disk(&self) -> &StateDisk {
        self.state_disk.as_ref().expect("a machine with a disk for the state")
    }
}
