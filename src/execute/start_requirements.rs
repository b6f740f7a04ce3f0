//! The last look before anything is stopped: whether it could be started again.

use super::StepError;
use super::inspector::Inspector;
use crate::core::decide::start_requirements;
use crate::engine::Engine;
use crate::ports::Ports;
use crate::start_requirements::look;

/// What the decision looked at is looked at again: a pull lies in between, or hours. And the Engine
/// tries what the new containers mount, which also shows whether the new image has a place for it:
/// a file cannot be mounted over a directory. `new` are the IDs of the new containers.
pub(super) async fn check_start_requirements<P: Ports>(
    ports: &P,
    inspector: Inspector<'_, P::Engine>,
    new: &[String],
) -> Result<(), StepError> {
    let refuse = |number, detail: &str| {
        Err(StepError::surroundings(inspector.plan().naming(number, detail)))
    };
    for number in inspector.members() {
        let original = inspector.header().original_of(number);
        if let Err(no) = start_requirements::met("", &look(ports, original).await) {
            return refuse(number, &no.detail);
        }
    }
    for (number, new) in inspector.members().into_iter().zip(new) {
        let can_mount = ports.engine().can_mount(new).await?;
        // If it is gone, the next step says so.
        if !can_mount && inspector.container(new).await?.is_some() {
            let detail = "the Engine cannot mount what the new container mounts: a source is \
                          missing, or a file and a directory meet; nothing was stopped";
            return refuse(number, detail);
        }
    }
    Ok(())
}
