//! The table of all senders: how each one shows its secret, names a delivery, and writes a push.

use super::{
    WebhookRead, artifactory, bitbucket, circleci, cncf, docker_hub, gitea, github, gitlab, harbor,
    plain, quay,
};
use serde_json::Value;

/// The kind of a sender, as `webhook.sender.kind` names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SenderKind {
    /// Every kind: the document shows which one.
    #[default]
    Auto,
    Cncf,
    DockerHub,
    GitHub,
    GitLab,
    Gitea,
    Harbor,
    Quay,
    Acr,
    Artifactory,
    CircleCi,
    Bitbucket,
    Plain,
}

impl SenderKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Auto,
        Self::Cncf,
        Self::DockerHub,
        Self::GitHub,
        Self::GitLab,
        Self::Gitea,
        Self::Harbor,
        Self::Quay,
        Self::Acr,
        Self::Artifactory,
        Self::CircleCi,
        Self::Bitbucket,
        Self::Plain,
    ];

    /// The word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cncf => "cncf",
            Self::DockerHub => "dockerhub",
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Harbor => "harbor",
            Self::Quay => "quay",
            Self::Acr => "acr",
            Self::Artifactory => "artifactory",
            Self::CircleCi => "circleci",
            Self::Bitbucket => "bitbucket",
            Self::Plain => "plain",
        }
    }

    /// Whether a sender of this kind may report builds, which name no image.
    #[must_use]
    pub const fn reports_builds(self) -> bool {
        matches!(self, Self::Auto | Self::GitLab | Self::CircleCi | Self::Bitbucket)
    }

    /// Whether a sender of this kind may send what `other` sends. GitLab's own registry is a CNCF
    /// registry.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self == Self::Auto || self == other || (self == Self::GitLab && other == Self::Cncf)
    }
}

/// How a header proves that its sender knows the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureForm {
    /// It is the secret.
    Secret,
    /// The HMAC-SHA256 of the body, hexadecimal.
    Hex,
    /// The same after `sha256=`.
    PrefixedHex,
    /// The same after `v1=`, in a list with commas.
    Versions,
    /// Standard Webhooks: `v1,` and the HMAC-SHA256 of `ID.TIMESTAMP.BODY` in base64, in a list
    /// with spaces (standardwebhooks.com, "Signature scheme").
    Standard,
}

/// A header with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureHeader {
    /// In lower case.
    pub header: &'static str,
    pub form: SignatureForm,
}

/// Where a delivery has its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryId {
    /// In a header with this name, in lower case.
    Header(&'static str),
    /// In the body, at this JSON pointer.
    Body(&'static str),
}

/// One sender.
#[derive(Debug, Clone, Copy)]
pub struct SenderForm {
    pub kind: SenderKind,
    /// Its name for people.
    pub name: &'static str,
    pub signatures: &'static [SignatureHeader],
    pub deliveries: &'static [DeliveryId],
    /// Whether it repeats an event without a limit until the answer is good, and holds back all
    /// later events meanwhile.
    pub insists: bool,
    pub(super) read: fn(&Value) -> WebhookRead,
}

const fn header(header: &'static str, form: SignatureForm) -> SignatureHeader {
    SignatureHeader { header, form }
}

/// GitHub's header, which Gitea sends too (docs.github.com, "Validating webhook deliveries").
const HUB_SHA256: SignatureHeader = header("x-hub-signature-256", SignatureForm::PrefixedHex);

/// Standard Webhooks, for a CI that can sign and for GitLab.
const STANDARD: SignatureHeader = header("webhook-signature", SignatureForm::Standard);

/// Its identity of a delivery, which is part of what is signed.
const STANDARD_ID: DeliveryId = DeliveryId::Header("webhook-id");

/// A sender without a signature of its own: the secret is in `Authorization` or in the URL.
const fn unsigned(
    kind: SenderKind,
    name: &'static str,
    read: fn(&Value) -> WebhookRead,
) -> SenderForm {
    SenderForm { kind, name, signatures: &[], deliveries: &[], insists: false, read }
}

/// All senders, in the order in which they are tried.
pub const FORMS: [SenderForm; 12] = [
    SenderForm {
        signatures: &[STANDARD],
        deliveries: &[STANDARD_ID],
        ..unsigned(SenderKind::Plain, "the plain form", plain::read)
    },
    // distribution/distribution, `notifications/sinks.go`: events queue up behind a failed one.
    SenderForm { insists: true, ..unsigned(SenderKind::Cncf, "a CNCF registry", cncf::read) },
    unsigned(SenderKind::DockerHub, docker_hub::NAME, docker_hub::read),
    SenderForm {
        signatures: &[HUB_SHA256],
        deliveries: &[DeliveryId::Header("x-github-delivery")],
        ..unsigned(SenderKind::GitHub, github::NAME, github::read)
    },
    SenderForm {
        signatures: &[
            header("x-gitea-signature", SignatureForm::Hex),
            header("x-forgejo-signature", SignatureForm::Hex),
            HUB_SHA256,
        ],
        deliveries: &[
            DeliveryId::Header("x-gitea-delivery"),
            DeliveryId::Header("x-forgejo-delivery"),
        ],
        ..unsigned(SenderKind::Gitea, gitea::NAME, gitea::read)
    },
    unsigned(SenderKind::Harbor, harbor::NAME, harbor::read),
    unsigned(SenderKind::Quay, quay::NAME, quay::read),
    unsigned(SenderKind::Acr, cncf::AZURE, cncf::read_azure),
    SenderForm {
        signatures: &[
            header("x-jfrog-event-auth", SignatureForm::Secret),
            header("x-jfrog-event-auth", SignatureForm::Hex),
        ],
        ..unsigned(SenderKind::Artifactory, artifactory::NAME, artifactory::read)
    },
    SenderForm {
        signatures: &[header("circleci-signature", SignatureForm::Versions)],
        deliveries: &[DeliveryId::Body("/id")],
        ..unsigned(SenderKind::CircleCi, circleci::NAME, circleci::read)
    },
    SenderForm {
        signatures: &[header("x-hub-signature", SignatureForm::PrefixedHex)],
        deliveries: &[DeliveryId::Header("x-request-uuid")],
        ..unsigned(SenderKind::Bitbucket, bitbucket::NAME, bitbucket::read)
    },
    SenderForm {
        signatures: &[header("x-gitlab-token", SignatureForm::Secret), STANDARD],
        // GitLab repeats a delivery with the same key (docs.gitlab.com, "Webhooks").
        deliveries: &[STANDARD_ID, DeliveryId::Header("idempotency-key")],
        ..unsigned(SenderKind::GitLab, gitlab::NAME, gitlab::read)
    },
];

/// The headers with which a sender of this kind may prove that it knows the secret, each once.
#[must_use]
pub fn signature_headers(kind: SenderKind) -> Vec<SignatureHeader> {
    let mut headers = Vec::new();
    for form in FORMS.iter().filter(|form| kind.includes(form.kind)) {
        for signature in form.signatures {
            if !headers.contains(signature) {
                headers.push(*signature);
            }
        }
    }
    headers
}

/// The headers in which a sender of this kind names its delivery.
pub fn delivery_headers(kind: SenderKind) -> impl Iterator<Item = &'static str> {
    let forms = FORMS.iter().filter(move |form| kind.includes(form.kind));
    forms.flat_map(|form| form.deliveries).filter_map(|delivery| match delivery {
        DeliveryId::Header(name) => Some(*name),
        DeliveryId::Body(_) => None,
    })
}
