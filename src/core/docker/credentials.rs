//! Credentials for a registry.

use std::fmt;

use secrecy::SecretString;

/// A login at one registry, in the fields of Docker's own `AuthConfig`.
///
/// It cannot be printed: it has neither `Display` nor `Serialize`, and `Debug` shows only its kind.
/// The user name is hidden too, because some registries accept a token as user name.
#[derive(Clone)]
pub struct Credentials {
    /// May be empty with an identity token.
    pub username: String,
    /// Empty with an identity token.
    pub password: SecretString,
    /// A refresh token (`identitytoken`) that replaces user name and password.
    pub identity_token: Option<SecretString>,
}

impl Credentials {
    /// A user name with its password.
    #[must_use]
    pub fn with_password(username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self { username: username.into(), password: password.into(), identity_token: None }
    }

    /// An identity token, as a credential helper returns it for the user `<token>`.
    #[must_use]
    pub fn with_identity_token(token: impl Into<SecretString>) -> Self {
        Self {
            username: String::new(),
            password: SecretString::from(""),
            identity_token: Some(token.into()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.identity_token.is_some() { "identity token" } else { "password" };
        write!(formatter, "Credentials({kind})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_the_kind_and_nothing_else() {
        let password = Credentials::with_password("somebody", "a secret");
        assert_eq!(format!("{password:?}"), "Credentials(password)");
        let token = Credentials::with_identity_token("a secret");
        assert_eq!(format!("{token:?}"), "Credentials(identity token)");
    }
}
