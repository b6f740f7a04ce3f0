//! The words of Docker and OCI: references and digests, manifests and platforms, inspect documents,
//! and the names that this program gives to things on an Engine.

// Image references, digests, platforms.
pub mod reference;
// Manifests, indexes, image configurations, and which entry fits a platform.
pub mod manifest;
// Questions to an inspect document, which stays raw.
pub mod inspect;
// Names that this program gives to things on the Engine.
pub mod names;
// Where an Engine keeps the content of images.
pub mod image_store;
// The version of the Engine's API.
pub mod api_version;
// The names of signals.
pub mod signal;
// A login at a registry, which has no way to be printed.
pub mod credentials;
// `HOST:PORT` as a person writes it.
pub mod authority;
// Where an address lies, and who may send us there.
pub mod address_scope;
// What the Engine says of registries: mirrors, insecure registries, proxies.
pub mod engine_registries;
// What registries say when something was pushed.
pub mod webhook;
