//! The place of a device in its fleet: another one for each digest, so that no device is always the
//! first to try a new image.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::core::docker::reference::Digest;
use crate::core::fleet::names::DeviceName;

/// Largest fleet. A device remembers at most one verdict for each device and reference.
pub const FLEET_SIZE_MAX: u32 = 100_000;

/// Requests that all devices together send to a registry in one second after an announcement.
const HEADS_PER_SECOND: u64 = 50;

/// Why a device has no place in its fleet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    #[error("the fleet has no size: set fleet.size to the number of its devices")]
    NoSize,
    #[error("fleet.size is {0}: set at most {FLEET_SIZE_MAX}")]
    TooLarge(u32),
    #[error("fleet.index is {index}, but the fleet has {size} devices: set 0 to {}", .size - 1)]
    Index { index: u32, size: u32 },
}

/// How the other names of the fleet look: the same text, and a number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape {
    text: String,
    /// What is added to the number of a name to get its index. Names may count from 1.
    difference: i64,
}

/// The devices of a fleet, as one of them knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    size: u32,
    name: DeviceName,
    index: Option<u32>,
    shape: Option<Shape>,
}

impl Roster {
    /// The roster of a device. Its index is the configured one, or the number at the end of its
    /// name. Without both its place follows from a hash of its name.
    ///
    /// The hash is that of the name, not that of the machine, because other devices know only the
    /// name and must be able to tell whether a verdict is one of a canary.
    ///
    /// # Errors
    /// The size or the index is not possible.
    pub fn new(size: u32, name: DeviceName, index: Option<u32>) -> Result<Self, RosterError> {
        if size == 0 {
            return Err(RosterError::NoSize);
        }
        if size > FLEET_SIZE_MAX {
            return Err(RosterError::TooLarge(size));
        }
        if let Some(index) = index.filter(|index| *index >= size) {
            return Err(RosterError::Index { index, size });
        }
        let number = name.number().map(|(text, number)| (text.to_owned(), number));
        let own = index.or(number.as_ref().map(|(_, number)| *number));
        let shape = number.zip(own).map(|((text, number), own)| Shape {
            text,
            difference: i64::from(own) - i64::from(number),
        });
        Ok(Self { size, name, index: own, shape })
    }

    /// The number of devices.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The device's own index; `None` if its place follows from a hash.
    #[must_use]
    pub const fn index(&self) -> Option<u32> {
        self.index
    }

    /// Whether other devices can tell the place of this one by its name, and this one theirs.
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        self.shape.is_some()
    }

    /// What is wrong with the number of this device. Its own place is taken modulo the size, which
    /// only skews the shares; but other devices do not count its verdicts. The size itself is no
    /// wrong number, because names may count from 1.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let (index, size) = (self.index?, self.size);
        (index > size).then(|| {
            format!(
                "the name of this device has the number {index}, but the fleet has {size} \
                 devices: set fleet.index to a number from 0 to {}, or raise fleet.size",
                size - 1
            )
        })
    }

    /// The places of all devices for a digest.
    #[must_use]
    pub fn ranking(&self, digest: &Digest) -> Ranking {
        Ranking::new(self.size, digest.as_str())
    }

    /// The device's own place.
    #[must_use]
    pub fn own_place(&self, ranking: &Ranking) -> FleetPlace {
        self.index.map_or_else(|| ranking.by_name(&self.name), |index| ranking.by_index(index))
    }

    /// The place of another device, by its name. `None` for a name that no device of the fleet has:
    /// a bridge or a dashboard may have the right to write a verdict, but has no vote.
    ///
    /// Names may count from 0 or from 1: the number that equals the size has the place of 0. One of
    /// the two has no device.
    #[must_use]
    pub fn place_of(&self, name: &DeviceName, ranking: &Ranking) -> Option<FleetPlace> {
        if self.index.is_none() {
            return Some(ranking.by_name(name));
        }
        let (shape, (text, number)) = (self.shape.as_ref()?, name.number()?);
        let index = u32::try_from(i64::from(number) + shape.difference).ok()?;
        let counts_from_1 = index == self.size && shape.difference == 0;
        let is_one = text == shape.text && (index < self.size || counts_from_1);
        is_one.then(|| ranking.by_index(index))
    }

    /// The time over which the looks of all devices are spread after an announcement: 20 ms for 2
    /// devices, 200 s for 10,000.
    #[must_use]
    pub const fn spread(&self) -> Duration {
        Duration::from_millis((self.size as u64 - 1) * 1000 / HEADS_PER_SECOND)
    }
}

/// A place: `part / of` of the fleet comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetPlace {
    /// From 0 up to, but without, the size of the fleet.
    pub rank: u32,
    part: u64,
    of: u64,
}

impl FleetPlace {
    /// This place's share of a time: zero, or less than all of it.
    #[must_use]
    pub fn share_of(self, span: Duration) -> Duration {
        let nanos = span.as_nanos() * u128::from(self.part) / u128::from(self.of);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The place as a fraction with its denominator.
    #[must_use]
    pub const fn fraction(self) -> (u64, u64) {
        (self.part, self.of)
    }
}

/// The places of all devices for one digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    size: u32,
    factor: u32,
    offset: u32,
    /// The text of the digest.
    text: String,
}

impl Ranking {
    /// The places for a text, which is that of a digest.
    ///
    /// `rank = (a · index + b) mod size`. `a` has no divisor in common with the size, so each rank
    /// is taken exactly once; it is near the golden ratio, so neighbours get distant ranks. `b` is
    /// the first 8 bytes of the SHA-256 digest of the text, so each text has another first device.
    #[must_use]
    pub fn new(size: u32, text: &str) -> Self {
        let size = size.clamp(1, FLEET_SIZE_MAX);
        let offset = u32::try_from(first_8_bytes(&[text]) % u64::from(size)).unwrap_or(0);
        Self { size, factor: factor(size), offset, text: text.to_owned() }
    }

    /// The place of a device with an index.
    #[must_use]
    pub fn by_index(&self, index: u32) -> FleetPlace {
        let size = u64::from(self.size);
        let rank = (u64::from(self.factor) * u64::from(index) + u64::from(self.offset)) % size;
        FleetPlace { rank: u32::try_from(rank).unwrap_or(0), part: rank, of: size }
    }

    /// The place of a device without an index. Such places are random: a share of them has a few
    /// devices more or less than planned.
    #[must_use]
    pub fn by_name(&self, name: &DeviceName) -> FleetPlace {
        // 32 bits of the hash, so that products with times fit into 128 bits.
        let part = first_8_bytes(&[name.as_str(), "\n", &self.text]) >> 32;
        let rank = (part * u64::from(self.size)) >> 32;
        FleetPlace { rank: u32::try_from(rank).unwrap_or(0), part, of: 1 << 32 }
    }
}

/// The first 8 bytes of the SHA-256 digest of the texts, big endian.
fn first_8_bytes(texts: &[&str]) -> u64 {
    let hash = texts.iter().fold(Sha256::new(), |hash, text| hash.chain_update(text)).finalize();
    hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// The nearest whole number from 0.618 · size upwards that has no divisor in common with the size.
fn factor(size: u32) -> u32 {
    let begin = (u64::from(size) * 618).div_ceil(1000);
    let begin = u32::try_from(begin).unwrap_or(size);
    (begin..=begin + size).find(|factor| divisor(*factor, size) == 1).unwrap_or(1)
}

/// The greatest common divisor.
const fn divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
