//! The settings in force, for a reader: what each one is, and where it was said. Secrets are not among them.

use schemars::JsonSchema;
use serde::Serialize;

/// One setting that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SettingLine {
    /// Its full name, such as `gateway.listen`.
    pub setting: String,
    /// Its value; a secret's is hidden.
    pub value: String,
    /// `flag`, `env`, `file` or `default`.
    pub source: &'static str,
    /// Which flag or variable, or the file's line; nothing for a built-in value.
    pub place: Option<String>,
}

/// The settings that the appliance was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Configuration {
    /// The file that was read, if there was one.
    pub file: Option<String>,
    /// The settings, in the file's order.
    pub settings: Vec<SettingLine>,
    /// What is allowed but doubtful, each with its place.
    pub warnings: Vec<String>,
}
