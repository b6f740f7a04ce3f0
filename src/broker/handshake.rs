//! From the settings to a connection that the broker has accepted: name, TCP, TLS, CONNACK. One
//! time limit covers all of it.

use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::broker::certificates::{password, tls_config};
use crate::broker::loss::Loss;
use crate::broker::settings::{BrokerAddress, BrokerSettings};
use crate::broker::wire::{Agreement, IncomingPacket, Reader, Writer};

/// Most addresses of one name that are tried. A broker has an IPv4 and an IPv6 address.
const ADDRESSES_MAX: usize = 4;

/// A stream with or without TLS.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A connection that the broker has accepted.
pub(super) struct Accepted {
    pub reader: Reader<ReadHalf<BoxedStream>>,
    pub writer: Writer<WriteHalf<BoxedStream>>,
    pub agreement: Agreement,
}

/// Either kind of stream, behind one type.
type BoxedStream = Box<dyn ByteStream>;

/// Connects.
///
/// # Errors
/// Why there is no connection.
pub(super) async fn connect(settings: &BrokerSettings) -> Result<Accepted, Loss> {
    let within = settings.limits.connect;
    let address = settings.address.in_words();
    timeout(within, establish(settings)).await.unwrap_or(Err(Loss::Slow { address, within }))
}

async fn establish(settings: &BrokerSettings) -> Result<Accepted, Loss> {
    let stream = tcp(settings).await?;
    let stream: BoxedStream = match settings.address.has_tls {
        true => tls(settings, stream).await?,
        false => Box::new(stream),
    };
    let login = settings.login.clone();
    let password = match login {
        Some(login) => off_the_loop(move || password(&login)).await?,
        None => None,
    };
    let (reader, writer) = tokio::io::split(stream);
    let (mut reader, mut writer) = (Reader::new(reader), Writer::new(writer));
    writer.connect(settings, password.as_ref())?;
    let address = settings.address.in_words();
    if let Err(error) = writer.send().await {
        // The broker may have sent an alert before it closed the connection: the answer has it.
        let loss = early(Loss::of_stream(&error, &address));
        return Err(answer(&mut reader, &address)
            .await
            .err()
            .filter(Loss::is_of_tls)
            .unwrap_or(loss));
    }
    let agreement = answer(&mut reader, &address).await?;
    if !agreement.has_acknowledgements {
        return Err(Loss::Unfit("it does not acknowledge messages (maximum QoS 0)"));
    }
    writer.limit(agreement.packet_bytes_max);
    Ok(Accepted { reader, writer, agreement })
}

/// Waits for CONNACK. In TLS 1.3 a refused certificate shows here, because the client is ready
/// before the broker has seen its certificate (RFC 8446, 4.4.2).
async fn answer<R>(reader: &mut Reader<R>, address: &str) -> Result<Agreement, Loss>
where
    R: AsyncRead + Unpin,
{
    loop {
        match reader.next()? {
            Some(IncomingPacket::Accepted(agreement)) => return Ok(agreement),
            Some(IncomingPacket::Rejected(reason) | IncomingPacket::Ended(reason)) => {
                return Err(Loss::Refused { reason });
            }
            Some(_) => return Err(Loss::Malformed("a packet before CONNACK")),
            None => {
                let read = reader.read().await;
                read.map_err(|error| early(Loss::of_stream(&error, address)))?;
            }
        }
    }
}

fn early(loss: Loss) -> Loss {
    if loss == Loss::Closed { Loss::ClosedEarly } else { loss }
}

async fn tcp(settings: &BrokerSettings) -> Result<TcpStream, Loss> {
    let BrokerAddress { host, port, .. } = &settings.address;
    let not_found = || Loss::NameNotFound { host: host.clone() };
    let found = lookup_host((host.as_str(), *port)).await.map_err(|_| not_found())?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    let mut last = not_found();
    // Each address gets its share of the time, because one of them may answer nothing at all.
    let share = settings.limits.connect / u32::try_from(found.len().max(1)).unwrap_or(1);
    for one in found {
        let address = settings.address.in_words();
        match timeout(share, TcpStream::connect(one)).await {
            Ok(Ok(stream)) => {
                // A publication is one small write: it must not wait for more.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = Loss::Unreachable { address, why: error.kind() },
            Err(_) => last = Loss::Slow { address, within: settings.limits.connect },
        }
    }
    Err(last)
}

async fn tls(settings: &BrokerSettings, stream: TcpStream) -> Result<BoxedStream, Loss> {
    let for_files = settings.clone();
    let config = off_the_loop(move || tls_config(&for_files)).await?;
    let host = settings.address.host.clone();
    let name = ServerName::try_from(host.clone()).map_err(|_| Loss::NameNotFound { host })?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let address = settings.address.in_words();
    let stream = connected.map_err(|error| early(Loss::of_stream(&error, &address)))?;
    Ok(Box::new(stream))
}

/// Reads files on a thread that may wait for the disk.
async fn off_the_loop<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Loss> {
    let read = spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err("the files of [mqtt] cannot be read".to_owned()))
        .map_err(Loss::File)
}
