//! What a stranger may say: messages of every kind, and texts that are nearly one.

use std::net::SocketAddr;
use std::time::Duration;

use bolero::TypeGenerator;
use kadring::id::Id;
use kadring::lease::{Lease, LeaseNews, Secret};
use kadring::peer::Peer;
use kadring::wire::ring::FilePlace;
use kadring::wire::{
    Body, Difference, Message, Range, Request, Response, Start, Summary, Vouch,
    ring::{RingRequest, RingResponse, Route, Routed},
};
use kadring::wire::{RequestKind, Sender};

/// Peers that there are: the first is the one under test.
pub(crate) const PEERS: u8 = 12;

pub(crate) fn addr(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number % PEERS], 7000))
}

pub(crate) fn peer(number: u8) -> Peer {
    Peer::new(Id::of(&[number % PEERS]), addr(number))
}

/// A message in a few bytes, so that a change of one byte is another sensible message.
#[derive(Clone, Copy, Debug, TypeGenerator)]
pub(crate) struct Said {
    magic: u32,
    kind: u8,
    sender: u8,
    /// What the sender says of itself: bits for a guest, for one that leaves, for an id that is not its own.
    manner: u8,
    of: u8,
    size: u32,
    many: u8,
}

impl Said {
    pub(crate) fn message(&self) -> Message {
        let magic = u64::from(self.magic);
        match self.kind % 8 {
            0..=4 => {
                let mut sender = peer(self.sender);
                if self.manner & 4 > 0 {
                    sender.id = Id::of(&[self.of, 1]);
                }
                let (guest, leaving, datagrams) = (self.manner & 1 > 0, self.manner & 2 > 0, self.manner & 128 > 0);
                let recalls = self.many & 128 > 0;
                let sender = Sender { guest, leaving, datagrams, recalls, ..Sender::member(sender.id, sender.addr) };
                let message = Message::request(magic, sender, self.request());
                // Who thinks that it is known.
                if self.many & 64 > 0 { Message { sender: None, ..message } } else { message }
            }
            5 | 6 => Message {
                magic,
                sender: self.signature(),
                answers: None,
                asks: self.asks(),
                body: Body::Response(self.response()),
            },
            _ => Message::error(magic, "no"),
        }
    }

    fn signature(&self) -> Option<Sender> {
        (self.manner & 8 > 0).then(|| Sender::member(peer(self.sender).id, peer(self.sender).addr))
    }

    /// The magic of a ping back.
    pub(crate) fn asks(&self) -> Option<u64> {
        (self.many & 32 > 0).then_some(u64::from(self.size))
    }

    fn key(&self) -> Id {
        Id::of(&[self.of])
    }

    fn peers(&self, from: u8) -> Vec<Peer> {
        (0..self.many % 12).map(|number| peer(self.of.wrapping_add(from).wrapping_add(number))).collect()
    }

    fn lease(&self) -> Lease {
        let until = (self.many & 1 > 0).then_some(u64::from(self.size));
        Lease { id: Secret::from_bytes([self.of; 32]).id(), until, copies: self.many % 9 }
    }

    fn range(&self) -> Range {
        Range { first: Start(u64::from(self.size)), last: Start(u64::from(self.of) << 56) }
    }

    fn held(&self) -> Summary {
        Summary::of(&[self.key()])
    }

    fn route(&self) -> Route {
        let (last, quiet, datagrams) = (self.manner & 16 > 0, self.manner & 32 > 0, self.manner & 128 > 0);
        let trail = (self.manner & 64 > 0).then(|| vec![peer(self.sender); usize::from(self.many % 17)]);
        Route { hops: u16::from(self.many), last, quiet, trail, datagrams, ..Route::of(peer(self.of)) }
    }

    fn file(&self) -> kadring::name::FileName {
        format!("{:04}", self.of).parse().expect("four digits")
    }

    /// A request of any kind.
    pub(crate) fn request(&self) -> Request {
        let (key, file) = (self.key(), self.file());
        match self.size % 18 {
            0 => Request::Ping,
            1 => Request::Gone { peer: peer(self.of) },
            2 => Request::FindNode { id: key },
            3 => Request::FindValue { key },
            4 => {
                if self.many.is_multiple_of(2) {
                    Request::Verify { key }
                } else {
                    Request::Terms { key }
                }
            }
            5 => Request::Store { key, size: Some(self.size), leases: vec![self.lease(); usize::from(self.many % 4)] },
            6 => Request::Lease(LeaseNews {
                renewed: vec![self.lease()],
                ended: vec![Secret::from_bytes([self.of; 32])],
            }),
            7 => Request::Compare { ranges: vec![self.range()], held: self.held(), copies: Some(self.many) },
            8 | 9 => Request::Ring(RingRequest::Ping {
                predecessors: self.peers(0),
                successors: self.peers(3),
                quiet: self.manner & 64 > 0,
            }),
            10 => Request::Ring(RingRequest::Routed { route: self.route(), what: Routed::Join }),
            11 => Request::Ring(RingRequest::Routed { route: self.route(), what: Routed::Lookup { key } }),
            12 => Request::Ring(RingRequest::Routed { route: self.route(), what: Routed::Store { file } }),
            13 => Request::Ring(RingRequest::Routed { route: self.route(), what: Routed::Request { file } }),
            14 => {
                let (size, modified) = (u64::from(self.size), u64::from(self.magic) << (self.many % 32));
                Request::Ring(RingRequest::Transfer { file, size, modified, stored: self.manner & 64 > 0 })
            }
            15 => {
                let joined = (self.many & 1 > 0).then(|| peer(self.sender));
                Request::Ring(RingRequest::Update { successors: self.peers(0), joined })
            }
            16 if self.many % 4 == 3 => Request::Ring(RingRequest::Has { key }),
            16 => Request::Ring(RingRequest::Quit { predecessors: self.peers(0), successors: self.peers(2) }),
            _ if self.many & 1 > 0 => Request::Ring(RingRequest::Exit { predecessors: self.peers(0) }),
            _ => Request::Ring(RingRequest::Abrupt { peer: peer(self.of) }),
        }
    }

