//! Which redirects are followed.

use reqwest::header::HeaderMap;

use super::*;

struct Silent;

impl RegistryObserver for Silent {
    fn request(&self, _: &str, _: &str) {}
    fn rate_limit_remaining(&self, _: &str, _: u64) {}
}

fn target(from: &str, location: &str, form: Option<&str>) -> Result<String, String> {
    target_from(AddressScope::Internet, from, location, form)
}

fn target_from(
    place: AddressScope,
    from: &str,
    location: &str,
    form: Option<&str>,
) -> Result<String, String> {
    let plain_hosts = BTreeSet::from(["plain:5000".to_owned()]);
    let settings = RegistrySettings::default();
    let transport = Transport::new(&settings, plain_hosts, Limits::default(), Arc::new(Silent));
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, location.parse().expect("a value"));
    let (status, url) = (StatusCode::TEMPORARY_REDIRECT, from.parse().expect("a URL"));
    let answer = HttpResponse { status, headers, body: Vec::new(), stream: None, url, place };
    let mut request = HttpRequest::new(Method::GET, 1);
    request.form = form.map(str::to_owned);
    let target = transport.redirect_target(&answer, &request);
    target.map(|(url, _)| url.to_string()).map_err(|error| error.to_string())
}

#[test]
fn redirects_never_lead_away_from_tls() {
    let https = |location| target("https://r/v2/", location, None);
    assert_eq!(https("https://cdn/x?sig=1"), Ok("https://cdn/x?sig=1".to_owned()));
    assert_eq!(https("/blob"), Ok("https://r/blob".to_owned()));
    assert_eq!(https("https://user:pass@cdn/x"), Ok("https://cdn/x".to_owned()));
    let refused = |why: &str| Err(format!("r sent a redirect that is not followed: {why}"));
    assert_eq!(https("http://cdn/x"), refused("it leaves TLS"));
    assert_eq!(https("http://127.0.0.1/x"), refused("it leaves TLS"));
    assert_eq!(https("file:///etc/passwd"), refused("it leaves TLS"));
    let http = |location| target("http://r/v2/", location, None);
    assert_eq!(http("http://plain:5000/x"), Ok("http://plain:5000/x".to_owned()));
    assert_eq!(http("http://elsewhere/x"), refused("it leaves TLS"));
    let form = target("https://r/token", "https://r/other", Some("secret"));
    assert_eq!(form, refused("the request held a login"));
}

#[test]
fn redirects_never_lead_further_inside_than_the_registry_lies() {
    let https = |place, location| target_from(place, "https://r/v2/", location, None);
    let refused =
        |why: &str| Err(format!("r sent a redirect that is not followed: it leads to {why}"));
    for here in [
        "https://127.0.0.1:2376/x",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://0.0.0.0/",
        "//127.0.0.1/x",
    ] {
        let expected = refused("an address of this machine");
        assert_eq!(https(AddressScope::Internet, here), expected, "{here}");
        assert_eq!(https(AddressScope::LocalNetwork, here), expected, "{here}");
        assert!(https(AddressScope::ThisMachine, here).is_ok(), "{here}");
    }
    let private = "https://192.168.1.1/x";
    assert_eq!(https(AddressScope::Internet, private), refused("an address of a private network"));
    assert!(https(AddressScope::LocalNetwork, private).is_ok());
    let metadata = https(AddressScope::LocalNetwork, "https://169.254.169.254/x");
    assert_eq!(metadata, refused("a link-local or reserved address"));
    let http =
        target_from(AddressScope::LocalNetwork, "http://r/v2/", "http://127.0.0.1:2375/", None);
    assert!(http.is_err(), "{http:?}");
}

#[test]
fn a_registry_keeps_the_port_it_was_written_with() {
    let endpoint = RegistryEndpoint::of_registry("registry:443", false);
    let known = |url: &str| known_host(&endpoint, &url.parse().expect("a URL"));
    assert_eq!(known("https://registry/v2/"), "registry:443");
    assert_eq!(known("https://registry:443/token"), "registry:443");
    assert_eq!(known("https://cdn.example.org/x"), "cdn.example.org");
    assert_eq!(known("https://registry:5000/x"), "registry:5000");
}

#[test]
fn ports_and_addresses_are_distinguished() {
    for (host, expected) in
        [("localhost", true), ("localhost:1", false), ("[::1]", true), ("[::1]:5000", false)]
    {
        assert_eq!(host_has_no_port(host), expected, "{host}");
    }
}
