//! The last check before anything is stopped: whether the containers could start again.

use super::StepError;
use super::inspector::Inspector;
use crate::core::decide::start_requirements;
use crate::engine::Containers;
use crate::ports::Ports;
use crate::start_requirements::look;

/// Checks the start requirements of the decision again, because a pull, or hours, lie between. The
/// Engine also tries the mounts of the new containers, which shows whether they fit the new image:
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
        // If the container is gone, the next step reports it.
        if !can_mount && inspector.container(new).await?.is_some() {
            let detail = "the Engine cannot mount what the new container mounts: a source is \
                          missing, or a file and a directory meet; nothing was stopped";
            return refuse(number, detail);
        }
    }
    Ok(())
}
