//! Local manifest files: `hash$size|`.
