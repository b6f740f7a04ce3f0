//! How a round ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CheckDocument, GroupPlanRow, PlanRow, QuotaRow, ServicePlanRow, UpdateRow};
use crate::agent::RoundEnd;

/// How a round ended: the fields of a check, and what was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundDocument {
    #[serde(flatten)]
    pub check: CheckDocument,
    /// What would be done, by name. Only a dry run fills it.
    #[serde(default)]
    pub plans: Vec<PlanRow>,
    /// What would be done with groups, as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_plans: Vec<GroupPlanRow>,
    /// What would be done with services of a Swarm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_plans: Vec<ServicePlanRow>,
    /// The updates that were carried out in this round.
    #[serde(default)]
    pub updates: Vec<UpdateRow>,
    /// Earlier updates that had been left open, and ended now.
    #[serde(default)]
    pub recovered: Vec<UpdateRow>,
    /// What the registries say about their quotas, by registry.
    #[serde(default)]
    pub quotas: BTreeMap<String, QuotaRow>,
    /// The agent's own container, if the self-update helper updates it from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_updating: Option<String>,
}

impl From<&RoundEnd> for RoundDocument {
    fn from(end: &RoundEnd) -> Self {
        let quotas = end.quotas.iter();
        Self {
            check: CheckDocument::from(end),
            plans: end.outlines.iter().flat_map(PlanRow::all_of).collect(),
            group_plans: end.outlines.iter().filter_map(GroupPlanRow::of).collect(),
            service_plans: end.service_outlines.iter().map(ServicePlanRow::from).collect(),
            updates: end.records.iter().map(UpdateRow::from).collect(),
            recovered: end.recovered.iter().map(UpdateRow::from).collect(),
            quotas: quotas.map(|(name, quota)| (name.clone(), QuotaRow::from(quota))).collect(),
            self_updating: end.self_updating.clone(),
        }
    }
}
