//! Packets to bytes and back. The library has the format of MQTT 5; only the files of this module
//! name it, so that another library can take its place.

mod incoming;
mod outgoing;

pub(super) use incoming::{Agreement, IncomingPacket, Reader};
pub(super) use outgoing::Writer;

/// Largest packet that is accepted, in bytes. The broker learns it from CONNECT, and what Pilotfish
/// receives has some hundreds of bytes.
pub(super) const PACKET_BYTES_MAX: u32 = 64 * 1024;

/// Most messages that the broker may send before the first one is acknowledged.
const RECEIVED_UNANSWERED_MAX: u16 = 8;
