//! The proxy for a host: from this program's environment; if that names none, the Engine's, because
//! its pull goes there anyway.

use std::collections::BTreeSet;
use std::env;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{ClientBuilder, NoProxy, Proxy, Url};

use crate::core::docker::engine_registries::Proxies;

/// The variables that name a proxy, as curl, Go and Docker read them.
const VARIABLES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The Engine's replacement for a proxy's password (`daemon.MaskCredentials`).
const MASKED: &str = "xxxxx";

/// Which requests go through a proxy.
#[derive(Debug)]
pub(in crate::registry) struct ProxyRules {
    /// The Engine's proxies, if they are used.
    engine: Option<Proxies>,
    matcher: Matcher,
    /// The hosts of the proxies themselves.
    pub hosts: Arc<BTreeSet<String>>,
}

impl ProxyRules {
    /// The proxies of the environment, or else the Engine's.
    #[expect(
        clippy::disallowed_methods,
        reason = "the HTTP library reads these variables by itself; here it is only asked whether \
                  there are any"
    )]
    pub fn new(engine: &Proxies) -> Self {
        let variables = VARIABLES.map(|name| env::var(name).unwrap_or_default());
        let is_set = variables.iter().any(|value| !value.is_empty());
        if is_set || engine.is_empty() {
            let hosts = Arc::new(hosts(&variables));
            return Self { engine: None, matcher: Matcher::from_env(), hosts };
        }
        let builder = Matcher::builder().http(engine.http.clone()).https(engine.https.clone());
        let matcher = builder.no(engine.no_proxy.clone()).build();
        let hosts = Arc::new(hosts(&[engine.http.clone(), engine.https.clone()]));
        Self { engine: Some(engine.clone()), matcher, hosts }
    }

    /// Whether a URL is requested through a proxy: then the address of its host is not known here.
    pub fn intercepts(&self, url: &Url) -> bool {
        url.as_str().parse().is_ok_and(|url| self.matcher.intercept(&url).is_some())
    }

    /// A client with these rules.
    pub fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, String> {
        let Some(engine) = &self.engine else { return Ok(builder) };
        let mut builder = builder.no_proxy();
        for (url, make) in
            [(&engine.http, Proxy::http::<Url> as fn(Url) -> _), (&engine.https, Proxy::https)]
        {
            let Some(url) = usable(url) else { continue };
            let failed = |_| "the Engine's proxy cannot be used from here".to_owned();
            let proxy: Proxy = make(url).map_err(failed)?;
            builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&engine.no_proxy)));
        }
        Ok(builder)
    }
}

/// A proxy's URL as the Engine shows it. A masked password is removed.
fn usable(text: &str) -> Option<Url> {
    let mut url = parse(text)?;
    if url.password() == Some(MASKED) {
        url.set_password(None).ok()?;
        url.set_username("").ok()?;
    }
    Some(url)
}

/// A proxy may be written without a scheme, which then is http.
fn parse(text: &str) -> Option<Url> {
    let text = text.trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    text.parse().ok().filter(Url::has_host)
}

fn hosts(urls: &[String]) -> BTreeSet<String> {
    let urls = urls.iter().filter(|text| !text.is_empty()).filter_map(|text| parse(text));
    urls.filter_map(|url| url.host_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_proxies_count_where_the_environment_has_none() {
        let https = "http://user:xxxxx@proxy.lan:3128".to_owned();
        let no_proxy = "lan,10.0.0.0/8".to_owned();
        let rules = ProxyRules::new(&Proxies { https, no_proxy, ..Proxies::default() });
        if rules.engine.is_none() {
            return; // The tests run behind a proxy of their own.
        }
        let intercepts = |url: &str| rules.intercepts(&url.parse().expect("a URL"));
        assert!(intercepts("https://ghcr.io/v2/"));
        assert!(!intercepts("http://ghcr.io/v2/"));
        assert!(!intercepts("https://registry.lan/v2/"));
        assert!(!intercepts("https://10.1.2.3/v2/"));
        assert!(rules.hosts.contains("proxy.lan"));
        assert!(rules.apply(reqwest::Client::builder()).is_ok());
    }

    #[test]
    fn a_masked_password_is_none() {
        let shown = |text: &str| usable(text).map(|url| url.to_string());
        assert_eq!(shown("http://u:xxxxx@p:1").as_deref(), Some("http://p:1/"));
        assert_eq!(shown("p:3128").as_deref(), Some("http://p:3128/"));
        assert_eq!(shown("http://u:p@p:1").as_deref(), Some("http://u:p@p:1/"));
        assert_eq!(shown(""), None);
    }
}
