//! What can be wrong with a configuration, in the words of the person who wrote it.

use std::path::PathBuf;

/// Why no configuration came out.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("configuration: file {}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not TOML at all; the text says line and column.
    #[error("configuration: file {}: is not TOML: {problem}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        problem: String,
    },
    /// The data set file is not a JSON map of name to path.
    #[error("configuration: datasets: file {}: is not a JSON map from data set name to path: {source}", path.display())]
    Datasets {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: serde_json::Error,
    },
    /// The site's policy says something that is no policy.
    #[error("policy: file {}: {problem}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Line and key, and what was expected.
        problem: String,
    },
    /// A value cannot be accepted.
    #[error("configuration: {place}: {key}: {problem}")]
    Value {
        /// Where it was given: a file, an environment variable, the command line.
        place: String,
        /// Its key, such as `link.listen`.
        key: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A value that has no default was given nowhere.
    #[error("configuration: {key}: is missing and required: set it in the file, by {variable} or by a flag")]
    Missing {
        /// Its key, such as `tls.ca`.
        key: String,
        /// The environment variable that would set it.
        variable: String,
    },
    /// The flags are no map of keys.
    #[error("configuration: the command line's overrides are no table: {0}")]
    Flags(String),
}
