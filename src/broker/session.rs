//! One connection, from CONNACK to its end. It waits for five things at once, and no slow side
//! stops another one: pings go out while the user of the port is slow or the broker is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::loss::Loss;
use crate::broker::outbox::{Outbox, ReceiptSender, WaitingPublication};
use crate::broker::reason_code::ReasonCode;
use crate::broker::settings::BrokerSettings;
use crate::broker::told::Told;
use crate::broker::wire::{Agreement, IncomingPacket, Reader, Writer};
use crate::broker::{BrokerEvent, NotTaken, RefusedAct};

/// Most publications on their way. More make nothing faster on one connection.
const ON_THEIR_WAY_MAX: usize = 16;

/// How long the last packet may take: the broker may have stopped reading.
const LAST_PACKET_TIMEOUT: Duration = Duration::from_secs(1);

/// The packet identifier of SUBSCRIBE. Publications have the others.
const SUBSCRIBE_ID: u16 = 1;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum SessionEnd {
    Lost(Loss),
    /// It was stopped, or no user of the port is left.
    Stopped,
}

/// What a session borrows from the task that owns it.
pub(super) struct Surroundings<'task> {
    pub settings: &'task BrokerSettings,
    pub outbox: &'task Outbox,
    pub events: &'task mpsc::Sender<BrokerEvent>,
    pub told: &'task mut Told,
}

/// One connection.
pub(super) struct BrokerSession<'task, R, W> {
    around: Surroundings<'task>,
    reader: Reader<R>,
    writer: Writer<W>,
    keep_alive: Duration,
    has_retain: bool,
    on_their_way_max: usize,
    /// Publications without PUBACK.
    on_their_way: BTreeMap<u16, OnItsWay>,
    last_id: u16,
    subscribed_at: Option<Instant>,
    pinged_at: Option<Instant>,
    sent_at: Instant,
    /// When the user of the port was last too slow. Nothing was read until then.
    blocked_until: Instant,
    /// Events that the user has not taken, each with the message to acknowledge after it.
    pending: VecDeque<(BrokerEvent, Option<u16>)>,
    leaves_by: Option<Instant>,
}

struct OnItsWay {
    topic: String,
    receipt: ReceiptSender,
    sent_at: Instant,
}

impl<'task, R: AsyncRead + Unpin, W: AsyncWrite + Unpin> BrokerSession<'task, R, W> {
    /// A session on an accepted connection.
    pub fn new(
        around: Surroundings<'task>,
        (reader, writer): (Reader<R>, Writer<W>),
        agreement: Agreement,
    ) -> Self {
        let now = Instant::now();
        Self {
            keep_alive: agreement.keep_alive.unwrap_or(around.settings.keep_alive),
            has_retain: agreement.has_retain,
            on_their_way_max: ON_THEIR_WAY_MAX.min(agreement.receive_max.into()),
            on_their_way: BTreeMap::new(),
            last_id: SUBSCRIBE_ID,
            subscribed_at: None,
            pinged_at: None,
            sent_at: now,
            blocked_until: now,
            pending: VecDeque::from([(BrokerEvent::Connected, None)]),
            leaves_by: None,
            around,
            reader,
            writer,
        }
    }

