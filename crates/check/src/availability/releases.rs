//! PostgreSQL's releases as known when this file was last brought up to date.

/// The day up to which [`RELEASES`] is complete.
pub(crate) const AS_OF: &str = "2026-05-14";

/// A major version.
pub(crate) struct Release {
    /// Its number.
    pub(crate) major: u32,
    /// Its newest minor version on [`AS_OF`].
    pub(crate) minor: u32,
    /// The day of its last minor release, after which nobody fixes it.
    pub(crate) end_of_life: &'static str,
}

/// The major versions that Pawang works with, oldest first.
pub(crate) const RELEASES: &[Release] = &[
    Release {
        major: 14,
        minor: 23,
        end_of_life: "2026-11-12",
    },
    Release {
        major: 15,
        minor: 18,
        end_of_life: "2027-11-11",
    },
    Release {
        major: 16,
        minor: 14,
        end_of_life: "2028-11-09",
    },
    Release {
        major: 17,
        minor: 10,
        end_of_life: "2029-11-08",
    },
    Release {
        major: 18,
        minor: 4,
        end_of_life: "2030-11-14",
    },
];

/// Returns what is known of a major version; `None` for one that came out after [`AS_OF`].
pub(crate) fn release(major: u32) -> Option<&'static Release> {
    RELEASES.iter().find(|release| release.major == major)
}
