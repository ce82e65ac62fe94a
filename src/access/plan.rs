//! What a tenant subscribed to.

use serde::{Deserialize, Serialize};

/// What one plan has and another lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Listens to calls while they last.
    LiveMonitor,
    /// Recordings are encrypted where they rest.
    Encryption,
    /// Takes recordings along as files.
    Download,
    /// Service accounts and their tokens.
    ApiAccess,
}

impl Feature {
    pub const ALL: [Feature; 4] = [
        Feature::LiveMonitor,
        Feature::Encryption,
        Feature::Download,
        Feature::ApiAccess,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Feature::LiveMonitor => "live_monitor",
            Feature::Encryption => "encryption",
            Feature::Download => "download",
            Feature::ApiAccess => "api_access",
        }
    }

    pub fn named(name: &str) -> Option<Feature> {
        Feature::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// Limits and features of a plan. What is absent is unlimited; a tenant without a plan has everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanLimits {
    /// From the end of a call until it goes, in days of 24 hours: see [`Retention`](super::Retention).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// All recordings together. Past it calls are not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_gib: Option<u64>,
    /// Recorded in a calendar month, UTC. Past it calls are not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes_per_month: Option<u32>,
    /// Active users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// Calls recorded at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_recordings: Option<u32>,
    /// Absent: all of them but encryption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<Feature>>,
}

impl PlanLimits {
    /// Encryption is no right that somebody has: only a plan that names it has it.
    pub fn allows(&self, feature: Feature) -> bool {
        match &self.features {
            Some(features) => features.contains(&feature),
            None => feature != Feature::Encryption,
        }
    }

    /// Whether there is room for one more user beside so many.
    pub fn has_room_for_user(&self, users: u64) -> bool {
        self.users.is_none_or(|limit| users < u64::from(limit))
    }

    /// Whether all that is recorded fills what the plan gives.
    pub fn storage_is_full(&self, bytes: u64) -> bool {
        self.storage_gib
            .is_some_and(|gib| bytes >= gib.saturating_mul(1 << 30))
    }

    /// Whether what was recorded this month uses the plan's minutes up.
    pub fn minutes_are_used_up(&self, length_ms: u64) -> bool {
        self.minutes_per_month
            .is_some_and(|minutes| length_ms >= u64::from(minutes) * 60_000)
    }

    /// Whether what is recorded has to be counted.
    pub fn limits_recording(&self) -> bool {
        self.storage_gib.is_some() || self.minutes_per_month.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_unlimited() {
        let free = PlanLimits::default();
        let allowed: Vec<_> = (Feature::ALL
            .into_iter()
            .filter(|feature| free.allows(*feature)))
        .collect();
        assert_eq!(
            allowed,
            [Feature::LiveMonitor, Feature::Download, Feature::ApiAccess]
        );
        assert!(free.has_room_for_user(u64::MAX) && !free.storage_is_full(u64::MAX));
        assert!(!free.minutes_are_used_up(u64::MAX) && !free.limits_recording());
    }

    #[test]
    fn only_a_plan_that_names_it_encrypts() {
        let json = r#"{"retention_days":30,"users":3,"features":["encryption","download"]}"#;
        let plan: PlanLimits = serde_json::from_str(json).unwrap();
        assert!(plan.allows(Feature::Encryption) && !plan.allows(Feature::LiveMonitor));
    }

    #[test]
    fn limits_are_reached_and_not_passed() {
        let json = r#"{"storage_gib":2,"minutes_per_month":10,"users":3,"features":["download"]}"#;
        let plan: PlanLimits = serde_json::from_str(json).unwrap();
        assert!(plan.has_room_for_user(2) && !plan.has_room_for_user(3));
        assert!(!plan.storage_is_full((2 << 30) - 1) && plan.storage_is_full(2 << 30));
        assert!(!plan.minutes_are_used_up(599_999) && plan.minutes_are_used_up(600_000));
        assert!(plan.allows(Feature::Download) && !plan.allows(Feature::LiveMonitor));
        assert_eq!(serde_json::to_string(&plan).unwrap(), json);
        for feature in Feature::ALL {
            let json = serde_json::to_string(&feature).unwrap();
            assert_eq!(json, format!("\"{}\"", feature.name()));
            assert_eq!(Feature::named(feature.name()), Some(feature));
        }
    }
}
