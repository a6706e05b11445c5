//! JSON values of whatever type: what does not fit is `None`, and fails nothing around it.
//!
//! Values that no field takes are passed over as [`IgnoredAny`], which serde_json does without recursion, so that no
//! depth of brackets can overflow the stack.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::id::Id;
use crate::lease::{Lease, Secret};
use crate::network::NetworkName;
use crate::wire::summary::{KeysDigest, Range, Start};

/// A field's name, in whichever object it stands.
#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
pub(super) enum Field {
    Magic,
    #[serde(alias = "requester")]
    Requestor,
    Type,
    Params,
    Resp,
    Result,
    Error,
    Guest,
    Leaving,
    Network,
    Recalls,
    Asks,
    Id,
    Size,
    Gone,
    Verify,
    Sample,
    NodeId,
    Ip,
    Port,
    Ranges,
    Range,
    Count,
    Digest,
    Keys,
    Parts,
    Leases,
    Renewed,
    Ended,
    Copies,
    Terms,
    Blocks,
    Free,
    #[serde(other)]
    Unknown,
}

/// A type that reads itself from whichever kinds of JSON value it can stand in; from all others it is `None`.
pub(super) trait Lenient: Sized {
    fn from_text(_: &str) -> Option<Self> {
        None
    }

    fn from_number(_: u64) -> Option<Self> {
        None
    }

    fn from_bool(_: bool) -> Option<Self> {
        None
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Any JSON value, as a `T` if it is one.
pub(super) struct AnyJson<T>(pub(super) Option<T>);

impl<'de, T: Lenient> Deserialize<'de> for AnyJson<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(None))
    }
}

impl<'de, T: Lenient> Visitor<'de> for AnyJson<T> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self, E> {
        Ok(Self(T::from_text(text)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self, E> {
        Ok(Self(T::from_number(number)))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(Self(None))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(Self(None))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Self, E> {
        Ok(Self(T::from_bool(truth)))
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(Self(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self, A::Error> {
        T::from_list(list).map(Self)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self, A::Error> {
        T::from_object(object).map(Self)
    }
}

/// The value that comes next in `object`, if it is a `T`.
pub(super) fn next<'de, T: Lenient, A: MapAccess<'de>>(object: &mut A) -> Result<Option<T>, A::Error> {
    object.next_value::<AnyJson<T>>().map(|loose| loose.0)
}

/// The good entries of the list that comes next in `object`, if it is one.
pub(super) fn next_few<'de, T: Lenient, const MOST: usize, A: MapAccess<'de>>(
    object: &mut A,
) -> Result<Option<Vec<T>>, A::Error> {
    Ok(next::<GoodEntries<T, MOST>, A>(object)?.map(|few| few.0))
}

/// Passes over the value that comes next in `object`.
pub(super) fn skip<'de, A: MapAccess<'de>>(object: &mut A) -> Result<(), A::Error> {
    object.next_value::<IgnoredAny>().map(drop)
}

/// What is text that can be parsed.
macro_rules! from_text {
    ($($name:ty),*) => {$(
        impl Lenient for $name {
            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

from_text!(Id, Start, Range, KeysDigest, Lease, Secret, NetworkName);

/// The good entries of a list; a bad one says nothing against the others. Of more than `MOST`, the rest is passed over.
pub(super) struct GoodEntries<T, const MOST: usize>(pub(super) Vec<T>);

impl<T: Lenient, const MOST: usize> Lenient for GoodEntries<T, MOST> {
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut few = Vec::new();
        while few.len() < MOST {
            let Some(entry) = list.next_element::<AnyJson<T>>()? else { break };
            few.extend(entry.0);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(Self(few)))
    }
}

impl Lenient for IpAddr {
    /// An IPv4 address written as an IPv6 one is the IPv4 address it means.
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(|ip: Self| ip.to_canonical())
    }
}

/// What is a number of some size.
macro_rules! from_number {
    ($($name:ty),*) => {$(
        impl Lenient for $name {
            fn from_number(number: u64) -> Option<Self> {
                number.try_into().ok()
            }
        }
    )*};
}

from_number!(u8, u16, u32, u64);

impl Lenient for bool {
    fn from_bool(truth: bool) -> Option<Self> {
        Some(truth)
    }
}
