//! temporary
use pilotfish::{agent::*, app, config, core::event::*};
use std::sync::Arc;
struct L;
impl Listener for L {
    fn hear(&self, e: &Event) {
        if !matches!(e, Event::RoundEnded { .. }) {
            eprintln!("{e:?}")
        }
    }
}
impl RoundListener for L {
    fn round(&self, s: bool, t: std::time::Duration) {
        eprintln!("round {s} {t:?}")
    }
}
impl pilotfish::registry::RegistryObserver for L {
    fn request(&self, r: &str, c: &str) {
        eprintln!("{r} {c}")
    }
    fn rate_limit_remaining(&self, _: &str, _: u64) {}
}
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args: Vec<String> = std::env::args().collect();
    let settings = config::load(&config::Sources {
        environment: config::Environment::of_process(),
        ..Default::default()
    })?;
    let l = Arc::new(L);
    let stop = tokio_util::sync::CancellationToken::new();
    let mut agent = app::agent(
        &settings,
        app::Listeners { events: l.clone(), rounds: l.clone(), registries: l.clone() },
        stop,
    )?;
    if args[1] == "run" {
        agent.run().await;
    } else {
        let end =
            agent.round(&Request { dry_run: args[1] == "check", ..Default::default() }).await?;
        println!("{:#?}", end.reports);
        println!("{:#?}", end.records);
    }
    Ok(())
}
