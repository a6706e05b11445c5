//! The ring's five-field lines. (Its messages join with the ring overlay.)

use serde::{Deserialize, Serialize};

/// What only the ring asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RingRequest {}

/// What only the ring answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RingResponse {}
