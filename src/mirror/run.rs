//! One run of a rule: what it works with.

use crate::core::mirror::rule::MirrorRule;
use crate::core::mirror::scope::RunScope;
use crate::mirror::listener::{MirrorEvent, MirrorListener};
use crate::mirror::turn::Turns;
use crate::registry::transfer::Flow;

/// One run of a rule.
pub struct RuleRun<'a, T> {
    pub registry: &'a T,
    pub rule: &'a MirrorRule,
    pub scope: RunScope,
    /// Counts the bytes, and limits them.
    pub flow: Flow,
    /// When blobs may move.
    pub turns: Turns,
    /// Another repository of the target registry, from which blobs may be mounted. A registry that
    /// does not mount begins an upload, so only one is tried.
    pub mount: Option<String>,
    pub listener: &'a dyn MirrorListener,
}

impl<'a, T> RuleRun<'a, T> {
    /// A run that nothing else waits for, and that nobody hears.
    #[must_use]
    pub fn new(registry: &'a T, rule: &'a MirrorRule) -> Self {
        Self {
            registry,
            rule,
            scope: RunScope::ALL,
            flow: Flow { rate: rule.rate, ..Flow::default() },
            turns: Turns::new(None),
            mount: None,
            listener: &Unheard,
        }
    }

    pub(super) fn tell(&self, event: &MirrorEvent<'_>) {
        self.listener.event(self.rule, event);
    }
}

/// Hears nothing.
struct Unheard;

impl MirrorListener for Unheard {
    fn event(&self, _rule: &MirrorRule, _event: &MirrorEvent<'_>) {}
}