    /// Serves the connection until it ends.
    pub async fn run(mut self, stop: &CancellationToken) -> SessionEnd {
        match self.serve(stop).await {
            Ok(()) => {
                self.writer.leave();
                self.say_the_last().await;
                SessionEnd::Stopped
            }
            Err(loss) => {
                self.writer.complain(&loss);
                self.say_the_last().await;
                SessionEnd::Lost(loss)
            }
        }
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), Loss> {
        self.subscribe()?;
        loop {
            self.digest()?;
            self.fill();
            let (has_room, deadline) = (self.pending.is_empty(), self.next_deadline());
            if self.leaves_by.is_some() && self.around.outbox.is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled(), if self.leaves_by.is_none() => {
                    self.leaves_by = Some(Instant::now() + self.around.settings.limits.stop);
                    self.pending.clear();
                }
                permit = self.around.events.reserve(), if !has_room => match permit {
                    Err(_) => return Ok(()),
                    Ok(permit) => {
                        if let Some((event, acknowledged)) = self.pending.pop_front() {
                            permit.send(event);
                            self.acknowledge(acknowledged);
                        }
                        self.blocked_until = Instant::now();
                    }
                },
                read = self.reader.read(), if has_room && !self.writer.is_full() => {
                    read.map_err(|error| self.broken(&error))?;
                }
                sent = self.writer.send(), if self.writer.is_waiting() => {
                    sent.map_err(|error| self.broken(&error))?;
                }
                () = self.around.outbox.changed() => {}
                () = sleep_until(deadline) => {
                    if self.is_over()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn subscribe(&mut self) -> Result<(), Loss> {
        let subscriptions = &self.around.settings.subscriptions;
        if !subscriptions.is_empty() {
            self.writer.subscribe(SUBSCRIBE_ID, subscriptions)?;
            self.subscribed_at = Some(self.sent());
        }
        Ok(())
    }

    /// Takes whole packets out of what was read, until the user is slower than the broker.
    fn digest(&mut self) -> Result<(), Loss> {
        loop {
            while let Some((event, acknowledged)) = self.pending.pop_front() {
                if self.leaves_by.is_some() {
                    continue;
                }
                if let Err(
                    mpsc::error::TrySendError::Full(event)
                    | mpsc::error::TrySendError::Closed(event),
                ) = self.around.events.try_send(event)
                {
                    self.pending.push_front((event, acknowledged));
                    return Ok(());
                }
                self.acknowledge(acknowledged);
            }
            if self.writer.is_full() {
                return Ok(());
            }
            match self.reader.next()? {
                Some(packet) => self.take(packet)?,
                None => return Ok(()),
            }
        }
    }

    fn take(&mut self, packet: IncomingPacket) -> Result<(), Loss> {
        match packet {
            IncomingPacket::Message(message, acknowledged) => {
                self.pending.push_back((BrokerEvent::Message(message), acknowledged));
            }
            IncomingPacket::Published(id, reason) => self.published(id, reason)?,
            IncomingPacket::Subscribed(id, reasons) => self.subscribed(id, &reasons)?,
            IncomingPacket::Pong => self.pinged_at = None,
            IncomingPacket::Ended(reason) => return Err(Loss::Ended { reason }),
            IncomingPacket::Accepted(_) | IncomingPacket::Rejected(_) => {
                return Err(Loss::Malformed("a second CONNACK"));
            }
        }
        Ok(())
    }

    fn published(&mut self, id: u16, reason: ReasonCode) -> Result<(), Loss> {
        let on_its_way = self.on_their_way.remove(&id);
        let OnItsWay { topic, receipt, .. } =
            on_its_way.ok_or(Loss::Malformed("an answer to no publication"))?;
        self.ended(topic, receipt, reason);
        Ok(())
    }

    /// The fate of a publication is known.
    fn ended(&mut self, topic: String, receipt: ReceiptSender, reason: ReasonCode) {
        self.around.outbox.ended(&topic);
        let answer = if reason.is_failure() { Err(NotTaken::Refused(reason)) } else { Ok(()) };
        // The user may have dropped the receipt.
        let _ = receipt.send(answer);
        self.tell(RefusedAct::Publish, topic, reason);
    }

    fn subscribed(&mut self, id: u16, reasons: &[ReasonCode]) -> Result<(), Loss> {
        let settings = self.around.settings;
        let is_expected = self.subscribed_at.take().is_some() && id == SUBSCRIBE_ID;
        if !is_expected || reasons.len() != settings.subscriptions.len() {
            return Err(Loss::Malformed("an answer to no subscription"));
        }
        for (subscription, reason) in settings.subscriptions.iter().zip(reasons) {
            self.tell(RefusedAct::Subscribe, subscription.filter.clone(), *reason);
        }
        self.pending.push_back((BrokerEvent::Subscribed, None));
        Ok(())
    }

    /// Tells of a refusal, once.
    fn tell(&mut self, act: RefusedAct, topic: String, reason: ReasonCode) {
        if !reason.is_failure() {
            self.around.told.accepted(act, &topic);
        } else if self.around.told.is_new_refusal(act, &topic, reason) {
            self.pending.push_back((BrokerEvent::Refused { act, topic, reason }, None));
        }
    }

    fn acknowledge(&mut self, id: Option<u16>) {
        if let Some(id) = id {
            self.writer.acknowledge(id);
            self.sent();
        }
    }

    /// Sends what waits in the outbox, as much as may be on its way.
    fn fill(&mut self) {
        while self.on_their_way.len() < self.on_their_way_max
            && self.pending.is_empty()
            && !self.writer.is_full()
        {
            let Some(WaitingPublication { publication, receipt }) = self.around.outbox.take()
            else {
                return;
            };
            let (id, topic) = (self.free_id(), publication.topic.clone());
            let sent = match publication.is_retained && !self.has_retain {
                true => Err(ReasonCode::NO_RETAIN),
                false => self.writer.publish(id, publication),
            };
            match sent {
                Err(reason) => self.ended(topic, receipt, reason),
                Ok(()) => {
                    let sent_at = self.sent();
                    self.on_their_way.insert(id, OnItsWay { topic, receipt, sent_at });
                }
            }
        }
    }

    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id > SUBSCRIBE_ID && !self.on_their_way.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Records that something is sent now.
    fn sent(&mut self) -> Instant {
        self.sent_at = Instant::now();
        self.sent_at
    }

    /// When the broker must have answered; `None` if it owes nothing. While the user of the port is
    /// slow nothing is read, so the broker cannot be judged.
    fn answer_deadline(&self) -> Option<Instant> {
        if !self.pending.is_empty() {
            return None;
        }
        let published = self.on_their_way.values().map(|it| it.sent_at).min();
        let oldest = [self.pinged_at, self.subscribed_at, published].into_iter().flatten().min()?;
        Some(oldest.max(self.blocked_until) + self.around.settings.limits.answer)
    }

    /// When a ping is due: the keep-alive counts from the last packet of this client (MQTT 5,
    /// 3.1.2.10).
    fn ping_deadline(&self) -> Option<Instant> {
        let is_due = self.pinged_at.is_none() && !self.keep_alive.is_zero();
        is_due.then(|| self.sent_at + self.keep_alive)
    }

    fn next_deadline(&self) -> Instant {
        let deadlines = [self.answer_deadline(), self.ping_deadline(), self.leaves_by];
        // Without any deadline an hour is as good as none.
        let far = self.sent_at + Duration::from_secs(3600);
        deadlines.into_iter().flatten().min().unwrap_or(far)
    }

    /// A deadline has passed: `true` if the time to leave is over.
    fn is_over(&mut self) -> Result<bool, Loss> {
        let now = Instant::now();
        let has_passed = |deadline: Option<Instant>| deadline.is_some_and(|it| it <= now);
        if has_passed(self.leaves_by) {
            return Ok(true);
        }
        if has_passed(self.answer_deadline()) {
            return Err(Loss::Silent);
        }
        if has_passed(self.ping_deadline()) {
            self.writer.ping();
            self.pinged_at = Some(self.sent());
        }
        Ok(false)
    }

    fn broken(&self, error: &std::io::Error) -> Loss {
        Loss::of_stream(error, &self.around.settings.address.in_words())
    }

    /// Sends the last packet, if the broker still reads.
    async fn say_the_last(&mut self) {
        if self.writer.is_waiting() {
            let _ = timeout(LAST_PACKET_TIMEOUT, self.writer.send()).await;
        }
    }
}
