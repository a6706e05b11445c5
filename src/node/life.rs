//! The life of a node.

/// Where a node stands in its life. It only ever goes on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Life {
    /// It takes part.
    Running,
    /// It is to leave: it takes no blocks and repairs none, it only hands over.
    HandingOver,
    /// It says goodbye: every message says so.
    SayingGoodbye,
    /// Nothing more comes of it.
    Stopped,
}

/// What moves a life on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LifeEvent {
    /// It was told to leave.
    Told,
    /// Nothing is left to hand over, or time is up.
    HandedOver,
    /// Its goodbyes were heard, or need not be.
    Heard,
}

impl Life {
    /// The life after `step`; a step that does not belong here changes nothing.
    pub(crate) const fn after(self, step: LifeEvent) -> Self {
        match (self, step) {
            (Self::Running, LifeEvent::Told) => Self::HandingOver,
            (Self::HandingOver, LifeEvent::HandedOver) => Self::SayingGoodbye,
            (Self::SayingGoodbye, LifeEvent::Heard) => Self::Stopped,
            (life, _) => life,
        }
    }

    /// Whether it was told to leave.
    pub(crate) const fn is_leaving(self) -> bool {
        !matches!(self, Self::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_goes_on_by_one_step_at_a_time_and_never_back() {
        use Life::*;
        let table = [
            (Running, [HandingOver, Running, Running]),
            (HandingOver, [HandingOver, SayingGoodbye, HandingOver]),
            (SayingGoodbye, [SayingGoodbye, SayingGoodbye, Stopped]),
            (Stopped, [Stopped, Stopped, Stopped]),
        ];
        for (life, after) in table {
            assert_eq!(
                [LifeEvent::Told, LifeEvent::HandedOver, LifeEvent::Heard].map(|step| life.after(step)),
                after,
                "{life:?}"
            );
        }
    }
}
