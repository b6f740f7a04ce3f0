//! From bytes to packets. Every byte here may come from a hostile broker.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rumqttc::mqttbytes::{Error, QoS};
use rumqttc::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Packet, Publish, SubscribeReasonCode,
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::broker::Message;
use crate::broker::loss::Loss;
use crate::broker::reason_code::ReasonCode;
use crate::broker::wire::PACKET_BYTES_MAX;

/// Bytes that are read at once if no packet is begun, and that are kept between packets.
const READ_BYTES: usize = 2048;

/// The first bytes of a CONNACK of MQTT 3.1.1. In MQTT 5 it has at least three more bytes.
const OLD_CONNACK: [u8; 2] = [0x20, 0x02];

/// The first bytes of a DISCONNECT whose only content is its reason. It may leave out the length of
/// its properties (MQTT 5, 3.14.2.2.1), as Mosquitto does, but the library then fails.
const SHORT_DISCONNECT: [u8; 2] = [0xE0, 0x01];

/// Publications that may be unanswered if the broker does not limit them (MQTT 5, 3.2.2.3.3).
const RECEIVE_MAXIMUM_DEFAULT: u16 = u16::MAX;

/// A packet of the broker, as far as the connection needs it.
#[derive(Debug)]
pub(in crate::broker) enum IncomingPacket {
    Accepted(Agreement),
    Rejected(ReasonCode),
    /// A message, and the packet identifier that acknowledges it.
    Message(Message, Option<u16>),
    Published(u16, ReasonCode),
    /// One answer for each filter.
    Subscribed(u16, Vec<ReasonCode>),
    Pong,
    Ended(ReasonCode),
}

/// What the broker said in CONNACK (MQTT 5, 3.2.2.3).
#[derive(Debug, Clone, Copy)]
pub(in crate::broker) struct Agreement {
    /// The keep-alive that the broker demands; zero switches it off.
    pub keep_alive: Option<Duration>,
    /// The largest packet that the broker accepts.
    pub packet_bytes_max: Option<u32>,
    /// How many publications may be unanswered.
    pub receive_max: u16,
    pub has_retain: bool,
    /// Whether it accepts QoS 1.
    pub has_acknowledgements: bool,
}

/// The bytes from the broker.
#[derive(Debug)]
pub(in crate::broker) struct Reader<R> {
    stream: R,
    buffer: BytesMut,
    /// What the begun packet still lacks, at least.
    missing: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from a stream.
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::new(), missing: 0 }
    }

    /// Reads what is there, or waits. It may be cancelled at any time.
    pub async fn read(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * READ_BYTES {
            // One large packet must not keep its memory until the end of the connection.
            self.buffer = BytesMut::new();
        }
        // `missing` is bounded: the library refuses a too large packet by its header.
        self.buffer.reserve(self.missing.max(READ_BYTES));
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next whole packet; `None` if more bytes are needed.
    pub fn next(&mut self) -> Result<Option<IncomingPacket>, Loss> {
        if self.buffer.starts_with(&OLD_CONNACK) {
            return Err(Loss::OldProtocol);
        }
        if let [first, second, reason, ..] = *self.buffer
            && [first, second] == SHORT_DISCONNECT
        {
            self.buffer.advance(SHORT_DISCONNECT.len() + 1);
            return Ok(Some(IncomingPacket::Ended(ReasonCode(reason))));
        }
        let before = self.buffer.len();
        match Packet::read(&mut self.buffer, Some(PACKET_BYTES_MAX)) {
            Ok(packet) => understood(packet).map(Some),
            // The library gives the same error for a length inside a packet that is cut off. Then
            // it has already taken the packet out of the buffer.
            Err(Error::InsufficientBytes(missing)) if self.buffer.len() == before => {
                self.missing = missing;
                Ok(None)
            }
            Err(Error::PayloadSizeLimitExceeded { .. }) => {
                Err(Loss::PacketTooLarge { limit: PACKET_BYTES_MAX })
            }
            Err(error) => Err(Loss::Malformed(what_is_wrong(&error))),
        }
    }
}

/// The library's errors hold bytes of the packet. These words do not.
fn what_is_wrong(error: &Error) -> &'static str {
    match error {
        Error::TopicNotUtf8 { .. } | Error::PayloadNotUtf8(_) => "a text that is not UTF-8",
        Error::MalformedRemainingLength => "a length that has no end",
        Error::BoundaryCrossed(_) | Error::InsufficientBytes(_) => "a field longer than its packet",
        Error::InvalidPacketType(_) => "an unknown kind of packet",
        Error::InvalidPropertyType(_) => "an unknown property",
        Error::PacketIdZero => "a packet identifier of zero",
        Error::InvalidConnectReturnCode(_)
        | Error::InvalidReason(_)
        | Error::InvalidSubscribeReasonCode(_) => "an unknown reason code",
        _ => "a malformed packet",
    }
}

