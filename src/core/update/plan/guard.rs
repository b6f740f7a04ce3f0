//! A member of a group that an update does not replace, and that has its say all the same.

use serde::{Deserialize, Serialize};

use crate::core::policy::hooks::Hook;
use crate::core::policy::update_lock::UpdateLock;

/// A container of the group that stays as it is. Its pre-update hook runs before the update, and
/// its lock holds it: a database makes its backup before a migration, although its own image does
/// not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    pub container: String,
    pub id: String,
    /// The hook that runs in it before anything is touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_update: Option<Hook>,
    /// The path in it that holds the update while it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<UpdateLock>,
}
