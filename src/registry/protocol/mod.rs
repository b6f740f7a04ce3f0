//! How a registry is spoken to: logins, TLS, redirects, limits, and what is known of each host.
//!
//! ```text
//! session                 one host: its pauses, its queue, its login
//!   query                   what it is asked for
//!   backoff                 how long a host is paused after which failure
//!   challenge               what a 401 asks for
//!   token                   bearer tokens, until they expire
//! transport               one exchange: with or without TLS, redirects
//!   endpoint                which hosts are asked for a registry
//!   hosts                   what is known and allowed of each host
//!   http                    one request and its answer, within their limits, counted
//!     request                 requests and answers
//!   plain_heads             connections that need little memory, for `HEAD` without TLS
//!   tls                     certificates on disk; one HTTP client per trust set
//!   verifier                which certificate of a server is valid
//!     certificate_signature   whether an authority signed a certificate that is an authority
//!   dns                     names that a registry redirects to
//!   proxy                   the environment's proxies, or the Engine's
//!   rate_limit              what registries say of their quotas
//!   error                   all failures, each with one reason
//!   retry_after             how long a registry asks the agent to wait
//! credentials             logins: Pilotfish's settings, docker's configuration, helpers
//! settings                settings for registries, and the limits of every request
//! ```

mod backoff;
pub(super) mod challenge;
mod certificate_signature;
mod credential_helper;
pub(super) mod credentials;
mod dns;
pub(super) mod docker_config;
pub(super) mod endpoint;
pub(super) mod error;
mod hosts;
pub(super) mod http;
mod plain_heads;
mod proxy;
pub(super) mod query;
mod rate_limit;
pub(super) mod request;
mod retry_after;
pub(super) mod session;
pub(super) mod settings;
mod tls;
mod token;
pub(super) mod transport;
mod verifier;
