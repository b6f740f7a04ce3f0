//! The services of a Swarm through Docker's API.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::json_client::Call;
use super::path::escape;
use super::{ACT_TIMEOUT, DockerEngine, decode};
use crate::core::docker::credentials::Credentials;
use crate::engine::{EngineError, ServiceChange, Services, SwarmMembership};

impl Services for DockerEngine {
    async fn swarm(&self) -> Result<SwarmMembership, EngineError> {
        Ok(decode::swarm_membership(&self.get("info", "/info".into()).await?))
    }

    async fn services(&self) -> Result<Vec<Value>, EngineError> {
        self.documents("list services", "/services".into()).await
    }

    async fn service(&self, service: &str) -> Result<Option<Value>, EngineError> {
        self.get_if_there("inspect service", format!("/services/{}", escape(service))).await
    }

    async fn tasks(&self, service: &str) -> Result<Vec<Value>, EngineError> {
        let filters = json!({ "service": [service] }).to_string();
        self.documents("list tasks", format!("/tasks?filters={}", escape(&filters))).await
    }

    async fn nodes(&self) -> Result<Vec<Value>, EngineError> {
        self.documents("list nodes", "/nodes".into()).await
    }

    async fn update_service(&self, change: ServiceChange<'_>) -> Result<(), EngineError> {
        let ServiceChange { service, version, spec, credentials } = change;
        let path = format!("/services/{}/update?version={version}", escape(service));
        self.post_with_login("update service", path, spec, credentials).await.map(|_| ())
    }

    async fn create_service(
        &self,
        spec: &Value,
        credentials: Option<&Credentials>,
    ) -> Result<String, EngineError> {
        let path = "/services/create".to_owned();
        let answer = self.post_with_login("create service", path, spec, credentials).await?;
        let id = answer.get("ID").and_then(Value::as_str).map(str::to_owned);
        id.ok_or(EngineError::Garbage { call: "create service", detail: "it has no ID".into() })
    }

    async fn remove_service(&self, service: &str) -> Result<bool, EngineError> {
        self.delete("remove service", format!("/services/{}", escape(service))).await
    }
}

impl DockerEngine {
    async fn documents(&self, name: &'static str, path: String) -> Result<Vec<Value>, EngineError> {
        match self.get(name, path).await? {
            Value::Array(documents) => Ok(documents),
            Value::Null => Ok(Vec::new()),
            _ => Err(EngineError::Garbage { call: name, detail: "it is not a list".into() }),
        }
    }

    async fn post_with_login(
        &self,
        name: &'static str,
        path: String,
        body: &Value,
        credentials: Option<&Credentials>,
    ) -> Result<Value, EngineError> {
        let method = Method::POST;
        let call = Call { name, method, path, body: Some(body), timeout: ACT_TIMEOUT };
        self.connection.send_with_login(call, credentials.and_then(registry_auth)).await
    }
}

/// The login in the form of `X-Registry-Auth`: JSON in base64, with the alphabet for URLs.
fn registry_auth(credentials: &Credentials) -> Option<HeaderValue> {
    let login = match &credentials.identity_token {
        Some(token) => json!({ "identitytoken": token.expose_secret() }),
        None => json!({
            "username": credentials.username,
            "password": credentials.password.expose_secret(),
        }),
    };
    let mut value = HeaderValue::from_str(&URL_SAFE.encode(login.to_string())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_json_in_base64_for_urls() {
        let decoded = |credentials: &Credentials| -> Value {
            let header = registry_auth(credentials).expect("a header");
            assert!(header.is_sensitive());
            let bytes = URL_SAFE.decode(header.as_bytes()).expect("base64 for URLs");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        // These bytes need both characters that differ between the alphabets.
        let password = Credentials::with_password("till", "~~~???");
        assert_eq!(decoded(&password), json!({ "username": "till", "password": "~~~???" }));
        let token = Credentials::with_identity_token("a token");
        assert_eq!(decoded(&token), json!({ "identitytoken": "a token" }));
    }
}
