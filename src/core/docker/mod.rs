//! Docker's and OCI's data: references and digests, manifests and platforms, inspect documents, and
//! the names that this program gives to things on an Engine.

// Image references, digests, platforms.
pub mod reference;
// Manifests, indexes, image configurations, and which entry fits a platform.
pub mod manifest;
// Reads fields of an inspect document, which stays raw JSON.
pub mod inspect;
// The version that an image states about itself.
pub mod image_version;
// Names that this program gives to things on the Engine.
pub mod names;
// Where an Engine keeps the content of images.
pub mod image_store;
// The version of the Engine's API.
pub mod api_version;
// The names of signals.
pub mod signal;
// A login at a registry, which cannot be printed.
pub mod credentials;
// `HOST:PORT` as a person writes it.
pub mod authority;
// Where an address is, and which registries may redirect to it.
pub mod address_scope;
// The Engine's settings for registries: mirrors, insecure registries, proxies.
pub mod engine_registries;
// What an Engine says while it loads an image archive.
pub mod load_answer;
// Webhooks that registries send after a push.
pub mod webhook;
// Labels that Docker Compose writes.
pub mod compose;
// Hooks in a Compose file, which are in no label.
pub mod compose_file;
