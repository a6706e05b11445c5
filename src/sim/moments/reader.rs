//! Reads a record line by line, and says where it is not what it should be.

use std::io::{self, BufRead};

use thiserror::Error;

use crate::record::{Beginning, Label, LostMoments, Moment, VERSION};
use crate::time::Time;

/// A line of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordLine {
    /// A peer's life begins.
    Beginning(Box<Beginning>),
    /// Something happened to it.
    Moment(Box<Moment>),
    /// So many moments are missing here.
    Lost(u64),
}

/// Reads a record.
pub struct RecordReader<R> {
    record: R,
    text: String,
    /// How many lines were read.
    number: u64,
    moments: u64,
    /// The time of the last moment.
    until: Time,
    cut: bool,
}

/// Why a record cannot be read, or not further.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("the record cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The first line is not what a record begins with.
    #[error("this is no record of a peer: {}", flaw(.0))]
    NoRecord(serde_json::Error),
    /// The record has another version.
    #[error(
        "{}this record is of version {version}, and only version {VERSION} can be read: read it with the \
         program that wrote it{}", from(*line), whole(*moments)
    )]
    Version {
        /// The number of the line, from 1.
        line: u64,
        /// The version.
        version: u32,
        /// Moments before it.
        moments: u64,
    },
    /// A line cannot be read as a moment.
    #[error(
        "line {line} of the record is damaged: {}; the {moments} moments before it, until {until} s, are whole: keep \
         the first {} lines", flaw(error), line - 1
    )]
    Damaged {
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with the line.
        error: serde_json::Error,
        /// Moments before it.
        moments: u64,
        /// The time of the last of them.
        until: Time,
    },
    /// A moment of a peer that has not begun.
    #[error("line {line} of the record is of a peer whose beginning is missing{}", whole(*moments))]
    Orphan {
        /// The number of the line, from 1.
        line: u64,
        /// Moments before it.
        moments: u64,
    },
    /// The record does not hold the peer that is asked for.
    #[error("the record has no peer {peer}; it has {there}")]
    NoPeer {
        /// The slot asked for.
        peer: usize,
        /// The peers that it has, as text.
        there: String,
    },
}

/// Where in a record something begins; nothing where that is all of it.
fn from(line: u64) -> String {
    if line == 1 { String::new() } else { format!("from line {line} on ") }
}

/// What is wrong with a line. Where it is, the reader of a single line calls line 1.
fn flaw(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    if error.is_eof() && error.column() == 0 {
        "it is empty".to_owned()
    } else {
        format!("{what} in column {}", error.column())
    }
}

/// What can still be shown of a record with so many moments before what is wrong.
fn whole(moments: u64) -> String {
    if moments == 0 { String::new() } else { format!("; the {moments} moments before it are whole") }
}

impl RecordError {
    /// A record has no peer of this slot; `there` are those that it has.
    pub(in crate::sim) fn no_peer(peer: usize, there: impl IntoIterator<Item = Option<usize>>) -> Self {
        let slots: Vec<String> = there.into_iter().flatten().map(|slot| slot.to_string()).collect();
        let there = if slots.is_empty() { "one peer, without a number".to_owned() } else { slots.join(", ") };
        Self::NoPeer { peer, there }
    }
}

impl<R: BufRead> RecordReader<R> {
    /// Begins to read a record, whose first line is a beginning.
    ///
    /// # Errors
    /// It cannot be read, is no record, or one of another version.
    pub fn begin(record: R) -> Result<(Self, Beginning), RecordError> {
        let (text, number, moments) = (String::new(), 1, 0);
        let mut reader = Self { record, text, number, moments, until: Time::ZERO, cut: false };
        reader.record.read_line(&mut reader.text)?;
        let beginning = reader.beginning()?.map_err(RecordError::NoRecord)?;
        Ok((reader, beginning))
    }

    /// The present line as a beginning. The outer error is that of a version of which nothing else need be readable.
    fn beginning(&self) -> Result<serde_json::Result<Beginning>, RecordError> {
        match serde_json::from_str(&self.text) {
            Ok(Label { kadring_record }) if kadring_record != VERSION => {
                let (line, moments) = self.read();
                Err(RecordError::Version { line, version: kadring_record, moments })
            }
            Ok(_) => Ok(serde_json::from_str(&self.text)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// The next line and its number, from 1; none at the end, and where the last line was cut off.
    ///
    /// # Errors
    /// The line cannot be read.
    pub fn next_line(&mut self) -> Result<Option<(u64, RecordLine)>, RecordError> {
        self.text.clear();
        if self.record.read_line(&mut self.text)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let read = if self.text.starts_with("{\"kadring_record\"") {
            self.beginning()?.map(|beginning| RecordLine::Beginning(Box::new(beginning)))
        } else if self.text.starts_with("{\"lost\"") {
            serde_json::from_str(&self.text).map(|LostMoments { lost }| RecordLine::Lost(lost))
        } else {
            serde_json::from_str(&self.text).map(|moment| RecordLine::Moment(Box::new(moment)))
        };
        match read {
            Ok(line) => {
                if let RecordLine::Moment(moment) = &line {
                    self.moments += 1;
                    self.until = moment.at;
                }
                Ok(Some((self.number, line)))
            }
            Err(_) if !self.text.ends_with('\n') => {
                self.cut = true;
                Ok(None)
            }
            Err(error) => {
                let Self { number: line, moments, until, .. } = *self;
                Err(RecordError::Damaged { line, error, moments, until })
            }
        }
    }

    /// How many lines were read, and how many moments in them.
    pub fn read(&self) -> (u64, u64) {
        (self.number, self.moments)
    }

    /// Whether the record ends in the middle of a line, as that of a killed peer may.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
}