fn understood(packet: Packet) -> Result<IncomingPacket, Loss> {
    Ok(match packet {
        Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, properties, .. }) => {
            IncomingPacket::Accepted(agreement(properties.as_ref())?)
        }
        Packet::ConnAck(refusal) => IncomingPacket::Rejected(connect_reason(refusal.code)),
        Packet::Publish(publish) => message(publish)?,
        Packet::PubAck(ack) => IncomingPacket::Published(ack.pkid, ReasonCode(ack.reason as u8)),
        Packet::SubAck(ack) => {
            let reasons = ack.return_codes.into_iter().map(subscribe_reason);
            IncomingPacket::Subscribed(ack.pkid, reasons.collect())
        }
        Packet::PingResp => IncomingPacket::Pong,
        Packet::Disconnect(end) => IncomingPacket::Ended(ReasonCode(end.reason_code as u8)),
        _ => return Err(Loss::Malformed("a packet that no broker sends to this client")),
    })
}

fn agreement(properties: Option<&ConnAckProperties>) -> Result<Agreement, Loss> {
    let get = |field: fn(&ConnAckProperties) -> Option<u8>| properties.and_then(field);
    if properties.is_some_and(|it| it.receive_max == Some(0) || it.max_packet_size == Some(0)) {
        return Err(Loss::Malformed("a limit of zero"));
    }
    let seconds = properties.and_then(|it| it.server_keep_alive);
    Ok(Agreement {
        keep_alive: seconds.map(|seconds| Duration::from_secs(seconds.into())),
        packet_bytes_max: properties.and_then(|it| it.max_packet_size),
        receive_max: properties.and_then(|it| it.receive_max).unwrap_or(RECEIVE_MAXIMUM_DEFAULT),
        has_retain: get(|it| it.retain_available) != Some(0),
        has_acknowledgements: get(|it| it.max_qos) != Some(0),
    })
}

fn message(publish: Publish) -> Result<IncomingPacket, Loss> {
    // CONNECT allows no topic alias (MQTT 5, 3.3.2.3.4), and without one a topic has letters.
    let has_alias = publish.properties.is_some_and(|it| it.topic_alias.is_some());
    if has_alias || publish.topic.is_empty() {
        return Err(Loss::Malformed("a topic alias, which was not agreed"));
    }
    let acknowledged = match publish.qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce => Some(publish.pkid),
        QoS::ExactlyOnce => {
            return Err(Loss::Malformed("a message with QoS 2, which was not asked"));
        }
    };
    // The library has checked that it is UTF-8. The copies give the read buffer back.
    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
    let payload = publish.payload.to_vec();
    Ok(IncomingPacket::Message(
        Message { topic, payload, is_retained: publish.retain },
        acknowledged,
    ))
}

/// The byte of a CONNACK (MQTT 5, 3.2.2.2). The library has names for it.
fn connect_reason(code: ConnectReturnCode) -> ReasonCode {
    use ConnectReturnCode as Code;
    ReasonCode(match code {
        Code::Success => 0x00,
        Code::MalformedPacket => 0x81,
        Code::ProtocolError => 0x82,
        Code::ImplementationSpecificError => 0x83,
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => 0x84,
        Code::BadClientId | Code::ClientIdentifierNotValid => 0x85,
        Code::BadUserNamePassword => 0x86,
        Code::NotAuthorized => 0x87,
        Code::ServiceUnavailable | Code::ServerUnavailable => 0x88,
        Code::ServerBusy => 0x89,
        Code::Banned => 0x8A,
        Code::BadAuthenticationMethod => 0x8C,
        Code::TopicNameInvalid => 0x90,
        Code::PacketTooLarge => 0x95,
        Code::QuotaExceeded => 0x97,
        Code::PayloadFormatInvalid => 0x99,
        Code::RetainNotSupported => 0x9A,
        Code::QoSNotSupported => 0x9B,
        Code::UseAnotherServer => 0x9C,
        Code::ServerMoved => 0x9D,
        Code::ConnectionRateExceeded => 0x9F,
        Code::UnspecifiedError => 0x80,
    })
}

/// The byte of a SUBACK (MQTT 5, 3.9.3).
fn subscribe_reason(code: SubscribeReasonCode) -> ReasonCode {
    use SubscribeReasonCode as Code;
    ReasonCode(match code {
        Code::Success(qos) => qos as u8,
        Code::Failure | Code::Unspecified => 0x80,
        Code::ImplementationSpecific => 0x83,
        Code::NotAuthorized => 0x87,
        Code::TopicFilterInvalid => 0x8F,
        Code::PkidInUse => 0x91,
        Code::QuotaExceeded => 0x97,
        Code::SharedSubscriptionsNotSupported => 0x9E,
        Code::SubscriptionIdNotSupported => 0xA1,
        Code::WildcardSubscriptionsNotSupported => 0xA2,
    })
}
