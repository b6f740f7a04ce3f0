//! Safety checks that no force overrides.

use super::{No, disk_space};
use crate::core::decide::observation::Readiness;
use crate::core::decide::offer::{Compression, Offer};
use crate::core::decide::reason::Reason;
use crate::core::docker::{inspect, manifest};

/// Safety checks that no force overrides.
pub(super) fn safe(readiness: &Readiness, offer: &Offer) -> Result<(), No> {
    declared("", &readiness.declared_files)?;
    if let Some(missing) = disk_space::missing(readiness, offer) {
        return Err(No::new(Reason::DiskFull, missing));
    }
    probed("", readiness.probe.as_ref())?;
    let needed = inspect::platform(&readiness.image);
    if !manifest::fits(&needed, &offer.platform) {
        let detail = format!("the image is for {}, this needs {needed}", offer.platform);
        return Err(No::new(Reason::PlatformMissing, detail));
    }
    unpacked(readiness, offer)
}

/// A layer that the Engine cannot unpack is not downloaded first.
fn unpacked(readiness: &Readiness, offer: &Offer) -> Result<(), No> {
    if readiness.is_pulled {
        return Ok(());
    }
    let has = |packing: Compression| offer.layers.iter().any(|layer| layer.packing == packing);
    let detail = match () {
        () if has(Compression::Encrypted) => "a layer of the image is encrypted",
        () if has(Compression::Zstd) && !readiness.unpacks_zstd => {
            "a layer of the image is packed with zstd, which Docker unpacks from Engine 23 on"
        }
        () => return Ok(()),
    };
    Err(No::new(Reason::LayerUnsupported, detail))
}

/// Files that Compose copied into a container would be lost. `of` names the container if it is not
/// the updated one, and ends in a colon.
pub(super) fn declared(of: &str, files: &[String]) -> Result<(), No> {
    let Some(file) = files.first() else { return Ok(()) };
    let detail = format!(
        "{of}{file} stands in the container's own layer, as an inline config or secret of Compose does"
    );
    Err(No::new(Reason::CannotRecreate, detail))
}

/// A probe that fails on the running container cannot judge the new one.
pub(super) fn probed(of: &str, probe: Option<&Result<(), String>>) -> Result<(), No> {
    let Some(Err(detail)) = probe else { return Ok(()) };
    let detail = format!("{of}the probe fails on the running container: {detail}");
    Err(No::new(Reason::ProbeFailing, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::decide::tests::{observation, offer};

    #[test]
    fn a_layer_that_the_engine_cannot_unpack_is_not_fetched() {
        let readiness = observation("").readiness.expect("it is there");
        let describe = |packing: Compression, unpacks_zstd: bool, is_pulled: bool| {
            let readiness = Readiness { unpacks_zstd, is_pulled, ..(*readiness).clone() };
            let mut offer = offer("two");
            offer.layers[0].packing = packing;
            unpacked(&readiness, &offer).map_err(|no| no.reason)
        };
        let unsupported = Err(Reason::LayerUnsupported);
        assert_eq!(describe(Compression::Common, false, false), Ok(()));
        assert_eq!(describe(Compression::Zstd, true, false), Ok(()));
        assert_eq!(describe(Compression::Zstd, false, false), unsupported);
        assert_eq!(describe(Compression::Encrypted, true, false), unsupported);
        assert_eq!(describe(Compression::Zstd, false, true), Ok(()), "it is here already");
    }
}
