//! What keeps definitions from becoming a directory.

use std::fmt;
use std::sync::Arc;

use super::definition::Place;
use crate::base::TenantId;

/// One reason why tenants do not make a directory. All of them are reported, up to [`MAX_ERRORS`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("tenant {id} is defined twice")]
    DuplicateTenant {
        id: TenantId,
        place: Place,
        first: Place,
    },
    #[error("this match rule names nothing, so it would hold for every call")]
    EmptyRule { place: Place },
    #[error(
        "this match rule rests on what the sender claims (domains, headers), which any phone can forge"
    )]
    ClaimsAlone { place: Place },
    #[error("extension {extension} is there twice")]
    DuplicateExtension {
        extension: String,
        place: Place,
        first: Place,
    },
    #[error("ranges {range} and {other} of one tenant overlap, and neither lies within the other")]
    OverlappingRanges {
        range: String,
        other: String,
        place: Place,
        first: Place,
    },
    #[error("{0}")]
    Clash(Box<Clash>),
    #[error(
        "the directory is too big: numbers and names of all tenants must stay below 4 GiB, extensions below 2^32"
    )]
    TooBig { place: Place },
}

/// Two tenants that no rule tells apart for a number that both have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    pub claimants: [Claimant; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    pub tenant: TenantId,
    pub name: Arc<str>,
    /// The extension of this tenant that meets one of the other.
    pub number: String,
    pub extension: Place,
    pub rule: Place,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = &self.claimants;
        let (one, other) = (&a.number, &b.number);
        if one == other {
            write!(f, "extension {one} belongs to {} and to {}", a.name, b.name)?;
        } else {
            write!(
                f,
                "extension {one} of {} and extension {other} of {} overlap",
                a.name, b.name
            )?;
        }
        f.write_str(", and their match rules can hold for the same call")
    }
}

/// Most errors reported at once; what is past them shows when these are mended.
pub const MAX_ERRORS: usize = 100;
/// Most clashes reported at once: one careless rule can clash with every tenant.
pub const MAX_CLASHES: usize = 20;

impl Error {
    /// Where it is to be mended.
    pub fn place(&self) -> &Place {
        match self {
            Error::DuplicateTenant { place, .. }
            | Error::EmptyRule { place }
            | Error::ClaimsAlone { place }
            | Error::DuplicateExtension { place, .. }
            | Error::OverlappingRanges { place, .. }
            | Error::TooBig { place } => place,
            Error::Clash(clash) => &clash.claimants[1].extension,
        }
    }

    /// Other places it is about, and what is there.
    pub fn related(&self) -> Vec<(&Place, String)> {
        match self {
            Error::DuplicateTenant { first, .. } => vec![(first, "first defined here".into())],
            Error::DuplicateExtension { first, .. } => vec![(first, "first here".into())],
            Error::OverlappingRanges { first, other, .. } => {
                vec![(first, format!("{other} is here"))]
            }
            Error::Clash(clash) => {
                let [first, second] = &clash.claimants;
                vec![
                    (&second.rule, format!("{} by this rule", second.name)),
                    (&first.extension, format!("{} has it here", first.name)),
                    (&first.rule, format!("{} by this rule", first.name)),
                ]
            }
            Error::EmptyRule { .. } | Error::ClaimsAlone { .. } | Error::TooBig { .. } => {
                Vec::new()
            }
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Error::DuplicateTenant { .. } => {
                Some("every tenant needs its own id; `uuidgen` makes one")
            }
            Error::EmptyRule { .. } => Some(
                "name networks, vlans, tunnels, interfaces, sensors, domains or headers; networks = [\"0.0.0.0/0\", \"::/0\"] means everywhere",
            ),
            Error::ClaimsAlone { .. } => Some(
                "add networks, vlans, tunnels, interfaces or sensors, or say trust_signalling = true",
            ),
            Error::Clash(_) => Some(
                "tell the rules apart by networks, vlans, tunnels, interfaces, sensors, domains or exact headers, or remove the extension from one of them",
            ),
            Error::DuplicateExtension { .. }
            | Error::OverlappingRanges { .. }
            | Error::TooBig { .. } => None,
        }
    }
}
