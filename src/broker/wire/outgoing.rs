//! From packets to bytes.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::{Error, QoS};
use rumqttc::{
    Connect, ConnectAuth, ConnectProperties, Disconnect, DisconnectProperties,
    DisconnectReasonCode, LastWillProperties, Packet, PubAck, Publish, PublishProperties,
    Subscribe, SubscribeFilter,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::broker::Publication;
use crate::broker::loss::Loss;
use crate::broker::reason_code::ReasonCode;
use crate::broker::settings::{BrokerSettings, LastWill, TopicSubscription};
use crate::broker::wire::{PACKET_BYTES_MAX, RECEIVED_UNANSWERED_MAX};

/// How long the broker keeps the session after the last will is due. The session must outlive the
/// delay, because its end publishes the will (MQTT 5, 3.1.3.2.2).
const SESSION_MARGIN: Duration = Duration::from_secs(10);

/// The bytes to the broker.
pub(in crate::broker) struct Writer<W> {
    stream: W,
    buffer: BytesMut,
    is_flushed: bool,
    packet_bytes_max: Option<u32>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Writes to a stream.
    pub fn new(stream: W) -> Self {
        Self { stream, buffer: BytesMut::new(), is_flushed: true, packet_bytes_max: None }
    }

    /// Keeps to the largest packet that the broker accepts.
    pub fn limit(&mut self, packet_bytes_max: Option<u32>) {
        self.packet_bytes_max = packet_bytes_max;
    }

    /// Whether bytes wait.
    pub fn is_waiting(&self) -> bool {
        !self.is_flushed
    }

    /// Whether so many bytes wait that no more should come.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= PACKET_BYTES_MAX as usize
    }

    /// Sends what waits. It may be cancelled at any time: what was sent is gone from the buffer.
    pub async fn send(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            if self.stream.write_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.stream.flush().await?;
        self.is_flushed = true;
        // The largest packet must not keep its memory until the end of the connection.
        self.buffer = BytesMut::new();
        Ok(())
    }

    /// CONNECT (MQTT 5, 3.1), with a clean start: the broker forgets what it queued.
    pub fn connect(
        &mut self,
        settings: &BrokerSettings,
        password: Option<&SecretString>,
    ) -> Result<(), Loss> {
        let mut properties = ConnectProperties::new();
        let delay = settings.last_will.as_ref().map(|will| will.delay + SESSION_MARGIN);
        properties.session_expiry_interval = delay.map(seconds);
        properties.receive_maximum = Some(RECEIVED_UNANSWERED_MAX);
        properties.max_packet_size = Some(PACKET_BYTES_MAX);
        let connect = Connect {
            keep_alive: u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX),
            client_id: settings.client_id.clone(),
            clean_start: true,
            properties: Some(properties),
        };
        let will = settings.last_will.as_ref().map(last_will);
        let packet = Packet::Connect(connect, will, login(settings, password));
        self.push(&packet).map_err(|_| {
            Loss::File("the client ID, the login or the last will is too long".to_owned())
        })
    }

    /// SUBSCRIBE with QoS 1 (MQTT 5, 3.8).
    pub fn subscribe(&mut self, id: u16, subscriptions: &[TopicSubscription]) -> Result<(), Loss> {
        let filters = subscriptions.iter().map(|subscription| {
            let mut filter = SubscribeFilter::new(&subscription.filter, QoS::AtLeastOnce);
            filter.preserve_retain = subscription.shows_retain_flag;
            filter
        });
        let mut subscribe = Subscribe::new_many(filters, None);
        subscribe.pkid = id;
        self.push(&Packet::Subscribe(subscribe))
            .map_err(|_| Loss::Unfit("the subscriptions are longer than it accepts"))
    }

    /// PUBLISH with QoS 1 (MQTT 5, 3.3).
    pub fn publish(&mut self, id: u16, publication: Publication) -> Result<(), ReasonCode> {
        let expiry = publication.expiry.map(|expiry| PublishProperties {
            message_expiry_interval: Some(seconds(expiry)),
            ..PublishProperties::default()
        });
        let Publication { topic, payload, is_retained, .. } = publication;
        if topic.is_empty() {
            return Err(ReasonCode::BAD_TOPIC);
        }
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, expiry);
        (publish.pkid, publish.retain) = (id, is_retained);
        self.push(&Packet::Publish(publish)).map_err(|error| match error {
            Error::OutgoingPacketTooLarge { .. } | Error::PayloadTooLong => ReasonCode::TOO_LARGE,
            _ => ReasonCode::BAD_TOPIC,
        })
    }

    /// PUBACK (MQTT 5, 3.4).
    pub fn acknowledge(&mut self, id: u16) {
        // Its size is fixed, and the broker sent the identifier.
        let _ = self.push(&Packet::PubAck(PubAck::new(id, None)));
    }

    /// PINGREQ (MQTT 5, 3.12).
    pub fn ping(&mut self) {
        let _ = self.push(&Packet::PingReq);
    }

    /// DISCONNECT without the last will; the broker forgets the session (MQTT 5, 3.14.2.2.2).
    pub fn leave(&mut self) {
        let properties = DisconnectProperties {
            session_expiry_interval: Some(0),
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        };
        let reason = DisconnectReasonCode::NormalDisconnection;
        let leave = Disconnect::new_with_properties(reason, properties);
        let _ = self.push(&Packet::Disconnect(leave));
    }

    /// DISCONNECT that tells the broker what it did wrong (MQTT 5, 4.13). The last will stays.
    pub fn complain(&mut self, loss: &Loss) {
        let reason = match loss {
            Loss::PacketTooLarge { .. } => DisconnectReasonCode::PacketTooLarge,
            Loss::Malformed(_) => DisconnectReasonCode::MalformedPacket,
            _ => return,
        };
        let _ = self.push(&Packet::Disconnect(Disconnect::new(reason)));
    }

    fn push(&mut self, packet: &Packet) -> Result<(), Error> {
        let before = self.buffer.len();
        let written = packet.write(&mut self.buffer, self.packet_bytes_max);
        if let Err(error) = written {
            // The library may have written the beginning of the packet.
            self.buffer.truncate(before);
            return Err(error);
        }
        self.is_flushed = false;
        Ok(())
    }
}

fn last_will(will: &LastWill) -> rumqttc::LastWill {
    let properties = LastWillProperties {
        delay_interval: Some(seconds(will.delay)),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    let (topic, payload) = (will.topic.clone(), will.payload.clone());
    rumqttc::LastWill::new(topic, payload, QoS::AtLeastOnce, will.is_retained, Some(properties))
}

fn login(settings: &BrokerSettings, password: Option<&SecretString>) -> ConnectAuth {
    let Some(login) = &settings.login else { return ConnectAuth::None };
    let username = login.username.clone();
    match password {
        None => ConnectAuth::Username { username },
        Some(password) => ConnectAuth::UsernamePassword {
            username,
            password: password.expose_secret().as_bytes().to_vec().into(),
        },
    }
}

/// Whole seconds; a fraction is one second more, because zero would mean "at once".
fn seconds(time: Duration) -> u32 {
    let more = u64::from(time.subsec_nanos() > 0);
    u32::try_from(time.as_secs() + more).unwrap_or(u32::MAX)
}