    /// A response of any kind.
    pub(crate) fn response(&self) -> Response {
        let (predecessors, successors) = (self.peers(0), self.peers(4));
        match self.size % 14 {
            0 => Response::Node(peer(self.of)),
            1 => Response::Nodes(self.peers(0)),
            2 if self.many & 1 > 0 => Response::Here,
            2 => Response::Named(self.peers(0)),
            3 => Response::Saved,
            4 => Response::Leased { blocks: self.size, free: self.magic },
            5 => Response::Same,
            6 => Response::Differs(Difference::Keys(vec![Start::of(&self.key()); usize::from(self.many % 4)])),
            7 => Response::Vouch(Vouch::ALL[usize::from(self.many) % Vouch::ALL.len()]),
            8 => Response::Ring(RingResponse::Pong { peer: peer(self.of), predecessors, successors }),
            9 => Response::Ring(RingResponse::Welcome { predecessors, successors }),
            10 => Response::Ring(RingResponse::Owner {
                peers: predecessors,
                hops: u16::from(self.many),
                trail: Vec::new(),
                brief: self.manner & 64 > 0,
            }),
            11 if self.many & 1 > 0 => {
                Response::Ring(RingResponse::Has { peer: peer(self.of), has: self.manner & 1 > 0 })
            }
            11 => Response::Ring(RingResponse::Kept { file: self.file() }),
            12 => {
                let place = FilePlace { size: Some(u64::from(self.magic)) };
                Response::Ring(RingResponse::File { file: self.file(), place })
            }
            _ => Response::Ring(RingResponse::Noted { of: kadring::wire::ring::RingKind::Quit }),
        }
    }

    /// A response that its asker may have waited for.
    pub(crate) fn answer_to(&self, kind: RequestKind) -> Response {
        match kind {
            RequestKind::Ping if self.many & 16 > 0 => Response::Here,
            RequestKind::Ping => Response::Node(peer(self.of)),
            RequestKind::FindNode if self.many & 16 > 0 => Response::Named(self.peers(0)),
            RequestKind::FindNode => Response::Nodes(self.peers(0)),
            RequestKind::FindValue if self.many & 1 > 0 => Response::Node(peer(self.sender)),
            RequestKind::FindValue => Response::Nodes(self.peers(0)),
            RequestKind::Store => Response::Saved,
            RequestKind::Lease => Response::Leased { blocks: self.size, free: 0 },
            RequestKind::Compare => Response::Same,
            RequestKind::Ring => self.response(),
        }
    }

    pub(crate) fn span(&self) -> Duration {
        Duration::from_millis(u64::from(self.size % 5_000))
    }

    pub(crate) const fn number(&self) -> u8 {
        self.of
    }
}

/// A change of a text.
#[derive(Clone, Copy, Debug, TypeGenerator)]
pub(crate) struct Change {
    at: u16,
    how: u8,
    what: u8,
}

/// What a text may get in: what its grammars are made of, and numbers at their bounds.
const WORDS: &[&str] = &[
    "\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-1",
    "0",
    "9007199254740993",
    "1e400",
    "18446744073709551616",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\u{feff}",
    "\0",
    "\"magic\":7",
    "\"type\":\"store_value\"",
    "\"resp\":true",
    "\"params\":{}",
    "\"requestor\":null",
    "\"error\":1",
    "\"result\":[]",
    "'",
    "&",
    "--",
    "/",
    "..",
    "~",
    "*",
    "\u{202e}",
    "é",
];

/// The text with these changes.
pub(crate) fn changed(mut text: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for Change { at, how, what } in changes.iter().take(16) {
        let at = usize::from(*at) % (text.len() + 1);
        let length = usize::from(*what).min(text.len() - at);
        match how % 6 {
            0 => text.truncate(at),
            1 => drop(text.drain(at..at + length)),
            2 => text.extend_from_within(at..at + length),
            3 if at < text.len() => text[at] = *what,
            4 => text.insert(at, *what),
            _ => drop(text.splice(at..at, WORDS[usize::from(*what) % WORDS.len()].bytes())),
        }
    }
    text
}
